"""`flo manifest create` and `flo party check --manifest`, which need neither chain nor store."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.flo import Finished, flo

from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.model.manifest import Manifest, read_manifest
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.model.vector_file import VectorKind, VectorMeta, read_tree, read_vector

TRAINER = """
import numpy as np
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.numpy_logistic import NumpyLogistic

draw = np.random.Generator(np.random.PCG64(0))
y = (np.arange(24) % 2).astype(np.int32)
x = (draw.normal(0, 0.5, (24, 4)) + y[:, None]).astype(np.float32)

class Wild(NumpyLogistic):
    change = 0.0
    def fit(self, weights, config):
        return [w + np.float32(self.change) for w in weights], 24, {}

def wild(change):
    trainer = Wild(Rows(x, y), 2)
    trainer.change = change
    return trainer

def make_trainer():
    return NumpyLogistic(Rows(x, y), 2)

class Silent:
    def __init__(self):
        self.fit, self.evaluate = make_trainer().fit, make_trainer().evaluate

class Frozen(NumpyLogistic):
    def fit(self, weights, config):
        return weights, 24, {}
"""


@pytest.fixture(autouse=True)
def _in_a_directory_with_a_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("mine.py").write_text(TRAINER)


def create(*options: str, trainer: str = "mine.py") -> Finished:
    described = ["--name", "small", "--loss", "sparse_categorical_crossentropy"]
    return flo("manifest", "create", "--trainer", trainer, *described, *options)


def check(*options: str, trainer: str = "mine.py") -> Finished:
    return flo("party", "check", "--trainer", trainer, "--manifest", "manifest.json", *options)


@pytest.mark.parametrize("mu", ["0.05", "0"])
def test_fedprox_is_in_the_manifest_if_it_is_asked_for(mu: str) -> None:
    create("--proximal-mu", mu)
    written = json.loads(Path("manifest.json").read_text())["training"]
    assert written.get("proximalMu", 0) == float(mu)
    assert ("proximalMu" in written) == (mu != "0")
    assert (read_manifest(Path("manifest.json")).training.proximal_mu or 0) == float(mu)


def test_a_mu_below_zero_is_refused() -> None:
    create("--proximal-mu", "-1").refused(2, "proximal_mu", "greater than 0")


def test_a_manifest_and_the_first_weights_come_of_a_rehearsal() -> None:
    found = create("--purpose", "To test.", "--epochs", "3", "--learning-rate", "0.1", "--json")
    manifest = read_manifest(Path("manifest.json"))
    assert Path("manifest.json").read_bytes() == manifest.to_bytes()
    assert [(t.name, t.shape, t.offset) for t in manifest.tensors] == [
        ("dense/kernel", (4, 2), 0),
        ("dense/bias", (2,), 0),
    ]
    assert (manifest.name, manifest.purpose, manifest.depth) == ("small", "To test.", 1)
    assert (manifest.training.epochs, manifest.training.learning_rate) == (3, 0.1)
    assert manifest.training.metrics == ("accuracy",)
    assert manifest.samples_per_weight == 1  # 24 rows, and ten times as many, in 255 units
    weights = load_file("genesis.safetensors")
    assert {name: array.shape for name, array in weights.items()} == {
        "dense/kernel": (4, 2),
        "dense/bias": (2,),
    }
    shown = found.succeeded().json
    assert shown["fraction_bits"] == manifest.update_fraction_bits > 12
    assert shown["digest"] == "0x" + manifest.digest.hex()
    assert shown["clipped"] == 0
    assert shown["after"]["loss"] < shown["before"]["loss"]


def test_what_is_asked_for_is_in_the_manifest() -> None:
    options = ["--rule", "trimmed-mean", "--trim", "0.1", "--samples-per-weight", "7"]
    create(*options, "--fraction-bits", "9", "--report", "accuracy,auc").succeeded()
    manifest = read_manifest(Path("manifest.json"))
    assert (manifest.rule.kind, manifest.rule.trim_bps) == (RuleKind.TRIMMED_MEAN, 1000)
    assert (manifest.samples_per_weight, manifest.update_fraction_bits) == (7, 9)
    assert manifest.training.metrics == ("accuracy", "auc")


def test_a_manifest_says_whether_it_is_of_a_private_federation() -> None:
    plain = create("--output", "plain.json", "--weights", "plain.npz").succeeded()
    assert "no: whoever can read the store" in plain.out
    said = create("--private").succeeded().out
    assert "private             yes: only sums of updates can be read (layout packed)" in said
    assert "`flo federation create --private --manifest manifest.json " in said
    manifest = read_manifest(Path("manifest.json"))
    assert manifest.is_private
    assert not read_manifest(Path("plain.json")).is_private
    # 10 values in one chunk, not 8 and 2 in a chunk each.
    assert (manifest.layout.parameters, manifest.depth) == (10, 0)


def test_nothing_is_overwritten() -> None:
    for file in ("manifest.json", "genesis.safetensors"):
        Path(file).write_text("kept")
        create().refused(2, f"{file} exists already")
        assert Path(file).read_text() == "kept"
        Path(file).unlink()
    create("--output", "no/manifest.json").refused(4, "no/manifest.json cannot be written")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--learning-rate", "0"), 2, "training.learning_rate"),
        (("--rule", "mean"), 2, "no rule 'mean'"),
        (("--trim", "0.1"), 2, "The rule weighted-mean takes no --trim"),
        (("--fraction-bits", "25"), 2, "--fraction-bits"),
        (("--max-clipped", "1"), 2, "--max-clipped"),
        (("--name", ""), 2, "name"),
        (("--private", "--rule", "median"), 2, "cannot have the rule median"),
    ],
)
def test_a_description_of_something_impossible_is_refused_before_training(
    options: tuple[str, ...], code: int, words: str
) -> None:
    create(*options).refused(code, words)
    assert not Path("manifest.json").exists()
    assert not Path("genesis.safetensors").exists()


def test_a_trainer_that_does_not_say_its_model_cannot_describe_a_federation() -> None:
    create(trainer="mine.py:Silent").refused(2, "does not describe its model")


def test_a_training_that_changes_nothing_leaves_the_default_scales() -> None:
    Path("mine.py").write_text(TRAINER + "\ndef frozen():\n    return Frozen(Rows(x, y), 2)\n")
    create(trainer="mine.py:frozen").succeeded()
    assert read_manifest(Path("manifest.json")).update_fraction_bits == 15


def test_a_trial_training_that_diverges_is_said_and_nothing_is_written() -> None:
    Path("mine.py").write_text(TRAINER + "\ndef nan():\n    return wild(np.nan)\n")
    create(trainer="mine.py:nan").refused(
        5, "The trial training diverged: dense/kernel, dense/bias", "--learning-rate"
    )
    assert not Path("manifest.json").exists()


@pytest.fixture
def manifest() -> Manifest:
    create("--learning-rate", "0.1").succeeded()
    return read_manifest(Path("manifest.json"))


def test_a_check_shows_exactly_what_would_leave_the_site(manifest: Manifest) -> None:
    shown: dict[str, Any] = check("--output", "update.safetensors", "--json").succeeded().json
    update = Path("update.safetensors")
    assert shown["bytes"] == update.stat().st_size
    with update.open("rb") as stream:
        assert shown["cid"] == str(cid_of(stream))
    meta = VectorMeta(VectorKind.UPDATE, 0, "0x" + "0" * 40, 1)
    with update.open("rb") as stream:
        assert shown["root"] == "0x" + read_tree(stream, manifest.layout, meta).root.hex()
        stream.seek(0)
        _, vector = read_vector(stream, manifest.layout, meta)
    assert vector.any()
    assert shown["weight"] == 24
    assert shown["after"]["loss"] < shown["before"]["loss"]
    said = check().succeeded().out
    for words in (
        "dense/kernel  4 x 2",
        "trained on    24 rows",
        "clipped       0.000%",
        str(shown["cid"]),
        "24 of 255, for 24 rows",
        "Whoever reads it can compute this site's trained weights from it",
    ):
        assert words in said


def test_a_check_of_a_private_manifest_speaks_of_a_masked_update() -> None:
    create("--private").succeeded()
    said = check("--output", "update.safetensors").succeeded().out
    assert "masked update  10 numbers of 4 bytes; without its masks it is in update.saf" in said
    assert "Which aggregators could together read it" in said
    assert "Whoever reads it" not in said


def test_a_check_starts_from_given_weights_or_the_trainers_own(manifest: Manifest) -> None:
    own = check("--json").succeeded().json
    given = check("--weights", "genesis.safetensors", "--json").succeeded().json
    assert own["root"] == given["root"]
    assert given["from"] == "the weights in genesis.safetensors"
    check(trainer="mine.py:Silent").refused(2, "no first weights", "--weights FILE")
    check("--weights", "genesis.safetensors", trainer="mine.py:Silent").succeeded()


def test_a_check_refuses_files_that_are_none(manifest: Manifest) -> None:
    assert manifest.depth == 1
    check("--manifest", "missing.json").refused(2, "missing.json cannot be read")
    Path("other.json").write_text("{}")
    check("--manifest", "other.json").refused(4, "The manifest is not valid")
    check("--weights", "missing.npz").refused(2, "missing.npz does not exist")
    check("--output", "no/update.safetensors").refused(4, "No such file or directory")


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (1e6, 5, "100.0% of the update's values were out of range and clipped"),
        (1e-12, 5, "zero everywhere: all that training changed rounds to zero"),
        (0.0, 5, "zero everywhere: training changed nothing"),
        (1e-4, 0, ""),
    ],
)
def test_a_check_says_that_an_update_is_not_fit_to_take_part(
    manifest: Manifest, change: float, code: int, words: str
) -> None:
    assert manifest.update_fraction_bits > 12
    Path("mine.py").write_text(TRAINER + f"\ndef changed():\n    return wild({change})\n")
    for options in ([], ["--json"]):
        done = check(*options, trainer="mine.py:changed")
        assert done.code == code
        assert words in done.err
        assert ("Not fit to take part" in done.err) == bool(code)
    assert [message for message in done.json["warnings"] if words in message] or not code


def test_a_check_names_a_tensor_whose_changes_all_become_zero(manifest: Manifest) -> None:
    assert manifest.depth == 1
    Path("mine.py").write_text(
        TRAINER
        + "\nclass Coarse(NumpyLogistic):\n    def fit(self, weights, config):\n"
        + "        return [weights[0] + np.float32(0.1), weights[1] + np.float32(1e-12)], 24, {}\n"
        + "\ndef coarse():\n    return Coarse(Rows(x, y), 2)\n"
    )
    said = check(trainer="mine.py:coarse").succeeded().err
    assert "All that training changed in dense/bias rounds to zero" in said


def test_a_check_says_that_samples_per_weight_does_not_fit(manifest: Manifest) -> None:
    for each, samples, words in ((1, 2_000, "at its most, 255"), (100, 24, "at its least, 1")):
        changed = manifest.model_copy(update={"samples_per_weight": each})
        Path("manifest.json").write_bytes(changed.to_bytes())
        Path("mine.py").write_text(
            TRAINER
            + "\nclass Sized(NumpyLogistic):\n    def fit(self, weights, config):\n"
            + f"        return super().fit(weights, config)[0], {samples}, {{}}\n"
            + "\ndef sized():\n    return Sized(Rows(x, y), 2)\n"
        )
        assert words in check(trainer="mine.py:sized").succeeded().err


def test_a_check_refuses_weights_that_do_not_fit_with_the_offset_that_would_do(
    manifest: Manifest,
) -> None:
    assert manifest.depth == 1
    large: dict[str, Any] = {"dense/kernel": np.full((4, 2), 1000.0), "dense/bias": np.zeros(2)}
    np.savez("large.npz", **large)
    check("--weights", "large.npz").refused(
        5, "'dense/kernel' has a weight of 1000", "offset of -3"
    )


def described() -> None:
    assert create("--output", "manifest.json").code == 0


PRIVATE = ("party", "check", "--manifest", "manifest.json", "--trainer")


def test_a_rehearsal_with_noise_says_what_rounds_tell_of_a_row() -> None:
    described()
    options = ("--privacy-budget", "3", "--delta", "1e-4", "--noise-multiplier", "4")
    done = flo(*PRIVATE, "mine.py", *options, "--json")
    assert done.code == 0, done.err
    privacy = done.json["privacy"]
    assert 0 < privacy["epsilon_of_a_round"] < privacy["epsilon_budget"] == 3
    assert privacy["rounds_left"] >= 1
    assert privacy["epsilon_spent"] is None
    shown = flo(*PRIVATE, "mine.py", *options)
    assert "What rounds tell of any one row, at most" in shown.out
    assert "noise multiplier 4" in " ".join(shown.out.split())


@pytest.mark.parametrize(
    ("trainer", "options", "said"),
    [
        ("mine.py:Silent", ("--privacy-budget", "3"), "does not give the gradients of single rows"),
        ("mine.py", ("--privacy-budget", "0"), "The privacy budget is 0.0."),
        ("mine.py", ("--privacy-budget", "nan"), "The privacy budget is nan."),
        ("mine.py", ("--privacy-budget", "3", "--delta", "1"), "Delta is 1.0."),
        ("mine.py", ("--privacy-budget", "3", "--delta", "0.05"), "publish"),
        ("mine.py", ("--privacy-budget", "3", "--noise-multiplier", "0"), "noise multiplier is 0"),
        ("mine.py", ("--privacy-budget", "3", "--clip-norm", "-1"), "clip norm is -1"),
        ("mine.py", ("--delta", "1e-5"), "--delta belongs to record-level privacy"),
    ],
)
def test_privacy_that_cannot_be_had_is_refused_in_a_sentence(
    trainer: str, options: tuple[str, ...], said: str
) -> None:
    described()
    done = flo(*PRIVATE, trainer, *options)
    assert done.code == 2
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err


def test_create_writes_the_labels_that_a_trainer_names() -> None:
    Path("labels.py").write_text(
        TRAINER.replace("def make_trainer", "def plain")
        + """
def make_trainer():
    from sklearn.linear_model import SGDClassifier
    from fl_orchestrator.training.sklearn import SklearnTrainer
    return SklearnTrainer(SGDClassifier(loss="log_loss", random_state=0), x, y)
"""
    )
    create(trainer="labels.py").succeeded()
    assert read_manifest(Path("manifest.json")).training.classes == ("0", "1")
    check(trainer="labels.py").succeeded()


def test_create_without_labels_leaves_them_out() -> None:
    create().succeeded()
    assert "classes" not in json.loads(Path("manifest.json").read_bytes())["training"]
