"""A role takes part only where the contract was deployed for its manifest."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.disk import overwrite
from support.federation import consortium, small_manifest
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.types import Params
from fl_orchestrator.content.cid import RAW, Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import ContentCorrupt, ContentNotFound, ContentTooLarge
from fl_orchestrator.model.manifest import (
    MAX_MANIFEST_BYTES,
    Manifest,
    ManifestError,
    RuleSpec,
)
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.model.vector_file import VectorMeta, read_vector
from fl_orchestrator.roles.manifests import (
    ManifestMismatch,
    fetch_manifest,
    manifest_cid,
    manifest_of,
)
from fl_orchestrator.roles.setup import federation_params, publish
from fl_orchestrator.training.numpy_logistic import initial_weights

MANIFEST = small_manifest()


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def published(store: LocalStore, manifest: Manifest = MANIFEST) -> Params:
    return federation_params(
        manifest, publish(store, manifest, initial_weights(4, 2)), consortium(3)
    )


def test_roles_refuse_a_private_contract_that_does_not_mask_all_values(tmp_path: Path) -> None:
    right = SmallPrivateFederation(tmp_path / "right")
    assert manifest_of(right.store, right.contract) == right.manifest
    wrong = SmallPrivateFederation(tmp_path / "wrong", private={"parameters": 8})
    with pytest.raises(ManifestMismatch, match=r"masks 8 values; its manifest is of 10\."):
        manifest_of(wrong.store, wrong.contract)


def test_the_manifest_that_the_contract_names_is_fetched(store: LocalStore) -> None:
    assert fetch_manifest(store, published(store)) == MANIFEST


@pytest.mark.parametrize("kind", RuleKind, ids=lambda kind: kind.label)
def test_every_rule_is_deployed_as_the_manifest_has_it(store: LocalStore, kind: RuleKind) -> None:
    manifest = small_manifest(rule=RuleSpec.of(kind))
    params = published(store, manifest)
    assert params.rule is kind
    for parameter in (parameter for every in RuleKind for parameter in every.parameters):
        wanted = parameter.default if parameter in kind.parameters else 0
        assert getattr(params, parameter.field) == wanted
    assert fetch_manifest(store, params) == manifest


def test_a_norm_limit_is_deployed_as_the_manifest_has_it(store: LocalStore) -> None:
    manifest = small_manifest(rule=RuleSpec.of(RuleKind.MEDIAN, chunk_norm_limit=2**19 - 1))
    params = published(store, manifest)
    assert params.chunk_norm_limit == 2**19 - 1
    assert params.clip_norm == (2**19 - 1) / 2**manifest.update_fraction_bits
    assert fetch_manifest(store, params) == manifest


@pytest.mark.parametrize(
    "change",
    [
        {"rule": RuleKind.MEDIAN},
        {"trim_bps": 1},
        {"server_learning_rate_bps": 9_999},
        {"server_momentum_bps": 1},
        {"chunk_norm_limit": 1},
        {"update_fraction_bits": 14},
        {"depth": 2},
        {"rule": RuleKind.TRIMMED_MEAN, "trim_bps": 1},
    ],
    ids=str,
)
def test_a_contract_that_contradicts_its_manifest_is_refused(
    store: LocalStore, change: dict[str, Any]
) -> None:
    params = dataclasses.replace(published(store), **change)
    names = ", ".join(change)
    with pytest.raises(ManifestMismatch, match=f"not those of its manifest: {names}") as refusal:
        fetch_manifest(store, params)
    assert refusal.value.hint is not None
    assert "Do not take part" in refusal.value.hint


def test_a_manifest_that_is_not_there_is_an_error(store: LocalStore, tmp_path: Path) -> None:
    params = published(store)
    with pytest.raises(ContentNotFound):
        fetch_manifest(LocalStore(tmp_path / "empty"), params)


def test_a_manifest_that_was_changed_in_the_store_is_refused(store: LocalStore) -> None:
    params = published(store)
    place = store.locate(manifest_cid(MANIFEST.digest))
    assert place is not None
    overwrite(place, MANIFEST.to_bytes().replace(b"0.1", b"0.2"))
    with pytest.raises(ContentCorrupt):
        fetch_manifest(store, params)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"not json", b"\x80\x04K\x01.", MANIFEST.to_bytes() + b"\n"],
    ids=["empty", "no keys", "text", "pickle", "not canonical"],
)
def test_a_contract_with_a_malformed_manifest_is_refused(store: LocalStore, content: bytes) -> None:
    cid = store.put(io.BytesIO(content))
    params = dataclasses.replace(published(store), manifest_digest=cid.digest)
    with pytest.raises(ManifestError):
        fetch_manifest(store, params)


def test_an_enormous_manifest_is_not_read(store: LocalStore) -> None:
    cid = store.put(io.BytesIO(bytes(MAX_MANIFEST_BYTES + 1)))
    params = dataclasses.replace(published(store), manifest_digest=cid.digest)
    with pytest.raises((ContentTooLarge, ContentNotFound)):
        fetch_manifest(store, params)


def test_the_manifests_cid_is_its_sha256(store: LocalStore) -> None:
    assert manifest_cid(MANIFEST.digest) == Cid(MANIFEST.digest, RAW)
    assert store.put(io.BytesIO(MANIFEST.to_bytes())) == manifest_cid(MANIFEST.digest)


def test_the_genesis_that_is_published_is_the_float_model(store: LocalStore) -> None:
    weights = [w + np.float32(0.5) for w in initial_weights(4, 2)]
    genesis = publish(store, MANIFEST, weights)
    with store.get(genesis.cid, 1 << 20) as stream:
        _, state = read_vector(stream, MANIFEST.layout, VectorMeta.genesis())
    assert set(state.tolist()) == {1 << 23}
