"""Trainers from a person's own file: what is taken, and how what is wrong with one is told."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from fl_orchestrator.errors import FloError
from fl_orchestrator.training.checked import CheckedTrainer
from fl_orchestrator.training.failures import BadTrainerFile, TrainerFailed
from fl_orchestrator.training.loading import load_trainer
from fl_orchestrator.training.trainer import WeightSpec

WEIGHTS = [np.zeros((2, 3), np.float32), np.zeros(3, np.float32)]
GOOD = """
import numpy as np

class Mine:
    def initial_weights(self):
        return {"kernel": np.zeros((2, 3), np.float32), "bias": np.zeros(3, np.float32)}

    def fit(self, weights, config):
        return [weight + 1 for weight in weights], 7, {"loss": np.float32(0.5)}

    def evaluate(self, weights, config):
        return np.float64(0.25), np.int64(5), {"accuracy": 1}

def make_trainer():
    return Mine()

def other():
    return Mine()

class Silent:
    def __repr__(self): raise ValueError("no text")

class Strange(Exception):
    __str__ = Silent.__repr__
"""


@pytest.fixture(autouse=True)
def _imports_are_undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("flo_trainer_"):
            del sys.modules[name]


def file(tmp_path: Path, text: str, name: str = "mine.py") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def loaded(tmp_path: Path, method: str, body: str) -> CheckedTrainer:
    """The good trainer with one method replaced."""
    text = f"{GOOD}\ndef replaced(self, *arguments):\n    {body}\nMine.{method} = replaced\n"
    return load_trainer(str(file(tmp_path, text)))


def test_a_trainer_is_what_the_named_function_of_a_file_returns(tmp_path: Path) -> None:
    path = file(tmp_path, GOOD)
    for spec in (str(path), f"{path}:make_trainer", f"{path}:other"):
        trainer = load_trainer(spec)
        trained, samples, metrics = trainer.fit(WEIGHTS, {})
        assert [array.tolist() for array in trained] == [[[1.0] * 3] * 2, [1.0] * 3]
        assert (samples, metrics) == (7, {"loss": 0.5})
        assert trainer.evaluate(WEIGHTS, {}) == (0.25, 5, {"accuracy": 1.0})
        assert list(trainer.initial_weights() or ()) == ["kernel", "bias"]


def test_a_trainer_may_import_what_lies_beside_its_file_also_when_it_trains(tmp_path: Path) -> None:
    file(tmp_path, "rows = 9", "beside_the_trainer.py")
    text = GOOD.replace("return [weight", "import beside_the_trainer as b; return [weight").replace(
        "], 7,", "], b.rows,"
    )
    assert load_trainer(str(file(tmp_path, text))).fit(WEIGHTS, {})[1] == 9


def test_tensorflow_is_quiet_also_where_the_file_imports_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = "import os\nLEVEL = os.environ['TF_CPP_MIN_LOG_LEVEL']\n"
    path = file(tmp_path, read + GOOD.replace("0.25", "float(LEVEL)"))
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    assert load_trainer(str(path)).evaluate(WEIGHTS, {})[0] == 3
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    assert load_trainer(str(path)).evaluate(WEIGHTS, {})[0] == 0


@pytest.mark.parametrize(
    ("text", "spec", "words"),
    [
        (None, "mine.py", ("mine.py does not exist", "--trainer my_trainer.py:make_trainer")),
        (GOOD, "mine.py:make_traner", ("no function 'make_traner'", "Did you mean make_trainer?")),
        (GOOD, "mine.py:WEIGHTS", ("no function 'WEIGHTS'",)),
        ("def make_trainer(:\n", "mine.py", ("mine.py, line 1", "invalid syntax")),
        ("import no_such_library", "mine.py", ("cannot be loaded", "no_such_library", "line 1)")),
        ("x = 1\n\nx / 0\n", "mine.py", ("ZeroDivisionError: division by zero", "line 3)")),
        ("def make_trainer():\n    return [][0]\n", "mine.py", ("IndexError", "line 2)")),
        ("def make_trainer(a): ...\n", "mine.py", ("needs arguments", "return make_trainer(…)")),
        ("def make_trainer(): ...\n", "mine.py", ("returned None", "no fit and no evaluate")),
        ("make_trainer = dict", "mine.py", ("returned {}", "no fit and no evaluate")),
    ],
)
def test_a_file_that_gives_no_trainer_is_refused_with_the_reason_and_the_line(
    tmp_path: Path, text: str | None, spec: str, words: tuple[str, ...]
) -> None:
    if text is not None:
        file(tmp_path, text)
    with pytest.raises((BadTrainerFile, TrainerFailed)) as raised:
        load_trainer(f"{tmp_path}/{spec}")
    assert all(word in str(raised.value) for word in words), str(raised.value)


def test_a_directory_or_a_file_of_another_kind_is_no_trainer(tmp_path: Path) -> None:
    for path in (tmp_path, file(tmp_path, GOOD, "mine.txt")):
        with pytest.raises(BadTrainerFile, match=r"not a \.py file"):
            load_trainer(str(path))


@pytest.mark.parametrize(
    ("method", "body", "words"),
    [
        ("fit", "raise ValueError('no rows left')", ("fit failed: ValueError: no rows", "line ")),
        ("fit", "return [1]", ("returned [1], not (weights, number of rows, metrics)",)),
        ("fit", "return None, 1, {}", ("returned None, not a list of arrays",)),
        ("fit", "return arguments[0][:1], 1, {}", ("shapes (2, 3), not those of the model",)),
        ("fit", "return [], 1, {}", ("shapes of nothing",)),
        ("fit", "return [w.T for w in arguments[0]], 1, {}", ("shapes (3, 2), (3,)",)),
        ("fit", "return [w.astype(int) for w in arguments[0]], 1, {}", ("array of int64",)),
        ("fit", "return arguments[0], 0, {}", ("returned 0 rows",)),
        ("fit", "return arguments[0], 2.5, {}", ("returned 2.5 rows",)),
        ("fit", "return arguments[0], True, {}", ("returned True rows",)),
        ("fit", "return [[[1, 2], [3]], [1.0] * 3], 1, {}", ("fit failed: ValueError",)),
        ("fit", "raise SystemExit(3)", ("fit failed: SystemExit: 3",)),
        ("evaluate", "import sys; sys.exit()", ("evaluate failed: SystemExit",)),
        ("fit", "raise BaseException('a panic in Rust')", ("fit failed: BaseException: a pan",)),
        ("fit", "raise GeneratorExit", ("fit failed: GeneratorExit",)),
        ("fit", "raise Strange()", ("fit failed: Strange",)),
        ("fit", "return Silent(), 1, {}", ("returned a Silent, not a list of arrays",)),
        ("fit", "return arguments[0], Silent(), {}", ("returned a Silent rows",)),
        ("fit", "return arguments[0], 1, {Silent(): 1}", ("fit failed: ValueError: no text",)),
        ("evaluate", "return 0.5, -1, {}", ("returned -1 rows",)),
        ("fit", "return arguments[0], 1, [0.5]", ("the metrics [0.5]",)),
        ("evaluate", "return 'low', 1, {}", ("the loss 'low', not a number",)),
        ("evaluate", "return 0.5, 1", ("not (loss, number of rows, metrics)",)),
        ("evaluate", "return arguments[0][0][9]", ("evaluate failed: IndexError",)),
        ("initial_weights", "return [1.0]", ("not arrays by their names",)),
        ("initial_weights", "return {'kernel': ['x']}", ("array of <U1",)),
        ("initial_weights", "raise KeyError('kernel')", ("initial_weights failed: KeyError",)),
    ],
)
def test_what_a_trainer_should_not_do_is_told_with_its_file(
    tmp_path: Path, method: str, body: str, words: tuple[str, ...]
) -> None:
    trainer = loaded(tmp_path, method, body)
    calls: dict[str, Any] = {
        "fit": lambda: trainer.fit(WEIGHTS, {}),
        "evaluate": lambda: trainer.evaluate(WEIGHTS, {}),
        "initial_weights": trainer.initial_weights,
    }
    with pytest.raises(TrainerFailed) as raised:
        calls[method]()
    assert all(word in str(raised.value) for word in (*words, "mine.py")), str(raised.value)
    assert raised.value.exit_code == 5


def test_wide_floats_are_rounded_and_nan_is_left_to_whoever_encodes(tmp_path: Path) -> None:
    body = (
        "return [w.astype(float) * float('nan') for w in arguments[0]], 1, {'loss': float('nan')}"
    )
    trained, _, metrics = loaded(tmp_path, "fit", body).fit(WEIGHTS, {})
    assert {array.dtype for array in trained} == {np.dtype(np.float32)}
    assert np.isnan(trained[0]).all()
    assert np.isnan(metrics["loss"])


def test_an_error_of_this_package_keeps_its_sentence(tmp_path: Path) -> None:
    text = "from fl_orchestrator.training.trainer import check_weights\n" + GOOD
    path = file(tmp_path, text + "\nMine.fit = lambda self, w, c: check_weights(w, [])\n")
    with pytest.raises(FloError, match="The model has 0 tensors, but 2 were given"):
        load_trainer(str(path)).fit(WEIGHTS, {})


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ([("kernel", (2, 3)), ("bias", (4,))], "bias (3,) is bias (4,)"),
        ([("kernel", (2, 3)), ("offset", (3,))], "bias (3,) is offset (3,)"),
        ([("kernel", (2, 3))], "2 tensors, the federation's 1"),
    ],
)
def test_a_trainer_of_another_model_is_refused_before_it_trains(
    tmp_path: Path, tensors: list[tuple[str, tuple[int, ...]]], words: str
) -> None:
    trainer = load_trainer(str(file(tmp_path, GOOD)))
    trainer.require_model([WeightSpec("kernel", (2, 3)), WeightSpec("bias", (3,))])
    with pytest.raises(BadTrainerFile) as raised:
        trainer.require_model([WeightSpec(*tensor) for tensor in tensors])
    assert words in str(raised.value)


def test_a_trainer_need_not_say_what_its_model_is(tmp_path: Path) -> None:
    trainer = load_trainer(str(file(tmp_path, GOOD + "\ndel Mine.initial_weights\n")))
    assert trainer.initial_weights() is None
    trainer.require_model([WeightSpec("anything", (1,))])


# What a log has of it


@pytest.mark.parametrize(
    ("samples", "metrics", "taken"),
    [
        ("7", "{'ok': True}", {"ok": 1.0}),
        ("7", "{'site': 'A', 'loss': np.array(0.5)}", {"loss": 0.5}),
        ("7", "{'raw': b'x', 'list': [1, 2], 'none': None}", {}),
        ("np.array(7)", "{'auc': np.float32('nan')}", {"auc": math.nan}),
        ("7.0", "{}", {}),
    ],
)
def test_what_does_no_harm_is_taken_and_what_is_no_number_is_left_out(
    tmp_path: Path, samples: str, metrics: str, taken: dict[str, float]
) -> None:
    trainer = loaded(tmp_path, "fit", f"return arguments[0], {samples}, {metrics}")
    _, rows, found = trainer.fit(WEIGHTS, {})
    assert rows == 7
    assert repr(found) == repr(taken)


def test_what_is_left_out_is_said_once(tmp_path: Path) -> None:
    trainer = loaded(tmp_path, "fit", "return arguments[0], 1, {'site': 'A'}")
    with capture_logs() as logs:
        for _ in range(3):
            trainer.fit(WEIGHTS, {})
    assert [entry["event"] for entry in logs] == [
        "the metric 'site' of fit is left out: it is not a number"
    ]


@pytest.mark.parametrize(
    "body", ["return 0.0, 0, {}", "return None, 0, {}", "raise NotImplementedError"]
)
def test_a_trainer_without_validation_rows_evaluates_nothing(tmp_path: Path, body: str) -> None:
    trainer = loaded(tmp_path, "evaluate", body)
    with capture_logs() as logs:
        loss, rows, metrics = [trainer.evaluate(WEIGHTS, {}) for _ in range(2)][-1]
    assert math.isnan(loss)
    assert (rows, metrics) == (0, {})
    assert len(logs) == 1


IN_PLACE = """
import numpy as np

