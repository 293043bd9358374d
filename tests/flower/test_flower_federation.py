"""Flower apps in a real federation: as accurate as plain FedAvg, and their state survives."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.federation import SmallFederation, consortium, head_state, small_manifest

from fl_orchestrator.model.fixed_point import float_view
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import Manifest, TensorSpec, TrainingSpec
from fl_orchestrator.roles.party.site import SiteStates
from fl_orchestrator.training.flower import FlowerTrainer, flower_trainer
from fl_orchestrator.training.trainer import training_seed

PARTIES = 4
ROUNDS = 4
RATE = 0.05


@pytest.fixture(autouse=True)
def _apps_can_be_imported(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [str(checkout / "examples" / "flower_app"), *sys.path])
    yield
    for name in [name for name in sys.modules if name.startswith("digits_app")]:
        del sys.modules[name]


def trainer(checkout: Path, app: str, number: int) -> FlowerTrainer:
    return flower_trainer(
        f"digits_app.{app}:app",
        partition_id=number,
        num_partitions=PARTIES,
        initial=f"digits_app.{app}:first_arrays",
        directory=checkout / "examples" / "flower_app",
    )


def manifest_of(initial: dict[str, Any]) -> Manifest:
    tensors = tuple(TensorSpec(name=n, shape=a.shape) for n, a in initial.items())
    return small_manifest(
        tensors=tensors,
        depth=Layout.of((t.name, t.shape, 0) for t in tensors).depth,
        samples_per_weight=8,
        update_fraction_bits=12,
        training=TrainingSpec(
            epochs=1, batch_size=16, learning_rate=RATE, optimizer="sgd", loss="log_loss"
        ),
    )


def train_sklearn(weights: list[Any], number: int, seed: int) -> tuple[list[Any], int]:
    from digits_app.sklearn_app import create_model, set_model_params
    from digits_app.task import load_data

    x, y, _, _ = load_data(number, PARTIES)
    model = set_model_params(create_model(RATE, seed % 2**32), [a.copy() for a in weights])
    model.partial_fit(x, y, classes=np.arange(10))
    return [model.coef_, model.intercept_], len(x)


def train_keras(weights: list[Any], number: int, seed: int) -> tuple[list[Any], int]:
    import keras
    from digits_app.keras_app import load_model
    from digits_app.task import load_data

    x, y, _, _ = load_data(number, PARTIES)
    model = load_model(RATE)
    model.set_weights(weights)
    keras.utils.set_random_seed(seed % 2**32)
    model.fit(x, y, epochs=1, batch_size=16, verbose=0)
    return model.get_weights(), len(x)


@pytest.mark.parametrize(
    ("app", "train", "least"),
    [("sklearn_app", train_sklearn, 0.85), ("keras_app", train_keras, 0.6)],
)
def test_an_unmodified_app_is_as_accurate_as_plain_fedavg(
    checkout: Path,
    tmp_path: Path,
    app: str,
    train: Callable[[list[Any], int, int], tuple[list[Any], int]],
    least: float,
) -> None:
    trainers = [trainer(checkout, app, number) for number in range(PARTIES)]
    initial = trainers[0].initial_weights() or {}
    for other in trainers[1:]:
        other.initial_weights()
    federation = SmallFederation(
        tmp_path,
        PARTIES,
        terms=consortium(PARTIES),
        manifest=manifest_of(initial),
        weights=list(initial.values()),
    )
    roles = [federation.party(n, trainer=t) for n, t in enumerate(trainers)]
    for number in range(1, ROUNDS + 1):
        federation.run_round([*roles, federation.aggregator(0)], number)
    trained = float_view(federation.manifest.layout, head_state(federation))

    plain = [array.astype(np.float32) for array in initial.values()]
    for number in range(1, ROUNDS + 1):
        seeds = [training_seed(0, key.address, number) & (2**63 - 1) for key in federation.parties]
        results = [train(plain, party, seed) for party, seed in enumerate(seeds)]
        rows = sum(count for _, count in results)
        plain = [
            np.sum([a * (n / rows) for a, n in zip(arrays, counts(results), strict=True)], axis=0)
            for arrays in zip(*(arrays for arrays, _ in results), strict=True)
        ]

    ours, theirs = accuracy(trainers, trained), accuracy(trainers, plain)
    assert abs(ours - theirs) <= 0.01
    assert ours > least


def counts(results: list[tuple[list[Any], int]]) -> list[int]:
    return [count for _, count in results]


def accuracy(trainers: list[FlowerTrainer], weights: list[Any]) -> float:
    """The mean of the sites' accuracies on their own test rows."""
    settings = {"learningRate": RATE, "epochs": 1, "batchSize": 16}
    arrays = [array.astype(np.float32) for array in weights]
    return float(np.mean([t.evaluate(arrays, settings)[2]["eval_acc"] for t in trainers]))


def test_an_apps_state_is_saved_with_the_update_and_survives_its_process(
    checkout: Path, tmp_path: Path
) -> None:
    initial = trainer(checkout, "sklearn_app", 0).initial_weights() or {}
    federation = SmallFederation(
        tmp_path, 2, manifest=manifest_of(initial), weights=list(initial.values())
    )
    for number in (1, 2, 3):
        # New processes in every round: what they know is what is on disk.
        parties = [
            federation.party(n, trainer=trainer(checkout, "sklearn_app", n)) for n in range(2)
        ]
        federation.run_round([*parties, federation.aggregator(0)], number)
    head = federation.federation.head()
    states = SiteStates(federation.home("parties", 0), federation.federation)
    last = trainer(checkout, "sklearn_app", 0)
    last.restore_site_state(states.of(head.round, head.height))
    settings = {"learningRate": RATE, "epochs": 1, "batchSize": 16, "seed": 0}
    assert last.fit(list(initial.values()), settings)[2]["rounds"] == 4


def test_the_readme_runs_as_written(checkout: Path, tmp_path: Path) -> None:
    directory = tmp_path / "flower_app"
    shutil.copytree(checkout / "examples" / "flower_app", directory)
    blocks = re.findall(r"```sh\n(.*?)```", (directory / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=directory,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing was sent" in done.stdout
    assert "eval_acc" in done.stdout


def test_an_app_that_does_not_load_is_one_sentence(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_package_here\n")
    for app, words in (("broken:app", "no_such_package_here"), ("gone:app", "no module gone")):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "fl_orchestrator", "party", "check", "--flower", app),
                *("--manifest", "manifest.json"),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode != 0
        assert words in done.stderr.replace("\n", " ")
        assert "Traceback" not in done.stderr
