"""New global models at a site: taken into use, or an alert and the last good one stays."""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import structlog
from support.federation import CLASSES, FEATURES, rows_of, small_manifest
from support.observations import seen

from fl_orchestrator.chain.types import ModelView, Observation
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import ContentNotFound
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.fixed_point import float_view, genesis_state
from fl_orchestrator.model.vector_file import in_blocks, write_vector
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.party.adoption import (
    Adopter,
    Bound,
    Evaluation,
    UnknownMetric,
    in_use,
    last_evaluated,
)
from fl_orchestrator.roles.vectors import Origin
from fl_orchestrator.training.checked import CheckedTrainer
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, tensors
from fl_orchestrator.training.weights_file import load_weights

MANIFEST = small_manifest()
ADDRESS = "0x" + "ab" * 20
ACCOUNT = "0x" + "11" * 20
# Class 1 has the larger features, so these tell the classes apart, and their opposite is wrong.
GOOD = [np.tile(np.array([-1, 1], np.float32), (FEATURES, 1)), np.array([2, -2], np.float32)]
BAD = [-array for array in GOOD]


class Contract:
    """The history that the test sets, and what the party has seen of it."""

    chain_id = 5
    address = ADDRESS

    def __init__(self) -> None:
        self.history: dict[int, ModelView] = {}
        self.last_seen: Observation | None = seen()

    def set_head(self, head: ModelView, final_height: int = 0) -> None:
        lower = {height: model for height, model in self.history.items() if height < head.height}
        self.history = {**lower, head.height: head}
        self.last_seen = seen(head=head, final_height=final_height)

    def model(self, height: int) -> ModelView:
        return self.history[height]


