"""`keep`: a run whose disk is bounded, with the same bits, and an audit that says what is gone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.flo import flo
from support.quadratic import Linear

from fl_orchestrator import RoundEntry, SimulationResult, simulate
from fl_orchestrator.audit.history import STORE, History
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import ReadOnlyStore
from fl_orchestrator.errors import VerificationError
from fl_orchestrator.simulation.options import BadOptions

PARTIES, ROUNDS, KEEP = 3, 5, 2
OPTIONS: dict[str, Any] = {
    "rounds": ROUNDS,
    "aggregators": 1,
    "learning_rate": 0.3,
    "epochs": 5,
    "evaluate": None,
}


@pytest.fixture(scope="module")
def whole() -> SimulationResult:
    return simulate(Linear, parties=PARTIES, **OPTIONS)


@pytest.fixture
def kept(tmp_path: Path) -> SimulationResult:
    return simulate(Linear, parties=PARTIES, directory=tmp_path / "run", keep=KEEP, **OPTIONS)


def files(result: SimulationResult) -> list[Path]:
    return [path for path in (result.directory / STORE).rglob("*") if path.is_file()]


def test_the_run_is_the_same_and_its_store_has_only_the_last_rounds(
    whole: SimulationResult, kept: SimulationResult
) -> None:
    assert kept.head_root == whole.head_root
    # The manifest, genesis, and each round's updates and model.
    assert len(files(whole)) == 2 + ROUNDS * (PARTIES + 1)
    # The first kept round starts from the model before it; that of the round before stays too.
    assert len(files(kept)) == 2 + KEEP * (PARTIES + 1) + 2


def test_the_store_does_not_grow_with_the_rounds(kept: SimulationResult, tmp_path: Path) -> None:
    longer = {**OPTIONS, "rounds": 2 * ROUNDS}
    more = simulate(Linear, parties=PARTIES, directory=tmp_path / "more", keep=KEEP, **longer)
    assert len(files(more)) == len(files(kept))


def test_verify_refuses_what_it_cannot_compute_again_and_checks_the_rest_on_demand(
    kept: SimulationResult,
) -> None:
    words = ("dropped the updates of 3 accepted rounds", "--kept")
    flo("verify", kept.directory).refused(1, *words)
    checked = flo("verify", kept.directory, "--kept").succeeded()
    assert "Verified: 2 rounds" in checked.out
    assert "3 earlier rounds were not computed again" in checked.out
    found = flo("verify", kept.directory, "--kept", "--json").succeeded().json
    assert (found["rounds"], found["not_recomputed"]) == (KEEP, ROUNDS - KEEP)
    assert kept.verify()["head_root"] == kept.head_root


def test_a_changed_update_of_a_kept_round_is_found(kept: SimulationResult) -> None:
    for path in files(kept):
        path.chmod(0o600)
        with path.open("r+b") as file:
            file.seek(-1, 2)
            last = file.read(1)
            file.seek(-1, 2)
            file.write(bytes([last[0] ^ 1]))
    with pytest.raises(VerificationError, match="changed"):
        kept.verify()


def test_a_record_that_claims_more_than_it_has_is_found(kept: SimulationResult) -> None:
    history = History.load(kept.directory)
    history.model_copy(update={"first_kept": 1}).save(kept.directory)
    with pytest.raises(VerificationError, match=r"Round 1: .* is not in the store"):
        kept.verify()


def test_a_stopped_run_goes_on_and_trains_again_what_it_dropped(
    whole: SimulationResult, tmp_path: Path
) -> None:
    def stop(entry: RoundEntry) -> None:
        if entry.round == ROUNDS - 1:
            raise KeyboardInterrupt

    run: dict[str, Any] = {"directory": tmp_path / "run", "keep": KEEP, **OPTIONS}
    with pytest.raises(KeyboardInterrupt):
        simulate(Linear, parties=PARTIES, on_round=stop, **run)
    trainers = [Linear(number, PARTIES) for number in range(PARTIES)]
    again = simulate(trainers, **run)
    assert again.head_root == whole.head_root
    # Of the four rounds that were trained, it had kept two.
    assert trainers[0].rounds[-3:] == [1, 2, 5]


def test_a_private_run_keeps_its_last_rounds_too(tmp_path: Path) -> None:
    options: dict[str, Any] = {**OPTIONS, "rounds": 3, "aggregators": 4, "private": True}
    kept = simulate(Linear, parties=PARTIES, directory=tmp_path / "run", keep=1, **options)
    assert kept.verify()["head_root"] == kept.head_root
    flo("verify", kept.directory).refused(1, "2 accepted rounds")


def test_it_keeps_at_least_one_round() -> None:
    with pytest.raises(BadOptions, match="--keep is 0; it must be 1 to 10000"):
        simulate(Linear, parties=PARTIES, keep=0, **OPTIONS)


def test_what_one_role_of_a_simulation_has_checked_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[Cid] = []
    get = ReadOnlyStore.get

    def counted(store: ReadOnlyStore, cid: Cid, max_bytes: int) -> Any:
        read.append(cid)
        return get(store, cid, max_bytes)

    monkeypatch.setattr(ReadOnlyStore, "get", counted)
    aggregators = 4
    result = simulate(
        Linear, parties=PARTIES, **{**OPTIONS, "rounds": 2, "aggregators": aggregators}
    )
    assert [entry.included for entry in result.rounds] == [PARTIES, PARTIES]
    counts = Counter(read)
    # Three updates in each of two rounds, by one of the aggregators; models, by one role of a kind.
    assert len(counts) >= 2 * PARTIES + 2
    assert sum(count == 1 for count in counts.values()) >= 2 * PARTIES
    assert max(counts.values()) < aggregators
