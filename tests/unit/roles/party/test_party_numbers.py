"""What a party says of its numbers, and of rounds in which it cannot train."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from structlog.testing import capture_logs
from support.federation import SmallFederation, small_manifest
from support.told import Told

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.errors import TrainingError
from fl_orchestrator.model.fixed_point import encode_update
from fl_orchestrator.model.manifest import TensorSpec
from fl_orchestrator.roles.numbers import update_findings, weights_finding
from fl_orchestrator.training.trainer import FloatArray, Metrics


class Adds:
    """Adds a number to every weight; fails while it is None."""

    def __init__(self, change: float | None) -> None:
        self.change = change

    def fit(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[list[FloatArray], int, Metrics]:
        assert config
        if self.change is None:
            raise TrainingError("The labels are strings.")
        return [weight + np.float32(self.change) for weight in weights], 24, {}

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, Metrics]:
        assert weights
        assert config
        return 0.0, 1, {}


def alerts(logs: Sequence[Any]) -> list[str]:
    return [str(log.get("reason", log["event"])) for log in logs if "alert" in log["event"]]


def test_a_party_that_cannot_train_counts_the_rounds_in_a_row(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=2)
    told, trainer = Told(), Adds(None)
    party = federation.party(0, trainer=trainer, monitor=told)
    for _ in range(3):
        seen = federation.open_round()
        party.step()
        party.step()
        federation.pass_until(seen.current.commit_end)
    assert told.failures == [1, 2, 3]
    trainer.change = 0.1
    federation.open_round()
    assert party.step().action == "commit"
    assert told.failures[-1] == 0


def test_an_update_that_is_zero_everywhere_is_an_alert_once(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=2)
    told = Told()
    party = federation.party(0, trainer=Adds(1e-12), monitor=told)
    with capture_logs() as logs:
        for _ in range(2):
            seen = federation.open_round()
            assert party.step().action == "commit"
            federation.pass_until(seen.current.reveal_end)
    (said,) = alerts(logs)
    assert said.startswith("The update is zero everywhere: all that training changed rounds")
    assert told.trainings == [(0.0, ("dense/kernel", "dense/bias"))] * 2


def test_a_state_that_has_reached_its_end_is_an_alert_with_the_tensors_name(tmp_path: Path) -> None:
    tensors = [
        TensorSpec(name="dense/kernel", shape=(4, 2), offset=7),
        TensorSpec(name="dense/bias", shape=(2,)),
    ]
    manifest = small_manifest(tensors=tuple(tensors), update_fraction_bits=0)
    federation = SmallFederation(tmp_path, parties=1, manifest=manifest)
    told, trainer = Told(), Adds(1.0)
    party = federation.party(0, trainer=trainer, monitor=told)
    aggregator = federation.aggregator(0, monitor=told)
    with capture_logs() as logs:
        seen = federation.run_round([party, aggregator])
        assert seen.current.phase is Phase.ACCEPTED
        assert told.tensors == [(), ("dense/kernel",)]
        federation.open_round()
        assert party.step().action == "commit"
    assert told.tensors[-1] == ("dense/kernel",)
    assert [log["tensors"] for log in logs if "tensors" in log] == [["dense/kernel"]] * 2
    assert all(log["log_level"] == "error" for log in logs if "tensors" in log)


def test_the_share_of_clipped_values_decides_how_bad_it_is() -> None:
    manifest = small_manifest(update_fraction_bits=15)
    state = np.zeros(10, np.int32)

    def found(kernel: float) -> list[tuple[bool, str]]:
        trained = [np.full((4, 2), 0.1, np.float32), np.full(2, 0.1, np.float32)]
        trained[0][0, 0] = kernel
        encoded = encode_update(manifest.layout, 15, trained, state).encoding
        return [(f.serious, f.message) for f in update_findings(manifest, encoded, 24)]

    assert found(0.5) == []
    ((serious, message),) = found(2.0)
    assert serious
    assert message.startswith("10.0% of the update's values were out of range and clipped, up to")
    assert "dense/kernel" in message


def test_weights_at_an_end_of_their_range_say_that_samples_per_weight_does_not_fit() -> None:
    assert weights_finding([255, 12, 255]) == (
        "2 of 3 updates have the largest weight, 255: samplesPerWeight is too small for these "
        "sites, and their sizes do not count in full"
    )
    assert "the least weight, 1" in str(weights_finding([1, 1]))
    for fitting in ([1], [26, 26, 26], [1, 2], []):
        assert weights_finding(fitting) is None


def test_a_lost_journal_is_said_once_for_each_round(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, parties=1)
    federation.open_round()
    assert federation.party(0).step().action == "commit"
    shutil.rmtree(federation.home("parties", 0) / "journal")
    party = federation.party(0)
    with capture_logs() as logs:
        for _ in range(3):
            assert party.step().action is None
            federation.chain.mine()
    assert [log["event"] for log in logs] == ["journal lost"]
