"""Recognises a federation by the code at its address, and that of the libraries it is linked to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import fl_orchestrator
from fl_orchestrator.artifacts import (
    CONTRACTS_VERSION,
    KINDS,
    Release,
    Runtime,
    load_artifact,
    releases,
)
from fl_orchestrator.chain.abi import checksummed
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.contract.words import Undecodable, words_of
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.errors import ChainError, FloError

# `version()`, which contracts have from 0.2.0 on.
_VERSION_SELECTOR: Final = bytes.fromhex("54fd4d50")
_VERSION: Final = re.compile(r"\d{1,5}\.\d{1,5}\.\d{1,5}")
_MAX_VERSION_BYTES: Final = 128


class NoFederation(ChainError):
    """The contract at the address is no federation of this version, or uses other libraries."""


class NoContractYet(NoFederation):
    """There is no contract at the address; a node that is still synchronising may get it."""


class OtherVersion(NoFederation):
    """The federation at the address is of another version: ``version``."""

    def __init__(self, message: str, hint: str, version: str) -> None:
        super().__init__(message, hint)
        self.version = version


@dataclass(frozen=True, slots=True)
class Found:
    """The contract of a federation, with the address of each library that it is linked to.

    ``release`` is None for the present version.
    """

    runtime: Runtime
    libraries: Mapping[str, bytes]
    reverts: RevertDecoder
    release: Release | None

    @property
    def version(self) -> str:
        return CONTRACTS_VERSION if self.release is None else self.release.version


def found_at(node: Node, address: str, kind: str, release: Release | None = None) -> Found:
    """The federation of a kind at an address, of the present version or of an earlier release.

    Raises NoContractYet without a contract, OtherVersion, and NoFederation for any other code.
    """
    code = node.code(address)
    runtime = _runtime(kind, release)
    if not code:
        raise NoContractYet(
            f"There is no federation of this version at {address} on chain {node.chain_id}: "
            "there is no contract.",
            "Check the address and the RPC endpoint; a node that is still synchronising may "
            "not have it yet.",
        )
    if not runtime.runs_as(code):
        raise _other(node, address, code)
    libraries = runtime.libraries_of(code)
    for name, place in libraries.items():
        _require_library(node, address, name, place, release)
    abis = [runtime.abi, *(_runtime(name, release).abi for name in libraries)]
    reverts = RevertDecoder([entry for abi in abis for entry in abi])
    return Found(runtime, libraries, reverts, release)


def kind_at(node: Node, address: str, any_version: bool) -> tuple[str, Release | None]:
    """The kind of the federation at an address, and its release; None for the present version.

    The present version's plain kind if the code is no federation's that this version knows.
    """
    code = node.code(address)
    for kind in KINDS:
        if load_artifact(kind).runs_as(code):
            return kind, None
    for release in releases() if any_version else ():
        if known := release.kind_of(code):
            return known, release
    return KINDS[0], None


def _runtime(name: str, release: Release | None) -> Runtime:
    return load_artifact(name) if release is None else release.contracts[name]


def _require_library(
    node: Node, federation: str, name: str, place: bytes, release: Release | None
) -> None:
    """Raise NoFederation unless the library has the code of the federation's version.

    A federation delegates to it: its code changes the federation's storage and decides disputes.
    """
    runtime, address = _runtime(name, release), checksummed("0x" + place.hex())
    code = node.code(address)
    links_only_itself = runtime.libraries_of(code).items() <= {name: place}.items()
    if not runtime.runs_as(code) or not links_only_itself:
        raise NoFederation(
            f"The federation at {federation} is linked to another {name} than its version's, at "
            f"{address}: it could decide disputes wrongly.",
            "Do not use it.",
        )


def _other(node: Node, address: str, code: bytes) -> NoFederation:
    """The error for code that is not of the present version."""
    ours = f"this flo {fl_orchestrator.__version__} runs federations of {CONTRACTS_VERSION}"
    where = f"The federation at {address} on chain {node.chain_id}"
    for release in releases():
        if release.kind_of(code):
            return OtherVersion(
                f"{where} is of version {release.version}; {ours}.",
                "This flo shows it (`flo federation show`, `flo party status`), verifies it (`flo "
                "model verify`) and withdraws its stakes and rewards. To take part in it, use flo "
                f"{release.version}. To go on with this flo, start a new federation from its "
                "model: `flo federation migrate`.",
                release.version,
            )
    said = _said_version(node, address)
    # Its own word only: any contract can answer so.
    if said is not None and said != CONTRACTS_VERSION:
        return OtherVersion(
            f"{where} says that it is of version {said}, which is not known here; {ours}.",
            f"If its owner confirms the address, use flo {said}.",
            said,
        )
    return NoFederation(
        f"There is no federation of this version at {address} on chain {node.chain_id}; {ours}.",
        "Check the address and the RPC endpoint.",
    )


def _said_version(node: Node, address: str) -> str | None:
    """What the contract answers to `version()`, if that is a version."""
    try:
        with RevertDecoder([]).translated():
            answer = node.call(address, _VERSION_SELECTOR)
        if len(answer) > _MAX_VERSION_BYTES:
            return None
        (text,) = words_of([{"name": "", "type": "string"}])(answer)
    except (FloError, Undecodable):
        return None
    return text if _VERSION.fullmatch(text) else None
