"""`simulate`: the public Python API on the user's own trainers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.quadratic import SLOPES, Linear

from fl_orchestrator import NoProgress, PartyFailed, RoundEntry, SimulationResult, simulate
from fl_orchestrator.audit.history import BLOCKS, HISTORY
from fl_orchestrator.errors import FloError, VerificationError
from fl_orchestrator.simulation.own import AnotherRun
from fl_orchestrator.simulation.trainers import BadTrainers

PARTIES = 3
OPTIONS: dict[str, Any] = {"rounds": 3, "aggregators": 1, "learning_rate": 0.3, "epochs": 5}


def made() -> list[Linear]:
    return [Linear(number, PARTIES) for number in range(PARTIES)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SimulationResult:
    """A run that nothing stopped."""
    return simulate(made(), directory=tmp_path_factory.mktemp("whole") / "run", **OPTIONS)


def test_the_federation_learns_what_no_party_tells(whole: SimulationResult) -> None:
    assert list(whole.weights) == ["slopes", "bias"]
    np.testing.assert_allclose(whole.weights["slopes"], SLOPES, atol=0.2)
    losses = [entry.loss for entry in whole.rounds]
    assert losses == sorted(losses, reverse=True)
    rows = list(whole.history.reset_index().to_dict("records"))
    assert [row["round"] for row in rows] == [1, 2, 3]
    assert rows[-1]["mae"] == whole.rounds[-1].metrics["mae"] < 0.3


def test_a_simulation_verifies_and_a_changed_weight_does_not(
    whole: SimulationResult, tmp_path: Path
) -> None:
    assert whole.verify()["head_root"] == whole.head_root
    history = (whole.directory / HISTORY).read_text()
    try:
        changed = json.loads(history)
        changed["rounds"][1]["root"] = "0x" + "00" * 32
        (whole.directory / HISTORY).write_text(json.dumps(changed))
        with pytest.raises(VerificationError, match="Round 2"):
            SimulationResult.load(whole.directory).verify()
    finally:
        (whole.directory / HISTORY).write_text(history)
    assert whole.curves(tmp_path / "curves.png").read_bytes()[1:4] == b"PNG"


def test_a_run_stopped_in_the_middle_of_a_round_goes_on_to_the_same_bits(
    whole: SimulationResult, tmp_path: Path
) -> None:
    class Stopped(Linear):
        def fit(self, weights: Any, config: dict[str, Any]) -> Any:
            if config["round"] == 2:
                raise KeyboardInterrupt
            return super().fit(weights, config)

    trainers: list[Linear] = made()
    trainers[2] = Stopped(2, PARTIES)
    with pytest.raises(KeyboardInterrupt):
        simulate(trainers, directory=tmp_path / "run", **OPTIONS)
    assert (tmp_path / "run" / "fits" / "round-2" / "party-1.safetensors").exists()

    again = made()
    seen: list[int] = []
    result = simulate(
        again, directory=tmp_path / "run", on_round=lambda e: seen.append(e.round), **OPTIONS
    )
    assert result.head_root == whole.head_root
    assert (result.directory / BLOCKS).read_bytes() == (whole.directory / BLOCKS).read_bytes()
    assert (result.directory / HISTORY).read_bytes() == (whole.directory / HISTORY).read_bytes()
    # Nothing that was trained before is trained again.
    assert [one.rounds for one in again] == [[3], [3], [2, 3]]
    assert seen == [1, 2, 3]
    assert not (result.directory / "fits").exists()


def test_the_same_call_after_the_end_trains_nothing(whole: SimulationResult) -> None:
    trainers = made()
    again = simulate(trainers, directory=whole.directory, **OPTIONS)
    assert again.head_root == whole.head_root
    assert all(one.rounds == [] for one in trainers)


def test_the_directory_of_another_run_is_refused(whole: SimulationResult) -> None:
    before = (whole.directory / HISTORY).read_bytes()
    with pytest.raises(AnotherRun, match="epochs 5, not 6"):
        simulate(made(), directory=whole.directory, **{**OPTIONS, "epochs": 6})
    assert (whole.directory / HISTORY).read_bytes() == before


def test_a_failing_trainer_ends_the_run_with_its_party_and_round() -> None:
    class Ruined(Linear):
        def fit(self, weights: Any, config: dict[str, Any]) -> Any:
            trained, rows, metrics = super().fit(weights, config)
            if config["round"] == 1 and len(self.rounds) > 1:
                trained[0] = trained[0] * np.float32(np.nan)
            return trained, rows, metrics

    trainers: list[Linear] = made()
    trainers[1] = Ruined(1, PARTIES)
    with pytest.raises(PartyFailed, match=r"Party 1, round 1: .* NaN"):
        simulate(trainers, **OPTIONS)


def _raises(error: type[BaseException]) -> type[Linear]:
    class Failing(Linear):
        def fit(self, weights: Any, config: dict[str, Any]) -> Any:
            raise error("42")

    return Failing


@pytest.mark.parametrize(
    ("trainers", "options", "sentence"),
    [
        ([], {}, "There are no trainers"),
        (Linear, {}, "Say how many"),
        ([object()], {}, "party 0 has no fit and no evaluate"),
        ([Linear(0, 2), Linear(1, 2, features=2)], {}, r"Party 1: The trainer's tensor slopes \(2"),
        ([Linear(0, 1)], {"rounds": 0}, "--rounds is 0"),
        ([Linear(0, 1)], {"rule": "mode"}, "There is no rule 'mode'"),
        ([Linear(0, 1)], {"weights": {"slopes": [np.nan] * 3}}, "NaN"),
        ([Linear(0, 1)], {"evaluate": 3}, "evaluate is 3"),
        ([Linear(0, 2), Linear(1, 2)], {"private": True}, "at least"),
        ([_raises(MemoryError)(0, 1)], {}, "MemoryError"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_a_sentence(
    trainers: Any, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(FloError, match=sentence):
        simulate(trainers, **{**OPTIONS, **options})


def test_trainers_that_cannot_be_used_are_bad_trainers() -> None:
    with pytest.raises(BadTrainers, match="2 trainers for 3 parties"):
        simulate([Linear(0, 2), Linear(1, 2)], parties=3)


def _entry(loss: float) -> RoundEntry:
    return RoundEntry(
        round=1,
        accepted=True,
        drawn=1,
        committed=1,
        included=1,
        accuracy=0.5,
        loss=loss,
        clipped=0.0,
        gas=0,
        gas_by_call={},
        root="0x",
        cid="",
    )


def test_no_progress_stops_after_its_patience() -> None:
    stop = NoProgress("loss", patience=2)
    assert not stop([_entry(loss) for loss in (3.0, 2.0, 2.0)])
    assert stop([_entry(loss) for loss in (3.0, 2.0, 2.0, 2.5)])
    assert not stop([_entry(loss) for loss in (float("nan"), 2.0, 2.5)])
    with pytest.raises(FloError, match=re.escape("No metric is called 'auc'")):
        NoProgress("auc")([_entry(1.0)])
