"""What stays at a site is saved with the update, whatever kills the process, and whatever is void.

A party's counter goes into its update, so an update that is trained from a state which counted
twice, or not at all, has another root.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.crashes import CrashPoints, Restarted
from support.federation import CLASSES, SmallFederation, consortium, rows_of
from support.stateful import BIAS, Counting, federated_weights, personal_manifest

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.files import sync
from fl_orchestrator.roles import base
from fl_orchestrator.roles.party import journal
from fl_orchestrator.roles.party.adoption import Adopter, Evaluation
from fl_orchestrator.roles.party.party import Party
from fl_orchestrator.roles.party.site import SiteStates
from fl_orchestrator.training.site.state import SiteState
from fl_orchestrator.training.weights_file import load_weights

ROUNDS = (1, 2, 3)


def personal_federation(directory: Path) -> SmallFederation:
    terms = consortium(2, min_updates=2)
    manifest, weights = personal_manifest(), federated_weights()
    return SmallFederation(directory, 2, terms=terms, manifest=manifest, weights=weights)


def party(federation: SmallFederation, number: int) -> Party:
    """The party as a new process: nothing of its trainer is left in memory."""
    return federation.party(number, trainer=Counting(rows_of(number), CLASSES))


def everybody(federation: SmallFederation) -> list[base.Worker]:
    return [party(federation, 0), party(federation, 1), federation.aggregator(0)]


def state_now(federation: SmallFederation, number: int = 0) -> SiteState:
    head = federation.federation.head()
    states = SiteStates(federation.home("parties", number), federation.federation)
    return states.of(head.round, head.height)


def fits(federation: SmallFederation, number: int = 0) -> int:
    return int(state_now(federation, number).get("trainer/fits", np.array(0)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], SiteState]:
    """The models of three rounds in which nothing went wrong, and the first party's last state."""
    federation = personal_federation(tmp_path_factory.mktemp("undisturbed"))
    roles = everybody(federation)
    roots = [federation.run_round(roles, number).head.root for number in ROUNDS]
    return roots, state_now(federation)


def test_the_counter_and_the_bias_of_a_site_go_from_round_to_round(
    undisturbed: tuple[list[bytes], SiteState],
) -> None:
    roots, state = undisturbed
    assert len(set(roots)) == len(ROUNDS)
    assert state["trainer/fits"] == len(ROUNDS)
    assert state[f"tensor/{BIAS.name}"].any()


def test_a_party_that_is_killed_between_any_two_writes_makes_the_same_states_and_updates(
    tmp_path: Path, undisturbed: tuple[list[bytes], SiteState], monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = personal_federation(tmp_path)
    home = federation.home("parties", 0)
    points = CrashPoints()
    now = 0

    def mortal(name: str, function: Any) -> Any:
        def write(*arguments: Any, **keywords: Any) -> Any:
            if not any(str(home) in str(argument) for argument in arguments):
                return function(*arguments, **keywords)
            # Temporary names are random, so a point is an operation on a kind of file in a round.
            last = str(arguments[-1] if name in ("replace", "rename") else arguments[0])
            point = f"{now} {name} {_kind_of(last)}"
            points.at(f"before {point}")
            result = function(*arguments, **keywords)
            points.at(f"after {point}")
            return result

        return write

    for name in ("write_text", "write_bytes", "replace", "rename", "unlink"):
        monkeypatch.setattr(Path, name, mortal(name, getattr(Path, name)))
    monkeypatch.setattr(shutil, "move", mortal("move", shutil.move))
    monkeypatch.setattr(shutil, "rmtree", mortal("rmtree", shutil.rmtree))
    monkeypatch.setattr(journal, "sync", mortal("sync", sync))

    restarted = Restarted(partial(party, federation, 0))
    roles: list[base.Worker] = [restarted, party(federation, 1), federation.aggregator(0)]

    def root_after(number: int) -> bytes:
        nonlocal now
        now = number
        return federation.run_round(roles, number).head.root

    roots = [root_after(number) for number in ROUNDS]
    assert roots == undisturbed[0]
    state = state_now(federation)
    assert state.keys() == undisturbed[1].keys()
    assert all(np.array_equal(state[name], undisturbed[1][name]) for name in state)
    # A temporary file is deleted while its process dies, so some deaths have two points.
    assert 70 < restarted.deaths <= len(points.passed)
    told = "\n".join(points.passed)
    for point in (
        "after 1 write_bytes state.safetensors",
        "before 1 rename round-1",
        "after 1 rename round-1",
        "after 3 replace round-1.safetensors",
        "before 3 rmtree round-1",
    ):
        assert point in told


def _kind_of(path: str) -> str:
    name = Path(path).name
    return "new" if name.startswith("new-") else name.split("-0x")[0]


def test_a_void_round_does_not_count(tmp_path: Path) -> None:
    federation = personal_federation(tmp_path)
    federation.run_round(everybody(federation), 1)
    assert fits(federation) == 1
    # Both train and commit, and only one reveals.
    parties = [party(federation, 0), party(federation, 1)]
    federation.run_to(Phase.REVEAL, [*parties, federation.keeper(2)], 2)
    seen = federation.run_round([parties[0], federation.aggregator(0)], 2)
    assert seen.current.phase is Phase.VOID
    assert fits(federation) == 1
    trained = Counting(rows_of(0), CLASSES)
    first = federation.party(0, trainer=trained)
    federation.run_round([first, party(federation, 1), federation.aggregator(0)], 3)
    assert (trained.fits, fits(federation)) == (2, 2)


def test_the_model_of_a_site_is_evaluated_and_kept_with_the_sites_own_tensors(
    tmp_path: Path,
) -> None:
    federation = personal_federation(tmp_path)
    federation.run_round(everybody(federation), 1)
    trainer = Counting(rows_of(0), CLASSES)
    context = federation.context(federation.parties[0], federation.home("parties", 0))
    current = tmp_path / "current.safetensors"
    found: list[Evaluation] = []
    adopter = Adopter(context, trainer, current, on_evaluated=found.append)
    while adopter.step().action:
        pass
    names = trainer.tensors
    weights = load_weights(current, names)
    bias = state_now(federation)[f"tensor/{BIAS.name}"]
    assert bias.any()
    assert np.array_equal(weights[1], bias)
    loss, _, metrics = trainer.evaluate(weights, {})
    assert found[-1].metrics == {"loss": loss, **metrics}