class Mine:
    weights = [np.zeros((2, 3), np.float32), np.zeros(3, np.float32)]

    def initial_weights(self):
        return dict(zip("kb", self.weights))

    def fit(self, weights, config):
        for own, given in zip(self.weights, weights):
            given += 1
            own[:] = given
        return self.weights, 1, {}

    def evaluate(self, weights, config):
        for given in weights:
            given[:] = 9
        return 0.5, 1, {}

make_trainer = Mine
"""


def test_a_trainer_that_works_in_place_changes_neither_what_it_got_nor_what_it_gave(
    tmp_path: Path,
) -> None:
    trainer = load_trainer(str(file(tmp_path, IN_PLACE)))
    initial = trainer.initial_weights() or {}
    given = [array.copy() for array in initial.values()]
    first, _, _ = trainer.fit(given, {})
    trainer.evaluate(given, {})
    trainer.fit(first, {})
    assert not any(array.any() for array in (*initial.values(), *given))
    assert all((array == 1).all() for array in first)


def test_a_trainer_file_that_reads_its_arguments_sees_none_of_flos(tmp_path: Path) -> None:
    parse = "import argparse, sys\nARGUMENTS = argparse.ArgumentParser().parse_args()\n"
    before = list(sys.argv)
    sys.argv[1:] = ["party", "run", "--trainer", "mine.py"]
    try:
        assert load_trainer(str(file(tmp_path, parse + GOOD))).fit(WEIGHTS, {})[1] == 7
        assert sys.argv[1:] == ["party", "run", "--trainer", "mine.py"]
    finally:
        sys.argv[:] = before


def test_a_trainer_file_that_ends_the_process_is_a_trainer_that_failed(tmp_path: Path) -> None:
    with pytest.raises(TrainerFailed, match="cannot be loaded: SystemExit"):
        load_trainer(str(file(tmp_path, "import sys\nsys.exit(1)\n")))


@pytest.mark.parametrize("name", ["initial_weights", "architecture", "classes", "keras_model"])
def test_a_property_that_fails_is_a_trainer_that_failed(tmp_path: Path, name: str) -> None:
    wrong = f"class Wrong(Mine):\n    @property\n    def {name}(self): raise ValueError(7)\n"
    trainer = load_trainer(str(file(tmp_path, f"{GOOD}\n{wrong}\nmake_trainer = Wrong\n")))
    calls: dict[str, Any] = {
        "initial_weights": trainer.initial_weights,
        "architecture": trainer.architecture,
        "classes": trainer.classes,
        "keras_model": lambda: trainer.keras_model,
    }
    with pytest.raises(TrainerFailed, match=f"{name} failed: ValueError: 7"):
        calls[name]()


def test_a_trainer_whose_attributes_cannot_be_read_is_a_trainer_that_failed(tmp_path: Path) -> None:
    wrong = "class Wrong:\n    def __getattr__(self, name): raise ValueError(name)\n"
    path = file(tmp_path, f"{wrong}\nmake_trainer = Wrong\n")
    with pytest.raises(TrainerFailed, match=r"make_trainer in .* failed: ValueError: fit"):
        load_trainer(str(path))


def test_an_interrupt_while_a_trainer_works_is_an_interrupt(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        loaded(tmp_path, "fit", "raise KeyboardInterrupt").fit(WEIGHTS, {})


ROWS = "Smith, John\\n1954-03-01 positive"


@pytest.mark.parametrize(
    ("body", "summary"),
    [
        (
            f"raise ValueError('could not convert string to float: \"{ROWS}\"')",
            "The trainer's fit failed: ValueError: could not convert string to float …",
        ),
        (f"raise KeyError('{ROWS}')", "The trainer's fit failed: KeyError ("),
        (f"raise BaseException('1 {ROWS}')", "The trainer's fit failed: BaseException ("),
        (f"raise RuntimeError('bad row\\n{ROWS}')", "fit failed: RuntimeError: bad row …"),
        ("raise RuntimeError('x' * 2000)", "RuntimeError: " + "x" * 80 + " …"),
        (f"return ['{ROWS}']", "did not return (weights, number of rows, metrics)."),
        (f"return [], 1, {{}}, '{ROWS}'", "did not return (weights, number of rows, metrics)."),
        (f"return arguments[0], 1, ['{ROWS}']", "did not return numbers by their names."),
    ],
)
def test_a_log_has_the_kind_and_the_place_of_an_error_and_no_value_of_the_data(
    tmp_path: Path, body: str, summary: str
) -> None:
    with pytest.raises(TrainerFailed) as raised:
        loaded(tmp_path, "fit", body).fit(WEIGHTS, {})
    logged = raised.value.for_log
    assert summary in logged
    assert "mine.py" in logged
    assert not [word for word in ("Smith", "John", "1954", "positive") if word in logged]
    assert "\n" not in logged
    assert len(logged) < 300


ARCHITECTURE = """
class Trainer:
    def fit(self, weights, config): return weights, 1, {{}}
    def evaluate(self, weights, config): return 0.0, 1, {{}}
    def architecture(self): return {digest!r}

def make_trainer(): return Trainer()
"""


def test_a_trainer_of_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(ARCHITECTURE.format(digest="ab" * 32))
    trainer = load_trainer(str(path))
    trainer.require_model([], "ab" * 32)
    trainer.require_model([])
    with pytest.raises(BadTrainerFile, match="computes something else: its architecture is abab"):
        trainer.require_model([], "cd" * 32)


def test_a_digest_that_is_none_is_refused_and_a_trainer_need_not_have_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(ARCHITECTURE.format(digest="tanh"))
    with pytest.raises(TrainerFailed, match="64 hexadecimal digits"):
        load_trainer(str(path)).architecture()
    path.write_text(ARCHITECTURE.format(digest=None))
    load_trainer(str(path)).require_model([], "cd" * 32)
