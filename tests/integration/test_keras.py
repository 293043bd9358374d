"""The Keras adapter: shared, reset for every fit, and the same bits in every process."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.federation import SmallFederation, small_manifest
from support.flo import flo

from fl_orchestrator.chain.nodes import connect
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import TensorSpec as Tensor
from fl_orchestrator.model.manifest import read_manifest
from fl_orchestrator.training.architecture import architecture_of
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.keras import KerasModel, KerasTrainer, load_tensorflow, tensors
from fl_orchestrator.training.loading import load_trainer
from fl_orchestrator.training.tasks import task_named
from fl_orchestrator.training.trainer import BadTrainingConfig, BadWeights, FloatArray, WeightSpec
from fl_orchestrator.training.weights_file import (
    BadWeightsFile,
    load_weights,
    save_keras,
    save_safetensors,
)

load_tensorflow(deterministic=True)
import keras  # noqa: E402 - TensorFlow's threads are set first

CONFIG: dict[str, Any] = {"seed": 11, "epochs": 3, "batchSize": 8, "learningRate": 0.01}


def rows(count: int, seed: int = 0) -> Rows:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, 6)).astype(np.float32)
    return Rows(x, (x[:, 0] + x[:, 1] > 0).astype(np.int32))


def build(optimizer: str = "adam", dropout: float = 0.0) -> Any:
    start = keras.initializers.GlorotUniform
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, "relu", kernel_initializer=start(1), name="hidden"),
            keras.layers.Dropout(dropout, name="dropout"),
            keras.layers.Dense(1, "sigmoid", kernel_initializer=start(2), name="output"),
        ]
    )
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def model() -> KerasModel:
    return KerasModel(build)


def digest(weights: list[FloatArray]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in weights)).hexdigest()


def test_tensors_are_named_by_layer_and_variable(model: KerasModel) -> None:
    assert model.tensors == (
        WeightSpec("hidden/kernel", (6, 5)),
        WeightSpec("hidden/bias", (5,)),
        WeightSpec("output/kernel", (5, 1)),
        WeightSpec("output/bias", (1,)),
    )


def test_it_learns(model: KerasModel) -> None:
    trainer = KerasTrainer(model, rows(200), rows(100, seed=1))
    trained, count, metrics = trainer.fit(model.initial_weights, {**CONFIG, "epochs": 20})
    before, _, _ = trainer.evaluate(model.initial_weights, {})
    after, tested, scores = trainer.evaluate(trained, {})
    assert (count, tested) == (200, 100)
    assert after < before
    assert scores["accuracy"] > 0.9
    assert metrics["accuracy"] > 0.9


@pytest.mark.parametrize("count", [8, 9, 16, 37])
def test_one_epoch_equals_keras_own_training(model: KerasModel, count: int) -> None:
    """The same batches through `train_on_batch` of a fresh model give the same bits."""
    data = rows(count)
    trained, _, metrics = KerasTrainer(model, data).fit(
        model.initial_weights, {**CONFIG, "epochs": 1}
    )
    order = np.random.Generator(np.random.PCG64(CONFIG["seed"])).permutation(count)
    fresh = build()
    fresh.set_weights(model.initial_weights)
    fresh.optimizer.learning_rate = CONFIG["learningRate"]
    total = 0.0
    for start in range(0, count, 8):
        batch = order[start : start + 8]
        total += len(batch) * float(fresh.train_on_batch(data.x[batch], data.y[batch])[0])
    assert digest(fresh.get_weights()) == digest(trained)
    assert metrics["loss"] == pytest.approx(total / count, rel=1e-6)


def test_evaluation_equals_keras_own(model: KerasModel) -> None:
    data = rows(2_500)
    loss, _, metrics = KerasTrainer(model, data).evaluate(model.initial_weights, {})
    fresh = build()
    fresh.set_weights(model.initial_weights)
    expected = fresh.evaluate(data.x, data.y, verbose=0, return_dict=True)
    assert loss == pytest.approx(expected["loss"], rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-6)


def test_nothing_of_one_fit_reaches_the_next() -> None:
    """Adam's moments, dropout's random state, weights and learning rate all start afresh."""
    shared = KerasModel(lambda: build(dropout=0.5))
    first, second = KerasTrainer(shared, rows(40)), KerasTrainer(shared, rows(23, seed=9))
    start = shared.initial_weights
    alone = digest(first.fit(start, CONFIG)[0])
    second.fit(start, {**CONFIG, "seed": 5, "learningRate": 0.5})
    second.evaluate(start, {})
    assert digest(first.fit(start, CONFIG)[0]) == alone
    assert (
        digest(KerasTrainer(KerasModel(lambda: build(dropout=0.5)), rows(40)).fit(start, CONFIG)[0])
        == alone
    )
    assert digest(first.fit(start, {**CONFIG, "seed": 12})[0]) != alone


def test_dropout_follows_the_seed() -> None:
    shared = KerasModel(lambda: build(dropout=0.5))
    # One batch of all rows: only the random state can tell the two fits apart.
    trainer, config = KerasTrainer(shared, rows(8)), {**CONFIG, "epochs": 1, "batchSize": 8}
    low = digest(trainer.fit(shared.initial_weights, {**config, "seed": 1})[0])
    high = digest(trainer.fit(shared.initial_weights, {**config, "seed": 1 + (1 << 40)})[0])
    assert low != high


def test_the_given_weights_are_not_changed(model: KerasModel) -> None:
    before = digest(model.initial_weights)
    KerasTrainer(model, rows(20)).fit(model.initial_weights, CONFIG)
    assert digest(model.initial_weights) == before


def test_the_first_weights_of_a_large_model_wait_on_the_disk(
    model: KerasModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "_MOST_IN_MEMORY", 32)  # the first tensor alone stays
    large = KerasModel(build)
    for _ in range(2):
        found = large.initial_weights
        assert [array.shape for array in found] == [tensor.shape for tensor in large.tensors]
        assert digest(found) == digest(model.initial_weights)
        KerasTrainer(large, rows(20)).fit(found, CONFIG)


def test_a_full_disk_for_the_first_weights_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "_MOST_IN_MEMORY", 32)
    full = partial(Path("/dev/full").open, "r+b")
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(tensors.NoRoomForWeights, match="do not fit into the temporary directory"):
        KerasModel(build)


def test_parties_of_any_size_share_one_traced_graph(model: KerasModel) -> None:
    KerasTrainer(model, rows(20)).fit(model.initial_weights, CONFIG)
    traced_graphs: Any = model._graphs._steps
    ((train, _),) = traced_graphs.values()
    traced = train.experimental_get_tracing_count()
    for count in (8, 9, 57):
        KerasTrainer(model, rows(count)).fit(model.initial_weights, {**CONFIG, "batchSize": 5})
    assert train.experimental_get_tracing_count() == traced == 1


TRAINER = """
import keras
import numpy as np
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.keras import KerasModel, KerasTrainer

