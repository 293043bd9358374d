"""A CID, a manifest or a journal contains a shell command or a path, to have it run or opened.

No code runs a shell, only parsed CIDs and random numbers become file names, and a manifest is data.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import ipfshttpclient
import pytest
from support.federation import CLASSES, FEATURES, Build, small_manifest

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.kubo import KuboStore
from fl_orchestrator.content.store import StoreUnavailable
from fl_orchestrator.model.manifest import ManifestError, TensorSpec, TrainingSpec
from fl_orchestrator.roles.manifests import fetch_manifest
from fl_orchestrator.roles.party.journal import DamagedJournal
from fl_orchestrator.training.numpy_logistic import LOSS, initial_weights
from fl_orchestrator.training.trainer import BadTrainingConfig, WeightSpec
from fl_orchestrator.training.weights_file import save_safetensors

SHELL = "$(touch canary); touch canary; `touch canary` | touch canary"
PYTHON = "__import__('pathlib').Path('canary').touch()"
CLIMBING = "../../../../climbed"
HOSTILE_CIDS = (
    SHELL,
    CLIMBING,
    "/etc/passwd",
    "-rf",
    "b/../../../../../../../../../../../../../../../../etc/passwd",
    ("b$(touch canary)" + "a" * 59)[:59],
)


@pytest.fixture(autouse=True)
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory in which every payload would create a file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_untouched(trap: Path) -> None:
    assert not [path for path in trap.rglob("*") if path.name in ("canary", "climbed")]
    assert not (trap.parents[2] / "climbed").exists()


def hostile_tensors() -> tuple[TensorSpec, ...]:
    shapes = [weight.shape for weight in initial_weights(FEATURES, CLASSES)]
    return tuple(
        TensorSpec(name=name, shape=shape)
        for name, shape in zip((CLIMBING, SHELL), shapes, strict=True)
    )


def test_a_manifest_full_of_commands_and_paths_is_data(build: Build, trap: Path) -> None:
    """A federation runs two rounds with it, and its model is written to a file."""
    texts = {"name": CLIMBING, "purpose": SHELL, "data_schema": PYTHON}
    manifest = small_manifest(tensors=hostile_tensors(), **texts)
    federation = build(manifest=manifest)
    for round_number in (1, 2):
        seen = federation.run_round(federation.everybody(), round_number)
        assert seen.current.phase is Phase.ACCEPTED
        assert federation.included(round_number) == {0, 1, 2}
    tensors = [WeightSpec(tensor.name, tensor.shape) for tensor in manifest.tensors]
    save_safetensors(trap / "model.safetensors", initial_weights(FEATURES, CLASSES), tensors)
    assert fetch_manifest(federation.store, federation.params) == manifest
    # Every file has an expected directory and name.
    outside = {p for p in trap.rglob("*") if p.is_file()} - set(federation.directory.rglob("*"))
    assert outside == {trap / "model.safetensors"}
    assert_untouched(trap)


@pytest.mark.parametrize("what", ["optimizer", "loss"])
def test_the_names_of_a_training_are_looked_up_and_not_evaluated(
    build: Build, trap: Path, what: str
) -> None:
    names: dict[str, Any] = {"optimizer": "sgd", "loss": LOSS, what: PYTHON}
    training = TrainingSpec(epochs=1, batch_size=8, learning_rate=0.1, **names)
    federation = build(parties=1, manifest=small_manifest(training=training))
    federation.open_round()
    with pytest.raises(BadTrainingConfig, match="does not support optimizer"):
        federation.party(0).step()
    assert federation.observe().current.commits == 0
    assert_untouched(trap)


def pickled() -> bytes:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (PYTHON,)

    return pickle.dumps(Payload())


@pytest.mark.parametrize(
    "content",
    [
        pickled(),
        b"!!python/object/apply:os.system ['touch canary']",
        small_manifest().to_bytes().replace(b'{"depth"', b'{"__class__":"os.system","depth"'),
        small_manifest().to_bytes().replace(b'"dense/bias"', b'"__metadata__"'),
    ],
    ids=["pickle", "yaml", "unknown key", "reserved name"],
)
def test_a_manifest_that_is_none_is_refused_though_the_contract_names_it(
    build: Build, trap: Path, content: bytes
) -> None:
    federation = build(register=False)
    federation.store.put(io.BytesIO(content))
    digest = hashlib.sha256(content).digest()
    params = dataclasses.replace(federation.params, manifest_digest=digest)
    with pytest.raises(ManifestError):
        fetch_manifest(federation.store, params)
    assert_untouched(trap)


@pytest.mark.parametrize("text", HOSTILE_CIDS)
def test_a_cid_that_an_ipfs_node_invents_is_refused(
    trap: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(_client: object, stream: BinaryIO, **_: object) -> dict[str, Any]:
        assert stream.read(100) == b"an update"
        return {"Name": "x", "Hash": text}

    monkeypatch.setattr(ipfshttpclient.Client, "add", add)
    with pytest.raises(StoreUnavailable, match=r"stores bafkrei\w+ as "):
        KuboStore("127.0.0.1", 5001).put(io.BytesIO(b"an update"))
    assert_untouched(trap)


def test_a_cid_planted_in_a_journal_is_refused(build: Build, trap: Path) -> None:
    federation = build(parties=1)
    federation.open_round()
    federation.party(0).step()
    (path,) = federation.home("parties", 0).rglob("commitment.json")
    entry = json.loads(path.read_text())
    for text in HOSTILE_CIDS:
        path.write_text(json.dumps({**entry, "cid": text}))
        with pytest.raises(DamagedJournal):
            federation.party(0).step()
    assert_untouched(trap)
