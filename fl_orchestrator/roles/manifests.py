"""Fetches a federation's manifest and checks that the contract was deployed for it."""

from __future__ import annotations

from typing import Final

from fl_orchestrator.chain.types import Params, RuleKind
from fl_orchestrator.content.cid import RAW, Cid
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import VerificationError
from fl_orchestrator.model.manifest import MAX_MANIFEST_BYTES, Manifest

_RULES: Final = {
    "weighted-mean": RuleKind.WEIGHTED_MEAN,
    "median": RuleKind.MEDIAN,
    "trimmed-mean": RuleKind.TRIMMED_MEAN,
}


class ManifestMismatch(VerificationError):
    """The contract's parameters are not those of its manifest."""


def rule_kind(manifest: Manifest) -> RuleKind:
    """The manifest's rule as the contract counts them."""
    return _RULES[manifest.rule.kind]


def manifest_cid(digest: bytes) -> Cid:
    """The CID of the manifest with this sha256: a file of at most one chunk is its own leaf."""
    return Cid(digest, RAW)


def fetch_manifest(store: ContentStore, params: Params) -> Manifest:
    """The manifest that the contract names.

    Raises ContentError when it cannot be had, ManifestError when it is malformed, and
    ManifestMismatch when it contradicts the contract.
    """
    with store.get(manifest_cid(params.manifest_digest), MAX_MANIFEST_BYTES) as stream:
        manifest = Manifest.from_bytes(stream.read())
    wanted = (
        manifest.digest,
        rule_kind(manifest),
        manifest.rule.trim_bps,
        manifest.update_fraction_bits,
        manifest.depth,
    )
    found = (
        params.manifest_digest,
        params.rule,
        params.trim_bps,
        params.update_fraction_bits,
        params.depth,
    )
    if wanted != found:
        raise ManifestMismatch(
            "The contract's rule, fraction bits or depth are not those of its manifest.",
            "Do not take part: whoever deployed it made a mistake.",
        )
    return manifest
