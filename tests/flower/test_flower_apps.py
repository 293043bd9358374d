"""Flower apps as trainers: what they are told, what is taken from them, and what is refused.

Runs in an environment of its own (`make test-flower`), because flwr pins packages that this
project's other tests use in newer versions.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp

from fl_orchestrator.errors import FloError
from fl_orchestrator.model.fixed_point import NotFiniteError, encode_update, genesis_state
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.training.checked import CheckedTrainer
from fl_orchestrator.training.failures import TrainerFailed
from fl_orchestrator.training.flower import (
    BadFlowerApp,
    FlowerFailed,
    FlowerTrainer,
    flower_trainer,
)
from fl_orchestrator.training.site.state import restore, state_of
from fl_orchestrator.training.trainer import WeightSpec

WEIGHTS = [np.ones((2, 3), np.float32), np.zeros(3, np.float32)]
NAMES = ["kernel", "bias"]
INITIAL = dict(zip(NAMES, WEIGHTS, strict=True))
CONFIG: dict[str, Any] = {
    "epochs": 4,
    "batchSize": 8,
    "learningRate": 0.25,
    "optimizer": "sgd",
    "metrics": ("accuracy",),
    "seed": (1 << 64) - 1,
    "round": 7,
}
Reply = Callable[[Message, Context], Any]


def answer(message: Message, arrays: Any, **metrics: float) -> Message:
    record = arrays if isinstance(arrays, ArrayRecord) else ArrayRecord(arrays)
    numbers = MetricRecord({"num-examples": 5, **metrics})
    return Message(RecordDict({"arrays": record, "metrics": numbers}), reply_to=message)


def plus_one(message: Message, context: Context) -> Message:
    arrays = message.content["arrays"]
    return answer(
        message, ArrayRecord({name: Array(a.numpy() + 1) for name, a in arrays.items()}), loss=0.5
    )


def app_of(train: Reply = plus_one, evaluate: Reply | None = None, mods: Any = None) -> ClientApp:
    app = ClientApp(mods=mods)
    app.train()(train)

    def measured(message: Message, context: Context) -> Message:
        numbers = MetricRecord({"num-examples": 3, "eval_loss": 0.25, "eval_acc": 0.75})
        return Message(RecordDict({"metrics": numbers}), reply_to=message)

    app.evaluate()(evaluate or measured)
    return app


def trainer_of(train: Reply = plus_one, **options: Any) -> FlowerTrainer:
    return flower_trainer(app_of(train), **{"initial": INITIAL, **options})


def test_an_app_gets_the_models_names_the_settings_as_scalars_and_its_place() -> None:
    seen: dict[str, Any] = {}

    def train(message: Message, context: Context) -> Message:
        seen.update(
            arrays=list(message.content["arrays"]),
            config=dict(message.content["config"]),
            run=context.run_config,
            node=context.node_config,
            group=message.metadata.group_id,
        )
        return plus_one(message, context)

    trainer = trainer_of(
        train, partition_id=2, num_partitions=9, run_config={"dropout": 0.5, "lr": 0.125}
    )
    assert trainer.initial_weights() is not None
    trained, rows, metrics = trainer.fit(WEIGHTS, CONFIG)
    assert [array.max() for array in trained] == [2, 1]
    assert (rows, metrics) == (5, {"loss": 0.5})
    assert seen["arrays"] == NAMES
    assert seen["config"] == {
        "epochs": 4,
        "batchSize": 8,
        "learningRate": 0.25,
        "lr": 0.25,
        "optimizer": "sgd",
        "seed": (1 << 63) - 1,
        "round": 7,
        "server-round": 7,
    }
    assert seen["run"] == {"dropout": 0.5, "lr": 0.125}
    assert seen["node"] == {"partition-id": 2, "num-partitions": 9}
    assert seen["group"] == "7"


def test_evaluate_gives_the_loss_and_the_other_metrics() -> None:
    assert trainer_of().evaluate(WEIGHTS, CONFIG) == (0.25, 3, {"eval_acc": 0.75})


def test_arrays_are_taken_by_name_whatever_their_order_and_else_in_their_order() -> None:
    def reversed_names(message: Message, context: Context) -> Message:
        arrays = {"bias": Array(np.full(3, 7.0)), "kernel": Array(np.full((2, 3), 8.0))}
        return answer(message, ArrayRecord(arrays))

    def numbered(message: Message, context: Context) -> Message:
        return answer(message, [np.full((2, 3), 8.0), np.full(3, 7.0)])

    for train in (reversed_names, numbered):
        trainer = trainer_of(train)
        trainer.initial_weights()
        assert [array.max() for array in trainer.fit(WEIGHTS, CONFIG)[0]] == [8, 7]


def test_the_names_may_come_from_the_manifest() -> None:
    seen: list[str] = []

    def train(message: Message, context: Context) -> Message:
        seen.extend(message.content["arrays"])
        return plus_one(message, context)

    checked = CheckedTrainer(trainer_of(train, initial=None), Path(__file__))
    checked.require_model([WeightSpec(n, a.shape) for n, a in INITIAL.items()])
    checked.fit(WEIGHTS, CONFIG)
    assert seen == NAMES
    assert checked.initial_weights() is None


def counting(message: Message, context: Context) -> Message:
    n = context.state["n"]["n"] if "n" in context.state else 0
    context.state["n"] = ConfigRecord({"n": n + 1})
    arrays = [array.numpy() + n for array in message.content["arrays"].values()]
    return answer(message, arrays, n=n)


def test_the_contexts_state_goes_from_fit_to_fit_and_can_be_restored() -> None:
    trainer = trainer_of(counting)
    assert state_of(trainer) == {}
    assert trainer.fit(WEIGHTS, CONFIG)[2] == {"n": 0}
    kept = state_of(trainer)
    assert trainer.fit(WEIGHTS, CONFIG)[2] == {"n": 1}
    restore(trainer, kept)
    assert trainer.fit(WEIGHTS, CONFIG)[2] == {"n": 1}
    restore(trainer, {})
    assert trainer.fit(WEIGHTS, CONFIG)[2] == {"n": 0}


def test_evaluation_and_a_failed_training_do_not_change_the_state() -> None:
    def fails_later(message: Message, context: Context) -> Message:
        done = counting(message, context)
        if context.state["n"]["n"] == 2:
            raise RuntimeError("out of memory")
        return done

    app = app_of(fails_later, evaluate=lambda m, c: counting_loss(m, c))
    trainer = flower_trainer(app, initial=INITIAL)
    trainer.fit(WEIGHTS, CONFIG)
    kept = state_of(trainer)["flower-context"].tobytes()
    trainer.evaluate(WEIGHTS, CONFIG)
    with pytest.raises(RuntimeError):
        trainer.fit(WEIGHTS, CONFIG)
    assert state_of(trainer)["flower-context"].tobytes() == kept


def counting_loss(message: Message, context: Context) -> Message:
    context.state["other"] = ConfigRecord({"x": 1})
    return answer(message, [np.zeros(1)], eval_loss=0.5)


def test_a_damaged_state_is_one_sentence() -> None:
    trainer = trainer_of(counting)
    restore(trainer, {"flower-context": np.frombuffer(b"\xff\xff junk", np.uint8)})
    with pytest.raises(FlowerFailed, match="cannot be read"):
        trainer.fit(WEIGHTS, CONFIG)


def test_mods_are_applied() -> None:
    passed: list[str] = []

    def mod(message: Message, context: Context, call: Any) -> Message:
        passed.append(message.metadata.message_type)
        reply: Message = call(message, context)
        return reply

    trainer = flower_trainer(app_of(mods=[mod]), initial=INITIAL)
    trainer.fit(WEIGHTS, CONFIG)
    trainer.evaluate(WEIGHTS, CONFIG)
    assert passed == ["train", "evaluate"]


class Client(NumPyClient):  # type: ignore[misc]
    def __init__(self, context: Context) -> None:
        self.context = context

    def get_parameters(self, config: Any) -> Any:
        return WEIGHTS

    def fit(self, parameters: Any, config: Any) -> Any:
        return [array + config["epochs"] for array in parameters], 6, {"loss": 0.5}

    def evaluate(self, parameters: Any, config: Any) -> Any:
        return 0.25, 4, {"accuracy": self.context.node_config["partition-id"] / 2}


def test_a_client_fn_with_a_numpy_client_works_and_gives_its_first_weights() -> None:
    app = ClientApp(lambda context: Client(context).to_client())
    trainer = flower_trainer(app, partition_id=1)
    initial = trainer.initial_weights()
    assert initial is not None
    assert list(initial) == ["0", "1"]
    trained, rows, metrics = trainer.fit(WEIGHTS, CONFIG)
    assert [array.max() for array in trained] == [5, 4]
    assert (rows, metrics) == (6, {"loss": 0.5})
    assert trainer.evaluate(WEIGHTS, CONFIG) == (0.25, 4, {"accuracy": 0.5})


def failing(message: Message, context: Context) -> Message:
    return Message(Error(code=2, reason="no data here"), reply_to=message)


def silent(message: Message, context: Context) -> Message:
    content = RecordDict({"a": ArrayRecord(WEIGHTS), "m": MetricRecord({"x": 1})})
    return Message(content, reply_to=message)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (failing, "answered with error 2: no data here"),
        (lambda m, c: None, "returned NoneType, no Message"),
        (silent, "did not say on how many examples"),
        (lambda m, c: answer(m, WEIGHTS[:1]), "answered with 1 arrays"),
        (lambda m, c: answer(m, [*WEIGHTS, *WEIGHTS]), "answered with 4 arrays"),
        (lambda m, c: answer(m, ArrayRecord({"kernel": Array(WEIGHTS[0]), "b": Array(WEIGHTS[1])})),
         "are not those of the model"),
        (lambda m, c: Message(RecordDict({}), reply_to=m), "did not say|0 ArrayRecords"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_model_is_one_sentence(train: Reply, words: str) -> None:
    trainer = trainer_of(train)
    trainer.initial_weights()
    with pytest.raises(FlowerFailed, match=words):
        trainer.fit(WEIGHTS, CONFIG)
    with pytest.raises(TrainerFailed, match="fit failed"):
        CheckedTrainer(trainer, Path(__file__)).fit(WEIGHTS, CONFIG)


def test_an_evaluation_without_a_loss_is_one_sentence() -> None:
    def evaluate(message: Message, context: Context) -> Message:
        numbers = MetricRecord({"num-examples": 3, "auc": 0.5})
        return Message(RecordDict({"metrics": numbers}), reply_to=message)

    with pytest.raises(FlowerFailed, match="no loss among auc"):
        flower_trainer(app_of(evaluate=evaluate)).evaluate(WEIGHTS, CONFIG)


def test_an_app_that_changes_its_shapes_is_refused_in_that_round() -> None:
    rounds: list[int] = []

    def grows(message: Message, context: Context) -> Message:
        rounds.append(1)
        size = 3 + len(rounds) // 2
        return answer(message, [np.ones((2, size)), np.zeros(size)])

    checked = CheckedTrainer(trainer_of(grows), Path(__file__))
    checked.fit(WEIGHTS, CONFIG)
    with pytest.raises(TrainerFailed, match=r"returned shapes \(2, 4\), \(4,\), not those"):
        checked.fit(WEIGHTS, CONFIG)


def test_nan_becomes_no_update() -> None:
    def diverges(message: Message, context: Context) -> Message:
        return answer(message, [np.full((2, 3), np.nan), np.zeros(3)])

    trained, _, _ = CheckedTrainer(trainer_of(diverges), Path(__file__)).fit(WEIGHTS, CONFIG)
    layout = Layout.of((name, array.shape, 0) for name, array in INITIAL.items())
    with pytest.raises(NotFiniteError, match="kernel"):
        encode_update(layout, 15, trained, genesis_state(layout, WEIGHTS))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.client_app:app", "no module nowhere"),
        ("there:missing", "no 'missing'"),
        ("there", "does not name an object"),
        ("there:number", "not a Flower ClientApp"),
    ],
)
def test_an_app_that_is_not_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "there.py").write_text("number = 5\n")
    monkeypatch.delitem(sys.modules, "there", raising=False)
    with pytest.raises(BadFlowerApp, match=words):
        flower_trainer(name, directory=tmp_path)


def test_the_run_config_is_the_projects_then_the_manifests_then_the_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "pyproject.toml").write_text(
        "[tool.flwr.app.config]\nlocal-epochs = 1\nlearning-rate = 0.5\nbatch-size = 2\n"
        "model.depth = 3\nproximal-mu = 0.0\n"
    )
    (tmp_path / "configured.py").write_text(
        "from flwr.app import *\nfrom flwr.clientapp import ClientApp\napp = ClientApp()\n"
        "@app.train()\n"
        "def train(message, context):\n"
        "    numbers = {'num-examples': 1, **context.run_config}\n"
        "    return Message(RecordDict({'a': message.content['arrays'],\n"
        "        'm': MetricRecord(numbers)}), reply_to=message)\n"
    )
    trainer = flower_trainer(
        "configured:app", directory=tmp_path, run_config={"batch-size": 32}, initial=INITIAL
    )
    assert trainer.fit(WEIGHTS, CONFIG)[2] == {
        "local-epochs": 4,
        "learning-rate": 0.25,
        "batch-size": 32,
        "model.depth": 3,
        "proximal-mu": 0.0,
    }
    assert trainer.fit(WEIGHTS, {**CONFIG, "proximalMu": 0.5})[2]["proximal-mu"] == 0.5


@pytest.mark.parametrize("text", ["[tool", "[tool.flwr.app.config]\na = [1]\n"])
def test_a_pyproject_that_cannot_be_used_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(BadFlowerApp, match=r"pyproject\.toml"):
        flower_trainer("whatever:app", directory=tmp_path)


_WITHOUT_SOCKETS = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(event) if event.startswith("socket.") else None)
import numpy as np
from fl_orchestrator.training.flower import flower_trainer
trainer = flower_trainer(
    "digits_app.sklearn_app:app", partition_id=0, num_partitions=10,
    initial="digits_app.sklearn_app:first_arrays",
)
weights = list(trainer.initial_weights().values())
config = {"epochs": 1, "batchSize": 16, "learningRate": 0.05, "seed": 1}
trained, rows, metrics = trainer.fit(weights, config)
trainer.evaluate(trained, config)
from flwr.supercore import telemetry
print(telemetry.FLWR_TELEMETRY_ENABLED, rows, sorted(set(opened)))
"""


def test_no_socket_is_opened_and_telemetry_is_off(checkout: Path) -> None:
    environment = {**os.environ, "FLWR_TELEMETRY_ENABLED": "1", "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_SOCKETS],
        cwd=checkout / "examples" / "flower_app",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "144", "[]"]


def test_every_refusal_is_an_error_for_users() -> None:
    assert issubclass(FlowerFailed, FloError)
    assert issubclass(BadFlowerApp, FloError)
