"""`simulate` with trainers in other processes: the same bits, also of trainers that keep something.

A dask cluster in this process stands for any executor of several machines.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from support.flo import flo
from support.keeping import Counting, Dying, Failing, Silent, Telling
from support.quadratic import Linear

from fl_orchestrator import PartyFailed, SimulationResult, simulate
from fl_orchestrator.errors import InputError
from fl_orchestrator.simulation.trainers import BadTrainers

PARTIES = 3
OPTIONS: dict[str, Any] = {"rounds": 2, "aggregators": 1, "learning_rate": 0.3, "epochs": 5}


def run(trainer: Any, **options: Any) -> SimulationResult:
    return simulate(trainer, parties=PARTIES, **{**OPTIONS, **options})


def with_dask() -> Iterator[Executor]:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


def with_threads() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def with_processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        yield processes


@pytest.fixture(params=[with_dask, with_threads, with_processes])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    yield from request.param()


@pytest.fixture(scope="module")
def alone() -> dict[type[Linear], SimulationResult]:
    """The runs in this process."""
    return {kind: run(kind) for kind in (Linear, Counting, Telling)}


def same(one: SimulationResult, other: SimulationResult) -> None:
    assert one.head_root == other.head_root
    assert [vars_of(entry) for entry in one.rounds] == [vars_of(entry) for entry in other.rounds]


def vars_of(entry: Any) -> tuple[Any, ...]:
    return entry.root, entry.loss, entry.metrics, entry.gas


def test_what_a_trainer_keeps_changes_the_model(alone: dict[type[Linear], Any]) -> None:
    assert len({result.head_root for result in alone.values()}) == 3


@pytest.mark.parametrize("kind", [Linear, Counting, Telling])
def test_two_workers_give_the_bits_of_one(kind: type[Linear], alone: dict[Any, Any]) -> None:
    same(run(kind, workers=2), alone[kind])


def test_trainers_made_before_go_to_their_workers(alone: dict[Any, Any]) -> None:
    made = [Counting(number, PARTIES) for number in range(PARTIES)]
    same(simulate(made, workers=2, **OPTIONS), alone[Counting])
    assert all(one.rounds == [] for one in made)  # those here were not used


def test_an_executor_gives_the_bits_of_one_process(
    executor: Executor, alone: dict[Any, Any]
) -> None:
    same(run(Telling, executor=executor), alone[Telling])
    made = [Counting(number, PARTIES) for number in range(PARTIES)]
    same(simulate(made, executor=executor, **OPTIONS), alone[Counting])


def test_a_run_in_a_directory_goes_on_with_workers(tmp_path: Path) -> None:
    with pytest.raises(PartyFailed, match=r"Party 1, round 2: .*MemoryError: no room"):
        run(Failing, workers=2, directory=tmp_path / "run")
    assert (tmp_path / "run" / "fits" / "round-2" / "party-0.safetensors").exists()
    same(run(Linear, workers=2, directory=tmp_path / "run"), run(Linear))


def test_private_rounds_have_workers_too() -> None:
    options: dict[str, Any] = {"private": True, "aggregators": 4, "rounds": 1, "participants": 5}
    one, two = (simulate(Linear, parties=5, workers=w, **{**OPTIONS, **options}) for w in (1, 2))
    same(one, two)


def test_an_executor_refuses_to_lose_what_a_trainer_keeps() -> None:
    with (
        ThreadPoolExecutor(1) as threads,
        pytest.raises(BadTrainers, match=r"party 0 keeps between rounds would be lost .* no site"),
    ):
        run(Silent, executor=threads)
    run(Silent, workers=2)  # where each trainer stays in its process


def test_what_cannot_be_pickled_is_named_in_a_sentence() -> None:
    class Local(Linear):
        pass

    with pytest.raises(BadTrainers, match=r"The trainer of party 0 cannot be pickled: .*Local"):
        simulate([Local(0, 2), Local(1, 2)], workers=2, **OPTIONS)
    with pytest.raises(BadTrainers, match="function that makes the trainers cannot be pickled"):
        run(lambda number, parties: Linear(number, parties), workers=2)
    with pytest.raises(BadTrainers, match="party 1 has no fit"):
        simulate([Linear(0, 2), object()], workers=2, **OPTIONS)  # type: ignore[list-item]


def test_a_process_that_ends_is_told_with_its_party() -> None:
    with pytest.raises(PartyFailed, match="process in which party 0 trains has ended"):
        run(Dying, workers=2)


def test_workers_and_an_executor_exclude_each_other() -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(InputError, match="Leave one"):
        run(Linear, workers=2, executor=threads)
    with pytest.raises(InputError, match="workers is 0"):
        run(Linear, workers=0)


def test_a_script_without_a_guard_is_told_what_is_missing(checkout: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from support.quadratic import Linear\n"
        "from fl_orchestrator import simulate\n"
        "simulate(Linear, parties=2, rounds=1, aggregators=1, workers=2)\n"
    )
    path = os.pathsep.join((str(checkout), str(checkout / "tests")))
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert 'if __name__ == "__main__"' in last


def test_the_parties_of_a_data_set_have_workers_too(tmp_path: Path) -> None:
    tiny = ("demo", "--parties", 2, "--aggregators", 1, "--rounds", 1, "--json")
    heads = [
        flo(*tiny, "--workers", workers, "--out", tmp_path / str(workers)).succeeded().json
        for workers in (1, 2)
    ]
    assert heads[0]["head_root"] == heads[1]["head_root"]
    assert heads[0]["model_sha256"] == heads[1]["model_sha256"]
