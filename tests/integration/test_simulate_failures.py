"""`simulate` with trainers that misbehave: a sentence, and nothing that was done is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.quadratic import Linear

from fl_orchestrator import PartyFailed, SimulationResult, simulate
from fl_orchestrator.audit.history import BLOCKS
from fl_orchestrator.training.failures import TrainerFailed

PARTIES = 3
OPTIONS: dict[str, Any] = {"rounds": 2, "aggregators": 1, "learning_rate": 0.3, "epochs": 5}
# A run of a program of its own, which says when it trains.
PROGRAM = """
import sys, time
from support.quadratic import Linear
from fl_orchestrator import simulate

SLOWLY = "slowly" in sys.argv  # a trainer does not see the program's arguments

class Slow(Linear):
    def fit(self, weights, config):
        if config["round"] == 2 and SLOWLY:
            print("training", flush=True)
            time.sleep(60)
        return super().fit(weights, config)

result = simulate(Slow, parties=3, directory=sys.argv[1], **{options})
print(result.head_root)
"""


class InRoundTwo(Linear):
    """Does something else in round 2."""

    def __init__(self, number: int, then: Callable[[list[Any], Any], Any]) -> None:
        super().__init__(number, PARTIES)
        self.then = then

    def fit(self, weights: list[Any], config: dict[str, Any]) -> Any:
        answer = super().fit(weights, config)
        return self.then(weights, answer) if config["round"] == 2 else answer


def with_one(then: Callable[[list[Any], Any], Any]) -> list[Linear]:
    return [Linear(0, PARTIES), InRoundTwo(1, then), Linear(2, PARTIES)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SimulationResult:
    directory = tmp_path_factory.mktemp("whole") / "run"
    return simulate(Linear, parties=PARTIES, directory=directory, **OPTIONS)


def _grown(weights: list[Any], answer: Any) -> Any:
    (_, bias), rows, metrics = answer
    return [np.zeros(4, np.float32), bias], rows, metrics


def _fewer(weights: list[Any], answer: Any) -> Any:
    return answer[0][:1], *answer[1:]


def _out_of_memory(weights: list[Any], answer: Any) -> Any:
    np.zeros(1 << 58, np.uint8)


def _swapped_in_place(weights: list[Any], answer: Any) -> Any:
    weights[0] *= np.float32(100)
    return answer


@pytest.mark.parametrize(
    ("then", "sentence"),
    [
        (_grown, r"Party 1, round 2: .* shapes \(4,\), \(\), not those of the model, \(3,\), \(\)"),
        (_fewer, r"Party 1, round 2: .* shapes \(3,\), not those of the model"),
        (_out_of_memory, r"Party 1, round 2: .* Unable to allocate"),
    ],
    ids=["other shapes", "fewer tensors", "out of memory"],
)
def test_a_failure_in_the_middle_names_party_and_round_and_the_run_goes_on(
    whole: SimulationResult, tmp_path: Path, then: Callable[..., Any], sentence: str
) -> None:
    with pytest.raises(PartyFailed, match=sentence):
        simulate(with_one(then), directory=tmp_path / "run", **OPTIONS)
    again = simulate(Linear, parties=PARTIES, directory=tmp_path / "run", **OPTIONS)
    assert (again.directory / BLOCKS).read_bytes() == (whole.directory / BLOCKS).read_bytes()
    assert again.head_root == whole.head_root


def test_weights_that_a_trainer_changes_in_place_are_its_own_copy(whole: SimulationResult) -> None:
    assert simulate(with_one(_swapped_in_place), **OPTIONS).head_root == whole.head_root


def test_no_trainer_is_too_slow_because_the_chain_waits(whole: SimulationResult) -> None:
    def slow(weights: list[Any], answer: Any) -> Any:
        time.sleep(1.2)  # longer than a block
        return answer

    assert simulate(with_one(slow), **OPTIONS).head_root == whole.head_root


def test_data_that_change_between_rounds_change_the_weight_of_their_party(
    whole: SimulationResult, tmp_path: Path
) -> None:
    def more(weights: list[Any], answer: Any) -> Any:
        return answer[0], 4 * answer[1], answer[2]

    result = simulate(with_one(more), directory=tmp_path / "run", **OPTIONS)
    assert result.rounds[0].root == whole.rounds[0].root
    assert result.head_root != whole.head_root
    assert result.verify()["head_root"] == result.head_root


def test_data_that_change_while_a_run_is_stopped_do_not_change_what_was_trained(
    whole: SimulationResult, tmp_path: Path
) -> None:
    def stop(weights: list[Any], answer: Any) -> Any:
        raise KeyboardInterrupt

    class Changed(Linear):
        def fit(self, weights: list[Any], config: dict[str, Any]) -> Any:
            assert config["round"] == 2
            return super().fit(weights, config)

    with pytest.raises(KeyboardInterrupt):
        simulate(with_one(stop), directory=tmp_path / "run", **OPTIONS)
    changed = [Changed(number, PARTIES) for number in range(PARTIES)]
    result = simulate(changed, directory=tmp_path / "run", **OPTIONS)
    assert result.head_root == whole.head_root


def test_ctrl_c_ends_a_program_and_the_same_program_goes_on(
    whole: SimulationResult, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("{options}", repr(OPTIONS)))
    command = [sys.executable, str(program), str(tmp_path / "run")]
    options: dict[str, Any] = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options["env"] = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([*command, "slowly"], **options) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "training\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    done = subprocess.run(command, timeout=120, **options)
    assert done.stdout.split()[-1] == whole.head_root, done.stderr


class Same(dict[str, Any]):
    """A mapping that gives one name twice, as arrays of a framework with equal names may."""

    def __iter__(self) -> Any:
        return iter(["slopes", "slopes"])

    def items(self) -> Any:
        return [("slopes", np.zeros(3, np.float32)), ("slopes", np.zeros(3, np.float32))]

    def values(self) -> Any:
        return [value for _, value in self.items()]


class Twice(Linear):
    def initial_weights(self) -> dict[str, Any]:
        return Same()


def test_two_tensors_of_one_name_are_refused() -> None:
    with pytest.raises(TrainerFailed, match="two tensors called 'slopes'"):
        simulate([Twice(0, 1)], **OPTIONS)