def build():
    layers = [keras.Input((6,)), keras.layers.Dense(1, "sigmoid", name="output")]
    model = keras.Sequential(layers)
    model.compile("sgd", "binary_crossentropy")
    return model

def make_trainer():
    rows = Rows(np.zeros((4, 6), np.float32), np.zeros(4, np.int32))
    return KerasTrainer(KerasModel(build), rows)
"""


@pytest.mark.parametrize("inputs", [6, 7])
def test_a_federations_model_is_fetched_into_the_layers_of_a_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: int
) -> None:
    shapes = {"output/kernel": (inputs, 1), "output/bias": (1,)}
    manifest = small_manifest(
        tensors=tuple(Tensor(name=name, shape=shape) for name, shape in shapes.items()),
        depth=Layout.of((name, shape, 0) for name, shape in shapes.items()).depth,
    )
    start = [np.full(shape, 0.25, np.float32) for shape in shapes.values()]
    federation = SmallFederation(tmp_path / "federation", manifest=manifest, weights=start)
    monkeypatch.setattr(connect, "reach", lambda *_: Node(federation.chain.web3))
    trainer, file = tmp_path / "mine.py", tmp_path / "model.keras"
    trainer.write_text(TRAINER)
    got = flo(
        *("model", "get", "--output", file, "--trainer", trainer),
        *("--store", f"file://{federation.directory}/store"),
        *("--deployments", federation.directory / "deployments"),
    )
    if inputs == 6:
        got.succeeded()
        fetched = keras.saving.load_model(file, safe_mode=True)
        assert digest(fetched.get_weights()) == digest(start)
    else:
        got.refused(2, "The trainer's tensor output/kernel (6, 1) is output/kernel (7, 1)")
        assert not file.exists()


PROGRAM = """
import hashlib, json
import numpy as np
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.keras import KerasTrainer
from fl_orchestrator.training.loading import load_trainer
from fl_orchestrator.training.tasks import task_named
from fl_orchestrator.training.weights_file import save_keras
task = task_named("breast-cancer")
model = task.keras_model(seed=3)
x = np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)
trainer = KerasTrainer(model, Rows(x, (x[:, 0] > 0).astype(np.int32)))
trained, _, _ = trainer.fit(model.initial_weights, {{**task.training.config(), "seed": 2**63 + 1}})
from pathlib import Path
save_keras(Path({path!r}), model, trained)
print(json.dumps([
    [tensor.name for tensor in model.tensors],
    hashlib.sha256(b"".join(w.tobytes() for w in model.initial_weights)).hexdigest(),
    hashlib.sha256(b"".join(w.tobytes() for w in trained)).hexdigest(),
]))
"""


def test_two_processes_start_train_and_save_to_the_same_bits(tmp_path: Path) -> None:
    paths = [tmp_path / "first.keras", tmp_path / "second.keras"]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(path=str(path))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for path in paths
    ]
    outputs = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert json.loads(outputs[0][0])[0] == [
        *("hidden_1/kernel", "hidden_1/bias", "output/kernel", "output/bias")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    # TensorFlow must not write over the live display of a demonstration.
    assert outputs[0][1] == ""


def test_a_model_starts_from_its_seed() -> None:
    task = task_named("digits")
    first, again, other = (task.keras_model(seed).initial_weights for seed in (0, 0, 1))
    assert digest(first) == digest(again) != digest(other)
    assert not np.array_equal(first[0][:, :10], first[2][:, :10])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": "sgd"}, "ask for sgd, but the model has adam"),
        ({"loss": "mean_squared_error"}, "but the model has binary_crossentropy"),
        ({"batchSize": 0}, "batchSize"),
    ],
)
def test_settings_that_the_model_was_not_compiled_with_are_refused(
    model: KerasModel, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadTrainingConfig, match=message):
        KerasTrainer(model, rows(20)).fit(model.initial_weights, {**CONFIG, **wrong})


def test_weights_of_another_model_are_refused(model: KerasModel) -> None:
    wrong = [array[:1] for array in model.initial_weights]
    with pytest.raises(BadWeights):
        KerasTrainer(model, rows(20)).fit(wrong, CONFIG)
    with pytest.raises(BadWeights):
        KerasTrainer(model, rows(20)).evaluate(model.initial_weights[:1], {})


def test_a_model_without_built_weights_is_refused() -> None:
    def unbuilt() -> Any:
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss="mse")
        return model

    with pytest.raises(BadWeights, match="no weights"):
        KerasModel(unbuilt)


def test_a_saved_keras_file_has_the_weights_and_predicts(model: KerasModel, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    trained, _, _ = KerasTrainer(model, rows(40)).fit(model.initial_weights, CONFIG)
    save_keras(path, model, trained)
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"]
    assert digest(load_weights(path, model.tensors)) == digest(trained)
    reloaded = keras.saving.load_model(path)
    assert reloaded.predict(rows(4).x, verbose=0).shape == (4, 1)


def test_saving_again_after_other_training_gives_equal_bytes(
    model: KerasModel, tmp_path: Path
) -> None:
    trainer = KerasTrainer(model, rows(40))
    trained, _, _ = trainer.fit(model.initial_weights, CONFIG)
    save_keras(tmp_path / "a.keras", model, trained)
    trainer.fit(model.initial_weights, {**CONFIG, "seed": 99, "learningRate": 0.3})
    save_keras(tmp_path / "b.keras", model, trained)
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()


def test_a_keras_file_and_a_safetensors_file_say_the_same(
    model: KerasModel, tmp_path: Path
) -> None:
    save_keras(tmp_path / "m.keras", model, model.initial_weights)
    save_safetensors(tmp_path / "m.safetensors", model.initial_weights, model.tensors)
    loaded = [load_weights(tmp_path / name, model.tensors) for name in ("m.keras", "m.safetensors")]
    assert digest(loaded[0]) == digest(loaded[1]) == digest(model.initial_weights)


def test_a_keras_file_of_a_model_with_integers_of_its_own_is_read(tmp_path: Path) -> None:
    layer = keras.layers.Normalization()
    layer.adapt(rows(20).x)
    half = keras.layers.Dense(1, dtype="bfloat16")
    model = keras.Sequential([keras.Input((6,)), layer, half])
    model.compile("sgd", "mse")
    trainer = KerasModel(model)
    save_keras(tmp_path / "m.keras", trainer, trainer.initial_weights)
    loaded = load_weights(tmp_path / "m.keras", trainer.tensors)
    assert digest(loaded) == digest(trainer.initial_weights)


def test_a_keras_file_of_another_model_is_refused(model: KerasModel, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    other = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, name="elsewhere")])
    other.save(path)
    with pytest.raises(BadWeights, match="lack tensor"):
        load_weights(path, model.tensors)


def test_a_keras_file_with_code_in_it_is_refused(model: KerasModel, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    marker = str(tmp_path / "executed")
    code = keras.layers.Lambda(lambda x: (print("executed", file=open(marker, "w")), x)[1])  # noqa: SIM115, PTH123
    keras.Sequential([keras.Input((6,)), code]).save(path)
    Path(marker).unlink()
    with pytest.raises(BadWeightsFile, match=r"not a readable \.keras file"):
        load_weights(path, model.tensors)
    assert not Path(marker).exists()


def test_a_damaged_keras_file_is_refused(model: KerasModel, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    save_keras(path, model, model.initial_weights)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadWeightsFile, match="not a readable"):
        load_weights(path, model.tensors)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"module": "os", "class_name": "system", "config": "id"}')
        archive.writestr("metadata.json", "{}")
    with pytest.raises(BadWeightsFile, match="not a readable"):
        load_weights(path, model.tensors)


def test_the_example_in_keras_trains_the_model_of_the_one_in_numpy(
    checkout: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = data_dir / "heart_disease" / "processed.cleveland.data"
    monkeypatch.setenv("HOSPITAL_DATA", str(file))
    monkeypatch.setattr(sys, "path", [*sys.path])
    directory = checkout / "examples" / "heart_disease"
    settings = {"seed": 5, "epochs": 2, "batchSize": 4, "learningRate": 0.01}
    trained = {}
    for name in ("keras", "numpy"):
        trainer = load_trainer(f"{directory}/{name}_trainer.py:make_trainer")
        initial = trainer.initial_weights() or {}
        assert {key: array.shape for key, array in initial.items()} == {
            "output/kernel": (13, 1),
            "output/bias": (1,),
        }
        start = [np.full(array.shape, 0.1, np.float32) for array in initial.values()]
        weights, samples, _ = trainer.fit(start, settings)
        trained[name] = weights, samples, *trainer.evaluate(weights, settings)
    found, other = trained["keras"], trained["numpy"]
    for a, b in zip(found[0], other[0], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert found[1] == other[1] == 202
    assert found[2] == pytest.approx(other[2], abs=1e-5)
    assert found[4]["accuracy"] == pytest.approx(other[4]["accuracy"])


def digest_of(activation: str = "relu", units: int = 4, *, named: bool = True) -> str:
    layers = keras.layers
    inputs = keras.Input((6,))
    x = layers.Dense(units, name="hidden" if named else None)(inputs)
    x = layers.Activation(activation)(layers.Dropout(0.1, seed=units)(x))
    outputs = layers.Dense(1, "sigmoid", name="output" if named else None)(layers.Add()([x, x]))
    return architecture_of(keras.Model(inputs, outputs))


def test_an_architecture_has_no_names_and_no_first_values() -> None:
    assert digest_of() == digest_of() == digest_of(named=False)
    sequential = [architecture_of(build(dropout=0.1)) for _ in range(2)]
    assert sequential[0] == sequential[1] != digest_of()


def test_another_activation_or_setting_is_another_architecture() -> None:
    found = [digest_of(), digest_of("tanh"), digest_of(units=5), architecture_of(build())]
    found.append(architecture_of(build(dropout=0.2)))
    assert len(set(found)) == len(found)


def test_the_same_architecture_has_the_same_digest_in_another_process() -> None:
    script = (
        "from integration.test_keras import KerasModel, build, architecture_of, keras\n"
        "keras.layers.Dropout(0.1); keras.Sequential([])\n"
        "print(architecture_of(KerasModel(build).model))"
    )
    paths = [str(Path(__file__).parents[1]), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split()[-1] == architecture_of(build()), done.stderr


TANH = """
import numpy as np
from integration.test_keras import KerasModel, KerasTrainer, build, keras, rows

def changed(activation):
    model = build()
    model.layers[0].activation = keras.activations.get(activation)
    return KerasTrainer(KerasModel(lambda: model), rows(24))

def relu(): return changed("relu")
def tanh(): return changed("tanh")
"""


def test_a_manifest_names_the_architecture_and_another_activation_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(TANH)
    described = ["--name", "k", "--loss", "binary_crossentropy", "--optimizer", "adam"]
    flo("manifest", "create", "--trainer", "mine.py:relu", *described).succeeded()
    manifest = read_manifest(Path("manifest.json"))
    assert manifest.architecture == architecture_of(build())
    check = ["party", "check", "--manifest", "manifest.json"]
    flo(*check, "--trainer", "mine.py:relu").succeeded()
    flo(*check, "--trainer", "mine.py:tanh").refused(2, "computes something else")
