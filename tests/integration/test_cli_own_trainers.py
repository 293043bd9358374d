"""`flo demo --trainer`: `simulate` from the shell, with the user's own file."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.flo import flo
from support.quadratic import Linear

from fl_orchestrator import simulate

TRAINERS = """
from support.quadratic import Linear

def make_party(number, parties):
    print("loads", number, "of", parties)
    return Linear(number, parties)

def make_same(number, parties):
    return Linear(0, parties)

def make_other():
    return Linear(99, 1)

def make_none(number, parties):
    return None

def make_broken(number, parties):
    return [][number]

class Stopping(Linear):
    def fit(self, weights, config):
        if config["round"] == 2:
            raise KeyboardInterrupt
        return super().fit(weights, config)
"""
OPTIONS = ("--parties", 3, "--rounds", 2, "--aggregators", 1, "--epochs", 5)
RATE = ("--learning-rate", 0.3)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("code") / "mine.py"
    path.write_text(TRAINERS)
    return path


def test_the_shell_gives_the_bits_of_simulate_and_verifies(file: Path, tmp_path: Path) -> None:
    done = flo("demo", "--trainer", file, *OPTIONS, *RATE, "--out", tmp_path / "run", "--json")
    shown = done.succeeded().json
    result = simulate(Linear, parties=3, rounds=2, aggregators=1, epochs=5, learning_rate=0.3)
    assert shown["head_root"] == result.head_root
    assert shown["rounds_accepted"] == 2
    assert shown["loss"] == result.rounds[-1].loss
    assert shown["metrics"] == {"mae": result.rounds[-1].metrics["mae"]}
    # What the user's code prints does not get into the JSON.
    assert "loads 2 of 3" in done.err
    assert shown["head_root"] in flo("verify", tmp_path / "run").succeeded().out


def test_workers_load_the_file_themselves_and_give_the_same_bits(
    file: Path, tmp_path: Path
) -> None:
    options = (*OPTIONS, *RATE, "--workers", 2, "--json")
    done = flo("demo", "--trainer", file, *options, "--out", tmp_path / "run").succeeded()
    result = simulate(Linear, parties=3, rounds=2, aggregators=1, epochs=5, learning_rate=0.3)
    assert done.json["head_root"] == result.head_root
    flo("demo", "--trainer", f"{file}:make_broken", *options, "--out", tmp_path / "other").refused(
        5, "make_broken(0, 3) in", "IndexError"
    )


def test_people_see_each_round_and_a_run_that_was_stopped_goes_on(
    file: Path, tmp_path: Path
) -> None:
    rest = (*OPTIONS, *RATE, "--out", tmp_path / "run", "--evaluate", f"{file}:make_other")
    stopped = flo("demo", "--trainer", f"{file}:Stopping", *rest)
    stopped.refused(130, "Interrupted", "goes on where it stopped")
    shown = flo("demo", "--trainer", f"{file}:make_party", *rest).succeeded().out
    lines = shown.splitlines()
    assert lines[0].endswith("3 parties; rule weighted-mean; 1 aggregators; seed 0.")
    assert [line.split()[:3] for line in lines[2:5]] == [
        ["round", "drawn", "included"],
        ["1", "3", "3"],
        ["2", "3", "3"],
    ]
    assert "mae" in lines[2]
    assert "Loss after round 1:" in shown
    again = flo("demo", "--trainer", f"{file}:make_party", *rest).succeeded().out
    assert "at its end already: nothing was trained." in again
    assert set(lines[2:5]) <= set(again.splitlines())


def test_equal_updates_make_a_round_void_and_it_is_said_why(file: Path, tmp_path: Path) -> None:
    run = tmp_path / "a run"
    shown = flo("demo", "--trainer", f"{file}:make_same", *OPTIONS, "--out", run).succeeded().out
    assert "2 of 2 rounds were void" in shown
    assert "give each party rows of its own" in shown
    assert shown.endswith(f"flo verify '{run}'\n")


@pytest.mark.parametrize(
    ("trainer", "options", "code", "words"),
    [
        ("none.py:make", [], 2, ["none.py does not exist"]),
        ("{file}:make_part", [], 2, ["has no function 'make_part'", "Did you mean make_party?"]),
        ("{file}:make_other", [], 2, ["cannot be called", "def make_other(number, parties)"]),
        ("{file}:make_none", [], 2, ["returned None, which has no fit and no evaluate"]),
        ("{file}:make_broken", [], 5, ["make_broken(0, 3)", "IndexError", "mine.py, line 18"]),
        ("{file}", ["--dataset", "digits"], 2, ["--dataset does not go with", "its own data"]),
        ("{file}", ["--participants", 9], 2, ["--participants is 9; it must be 1 to 3"]),
        ("{file}", ["--evaluate", "{file}:make_party"], 2, ["needs arguments", "make_party(…)"]),
        ("{file}", ["--learning-rate", "0"], 2, ["learning"]),
        ("{file}", ["--rule", "median", "--private"], 2, ["median", "sum"]),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(
    file: Path, tmp_path: Path, trainer: str, options: list[object], code: int, words: list[str]
) -> None:
    given = [str(option).format(file=file) for option in options]
    out = ("--out", tmp_path / "run")
    refused = flo("demo", "--trainer", trainer.format(file=file), *OPTIONS, *out, *given)
    refused.refused(code, *words)
    assert not (tmp_path / "run" / "history.json").exists()


def test_options_of_own_trainers_need_one(tmp_path: Path) -> None:
    refused = flo("demo", "--epochs", 2, "--out", tmp_path / "run")
    refused.refused(2, "--epochs is for your own trainers", "--trainer")
