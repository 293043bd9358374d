"""Fetches a federation's manifest and checks that the contract was deployed for it."""

from __future__ import annotations

from typing import TypedDict

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.types import Params, PrivateParams
from fl_orchestrator.content.cid import RAW, Cid
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import VerificationError
from fl_orchestrator.model.manifest import MAX_MANIFEST_BYTES, Manifest
from fl_orchestrator.model.rules import RuleKind


class ManifestMismatch(VerificationError):
    """The contract's parameters are not those of its manifest."""


class ManifestParams(TypedDict):
    """The fields of ``Params`` that a manifest determines."""

    rule: RuleKind
    trim_bps: int
    server_learning_rate_bps: int
    server_momentum_bps: int
    chunk_norm_limit: int
    update_fraction_bits: int
    depth: int
    manifest_digest: bytes


def manifest_params(manifest: Manifest) -> ManifestParams:
    """The contract's parameters that a manifest determines, for deployment and for checks."""
    return ManifestParams(
        rule=manifest.rule.kind,
        trim_bps=manifest.rule.trim_bps,
        server_learning_rate_bps=manifest.rule.server.learning_rate_bps,
        server_momentum_bps=manifest.rule.server.momentum_bps,
        chunk_norm_limit=manifest.rule.chunk_norm_limit or 0,
        update_fraction_bits=manifest.update_fraction_bits,
        depth=manifest.depth,
        manifest_digest=manifest.digest,
    )


def manifest_cid(digest: bytes) -> Cid:
    """The CID of the manifest with this sha256: a file of at most one chunk is its own leaf."""
    return Cid(digest, RAW)


def manifest_of(store: ContentStore, federation: Federation) -> Manifest:
    """The manifest of a federation, private or not.

    Raises what `fetch_manifest` raises, also if a private contract does not mask all values.
    """
    manifest = fetch_manifest(store, federation.params())
    if isinstance(federation, PrivateFederation):
        require_masked(manifest, federation.private_params())
    return manifest


def require_masked(manifest: Manifest, private: PrivateParams) -> None:
    """Raise ManifestMismatch unless the contract masks the values of all tensors, and no others.

    It takes the step of any other coordinate to be zero, so who signs the model is convicted.
    """
    packed = "" if manifest.is_private else "not packed, "
    if packed or private.parameters != manifest.layout.parameters:
        raise ManifestMismatch(
            f"The contract masks {private.parameters} values; its manifest is {packed}of "
            f"{manifest.layout.parameters}.",
            "Do not take part: whoever deployed it made a mistake.",
        )


def fetch_manifest(store: ContentStore, params: Params) -> Manifest:
    """The manifest that the contract names.

    Raises ContentError if it is not available, ManifestError if it is malformed, and
    ManifestMismatch if it contradicts the contract.
    """
    with store.get(manifest_cid(params.manifest_digest), MAX_MANIFEST_BYTES) as stream:
        manifest = Manifest.from_bytes(stream.read())
    wanted = manifest_params(manifest)
    wrong = [name for name, value in wanted.items() if getattr(params, name) != value]
    if wrong:
        raise ManifestMismatch(
            f"Parameters of the contract are not those of its manifest: {', '.join(wrong)}.",
            "Do not take part: whoever deployed it made a mistake.",
        )
    lineage = manifest.lineage
    # A genesis with momentum starts from rest, and so has another root: see `audit.first_model`.
    named = None if lineage is None or manifest.layout.momentum else bytes.fromhex(lineage.root)
    if named not in (None, params.genesis_root):
        raise ManifestMismatch(
            "The first model is not the one that the manifest says it goes on from.",
            "Do not take part: whoever deployed it made a mistake.",
        )
    return manifest