class Site:
    """A party's directory, a store, and a chain whose head the test sets."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.current = self.home / "current.npz"
        self.home.mkdir()
        self.store = LocalStore(directory / "store")
        self.federation: Any = Contract()
        self.trainer: Any = NumpyLogistic(rows_of(0), CLASSES)
        self.evaluated: list[Evaluation] = []

    def adopter(self, *bounds: Bound) -> Adopter:
        context = Context(
            federation=self.federation,
            sender=SimpleNamespace(address=ACCOUNT),  # type: ignore[arg-type]
            store=self.store,
            manifest=MANIFEST,
            home=self.home,
        )
        return Adopter(context, self.trainer, self.current, bounds, self.evaluated.append)

    def reported(self) -> list[int]:
        """The rounds whose models were reported, those that were evaluated again left out."""
        return [found.model.round for found in self.evaluated if not found.again]

    def set_head(
        self, weights: list[Any], round_number: int, stored: bool = True, final_height: int = 0
    ) -> None:
        state = genesis_state(MANIFEST.layout, weights)
        file = io.BytesIO()
        meta = Origin(5, ADDRESS).state(round_number)
        root = write_vector(file, MANIFEST.layout, meta, in_blocks(state)).root
        store = self.store if stored else LocalStore(self.home / "elsewhere")
        cid = store.put(io.BytesIO(file.getvalue()))
        head = ModelView(height=round_number, round=round_number, root=root, cid=cid)
        self.federation.set_head(head, final_height)

    def used(self) -> list[Any]:
        return load_weights(self.current, tensors(FEATURES, CLASSES))


def run(adopter: Adopter) -> None:
    """Give steps until there is nothing to do."""
    while adopter.step().action:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


AT_LEAST = Bound("accuracy", 0.7, above=False)


def test_a_new_head_that_is_good_enough_is_taken_into_use(site: Site) -> None:
    adopter = site.adopter(AT_LEAST, Bound("loss", 1.0, above=True))
    site.set_head(GOOD, 3)
    assert adopter.step().action == "evaluate model"
    wanted = float_view(MANIFEST.layout, genesis_state(MANIFEST.layout, GOOD))
    for found, expected in zip(site.used(), wanted, strict=True):
        assert found.tobytes() == expected.tobytes()
    assert (in_use(site.home) or {})["round"] == 3
    assert site.evaluated[0].metrics["accuracy"] > 0.9
    assert adopter.step().action is None
    assert len(site.evaluated) == 1


def test_a_worse_head_is_an_alert_and_the_last_good_model_stays(site: Site) -> None:
    adopter = site.adopter(AT_LEAST)
    site.set_head(GOOD, 3)
    adopter.step()
    before = site.current.read_bytes()
    site.set_head(BAD, 4)
    with structlog.testing.capture_logs() as logs:
        assert adopter.step().action == "refuse model"
    alerts = [log for log in logs if log["log_level"] == "error"]
    assert len(alerts) == 1
    assert alerts[0]["event"].startswith("alert: ")
    assert alerts[0]["round"] == 4
    assert "below 0.7" in alerts[0]["why"]
    assert site.current.read_bytes() == before
    assert (in_use(site.home) or {})["round"] == 3
    assert (last_evaluated(site.home) or {})["round"] == 4
    assert adopter.step().action is None
    site.set_head(GOOD, 5)
    adopter.step()
    assert (in_use(site.home) or {})["round"] == 5


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_model_whose_loss_is_no_number_is_never_taken_into_use(site: Site, loss: float) -> None:
    class Diverged:
        def evaluate(self, *_: Any) -> tuple[float, int, dict[str, float]]:
            return loss, 10, {"accuracy": 1.0}

    site.trainer = Diverged()
    site.set_head(GOOD, 3)
    assert site.adopter().step().action == "refuse model"
    assert in_use(site.home) is None
    assert not site.current.exists()
    assert f"loss is {loss}" in site.evaluated[0].faults


def test_a_site_without_validation_rows_takes_each_model_into_use(site: Site) -> None:
    class Rowless:
        def evaluate(self, *_: Any) -> tuple[float, int, dict[str, float]]:
            return math.nan, 0, {}

    site.trainer = Rowless()
    site.set_head(GOOD, 3)
    assert site.adopter().step().action == "evaluate model"
    assert (in_use(site.home) or {})["metrics"] == {}


def test_a_metric_may_have_any_name(site: Site) -> None:
    class Named:
        def evaluate(self, *_: Any) -> tuple[float, int, dict[str, float]]:
            return 0.5, 1, {"round": 1.0, "event": 2.0}

    site.trainer = Named()
    site.set_head(GOOD, 3)
    assert site.adopter().step().action == "evaluate model"
    assert (in_use(site.home) or {})["metrics"] == {"loss": 0.5, "round": 1.0, "event": 2.0}


def test_a_head_that_was_revoked_gives_way_to_the_one_before(site: Site) -> None:
    adopter = site.adopter()
    better = [2 * array for array in GOOD]
    for weights, round_number in ((GOOD, 3), (better, 4), (GOOD, 3)):
        site.set_head(weights, round_number)
        assert adopter.step().action == "evaluate model"
    assert (in_use(site.home) or {})["round"] == 3
    np.testing.assert_array_equal(site.used()[1], GOOD[1])
    assert site.reported() == [3, 4]
    assert [found.again for found in site.evaluated] == [False, False, True]


def test_each_model_is_reported_once_across_a_restart_and_none_is_missed(site: Site) -> None:
    adopter = site.adopter()
    models = [[scale * array for array in GOOD] for scale in (1, 2, 3, 4)]
    for round_number in (0, 1):
        site.set_head(models[round_number], round_number)
        adopter.step()
    for round_number in (2, 3):  # both between two looks
        site.set_head(models[round_number], round_number)
    run(adopter)
    run(site.adopter())
    assert site.reported() == [0, 1, 2, 3]


def test_rounds_that_were_accepted_while_the_party_was_away_are_reported(site: Site) -> None:
    site.set_head(GOOD, 1)
    run(site.adopter())
    for round_number in (2, 3, 4):
        site.set_head(BAD if round_number == 4 else GOOD, round_number)
    run(site.adopter(AT_LEAST))
    assert site.reported() == [1, 2, 3, 4]
    assert (in_use(site.home) or {})["round"] == 3
    assert (last_evaluated(site.home) or {})["round"] == 4


def test_a_round_that_changes_nothing_is_reported_too(site: Site) -> None:
    adopter = site.adopter()
    for round_number in (3, 4):
        site.set_head(GOOD, round_number)
        run(adopter)
    assert site.reported() == [3, 4]
    assert (in_use(site.home) or {})["round"] == 4


def test_rounds_that_became_final_meanwhile_are_passed_over(site: Site) -> None:
    site.set_head(GOOD, 1)
    run(site.adopter())
    for round_number in range(2, 7):
        # What is final may be gone from every store.
        site.set_head(GOOD, round_number, stored=round_number > 4, final_height=4)
    run(site.adopter())
    assert site.reported() == [1, 5, 6]


def test_a_model_that_nobody_has_does_not_keep_later_ones_out_of_use(site: Site) -> None:
    adopter = site.adopter()
    site.set_head(GOOD, 3)
    run(adopter)
    other = [3 * array for array in GOOD]
    site.set_head(other, 4, stored=False)
    with pytest.raises(ContentNotFound):
        adopter.step()
    site.set_head(GOOD, 5)
    with structlog.testing.capture_logs() as logs:
        run(adopter)
    assert [log["round"] for log in logs if log["log_level"] == "warning"] == [4]
    assert site.reported() == [3, 5]


def test_a_model_in_use_that_is_revoked_is_an_alert_at_once(site: Site) -> None:
    adopter = site.adopter()
    for round_number in (3, 4):
        site.set_head(GOOD, round_number)
        run(adopter)
    with structlog.testing.capture_logs() as logs:
        site.set_head(GOOD, 3)
        run(adopter)
    alerts = [log for log in logs if log["log_level"] == "error"]
    assert [alert["round"] for alert in alerts] == [4]
    assert (in_use(site.home) or {})["round"] == 3


def test_genesis_is_evaluated_and_not_taken_into_use(site: Site) -> None:
    site.set_head(BAD, 0)
    adopter = site.adopter(AT_LEAST)
    assert adopter.step().action == "evaluate model"
    assert not site.current.exists()
    assert in_use(site.home) is None


def test_a_bound_on_a_metric_that_is_not_reported_ends_the_process_at_once(site: Site) -> None:
    site.set_head(GOOD, 0)
    with pytest.raises(UnknownMetric, match=r"'acuracy', which .* loss, accuracy"):
        site.adopter(Bound("acuracy", 0.5, above=False)).step()


def test_a_metric_that_is_nan_breaks_every_bound() -> None:
    for above in (True, False):
        assert Bound("loss", 1.0, above).broken_by({"loss": float("nan")})
        assert Bound("loss", 1.0, above).broken_by({"loss": 1.0}) is None


def test_a_model_that_cannot_be_evaluated_is_not_taken_into_use(site: Site) -> None:
    class Broken(NumpyLogistic):
        def evaluate(self, weights: Any, config: Any) -> Any:
            raise ZeroDivisionError

    site.trainer = CheckedTrainer(Broken(rows_of(0), CLASSES), Path(__file__))
    site.set_head(GOOD, 3)
    assert site.adopter().step().action == "refuse model"
    assert not site.current.exists()
    assert "ZeroDivisionError" in site.evaluated[0].faults[0]


def test_a_head_that_cannot_be_had_is_asked_for_again(site: Site) -> None:
    adopter = site.adopter()
    site.set_head(GOOD, 3, stored=False)
    for _ in range(2):
        with pytest.raises(ContentNotFound):
            adopter.step()
    site.set_head(GOOD, 3)
    assert adopter.step().action == "evaluate model"


def test_a_restart_finds_the_model_in_use_and_takes_the_head_again(site: Site) -> None:
    site.set_head(GOOD, 3)
    site.adopter().step()
    assert site.adopter().step().action == "evaluate model"
    record = site.home / "models.json"
    record.write_text("{")
    assert in_use(site.home) is None
    assert site.adopter().step().action == "evaluate model"
    assert (in_use(site.home) or {})["round"] == 3


def test_the_chain_is_asked_only_when_nobody_has_looked_yet(site: Site) -> None:
    site.set_head(GOOD, 3)
    view = dataclasses.replace(site.federation.last_seen)
    asked: list[str] = []

    def observe(account: str) -> Any:
        asked.append(account)
        return view

    site.federation.last_seen, site.federation.observe = None, observe
    assert site.adopter().step().action == "evaluate model"
    assert asked == [ACCOUNT]


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("", ()),
        ("accuracy=0.7", (AT_LEAST,)),
        ("accuracy=0.7, auc=1", (AT_LEAST, Bound("auc", 1.0, above=False))),
    ],
)
def test_bounds_are_read(text: str, bounds: tuple[Bound, ...]) -> None:
    assert Bound.parse(text, above=False) == bounds


@pytest.mark.parametrize("text", ["accuracy", "accuracy=", "=0.5", "accuracy=high", "a=nan"])
def test_bounds_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no bound"):
        Bound.parse(text, above=False)
