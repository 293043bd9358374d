"""The compiled contracts that ship with the package, as `flo contracts build` makes them.

One JSON file per contract that a migration deploys, and one per library that it links. Of earlier
releases, ``releases`` keeps what recognises their contracts (`scripts/keep_release.py`).
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Self

from sha3 import keccak_256

from fl_orchestrator.errors import InputError, ToolchainError

#: The release that the compiled contracts are of: what their `version()` returns.
CONTRACTS_VERSION: Final = "0.2.0"
#: The kinds of federations, each by the name of its contract.
KINDS: Final = ("Federation", "PrivateFederation")
ADDRESS_BYTES: Final = 20


class ArtifactNotFoundError(ToolchainError):
    """The package holds no compiled contract of that name."""


class UnlinkedLibraryError(InputError):
    """The address of a library that a contract calls is missing."""


@dataclass(frozen=True, slots=True)
class Hole:
    """Bytes of the code, zero in the artifact, that deployment fills: ``length`` from ``start``."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Runtime:
    """What recognises a deployed contract, and calls it.

    ``runtime_code_hash`` is the keccak256 of its code of ``runtime_length`` bytes, with zeros where
    the addresses of libraries belong (``runtime_links``: the holes of each, by its name; a library
    counts as linked to itself, as its code has its own address), and in the ``runtime_holes``,
    which deployment fills with immutable values.
    """

    name: str
    abi: list[dict[str, Any]]
    runtime_length: int
    runtime_code_hash: bytes
    runtime_holes: tuple[Hole, ...]
    runtime_links: Mapping[str, tuple[Hole, ...]]

    def runs_as(self, code: bytes) -> bool:
        """Whether the deployed ``code`` is this contract's, linked to whichever libraries.

        That says nothing of what they do, and so of what the contract does: see ``libraries_of``.
        """
        if len(code) != self.runtime_length:
            return False
        blank = bytearray(code)
        for library, address in self.libraries_of(code).items():
            for hole in self.runtime_links[library]:
                if code[hole.start : hole.start + hole.length] != address:
                    return False
                blank[hole.start : hole.start + hole.length] = bytes(hole.length)
        for hole in self.runtime_holes:
            blank[hole.start : hole.start + hole.length] = bytes(hole.length)
        return bool(keccak_256(bytes(blank)).digest() == self.runtime_code_hash)

    def libraries_of(self, code: bytes) -> dict[str, bytes]:
        """The address that ``code``, which ``runs_as`` this contract, has of each library."""
        return {
            library: code[holes[0].start : holes[0].start + holes[0].length]
            for library, holes in self.runtime_links.items()
        }


@dataclass(frozen=True, slots=True)
class Artifact(Runtime):
    """A compiled contract.

    ``creation_code`` holds zeros where the addresses of libraries belong (``links``: the holes of
    each, by its name), as ``runtime_code`` does. ``compiler`` is solc's version and settings.
    """

    source: str
    compiler: Mapping[str, Any]
    creation_code: bytes
    links: Mapping[str, tuple[Hole, ...]]
    runtime_code: bytes

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `flo contracts build` wrote."""
        data = json.loads(text)
        runtime_code = bytes.fromhex(data["runtimeCode"][2:])
        return cls(
            name=data["name"],
            source=data["source"],
            compiler=data["compiler"],
            abi=data["abi"],
            creation_code=bytes.fromhex(data["creationCode"][2:]),
            links=_links(data["links"]),
            runtime_code=runtime_code,
            runtime_length=len(runtime_code),
            runtime_code_hash=bytes.fromhex(data["runtimeCodeHash"][2:]),
            runtime_holes=_holes(data["runtimeHoles"]),
            runtime_links=_links(data["runtimeLinks"]),
        )

    def linked(self, libraries: Mapping[str, bytes]) -> bytes:
        """The creation code with the 20-byte address of each library in its places.

        Raises UnlinkedLibraryError when one is missing.
        """
        filled = bytearray(self.creation_code)
        for library, holes in self.links.items():
            if len(libraries.get(library, b"")) != ADDRESS_BYTES:
                raise UnlinkedLibraryError(
                    f"{self.name} needs the address of the library {library}.",
                    "Deploy the library first.",
                )
            for hole in holes:
                filled[hole.start : hole.start + hole.length] = libraries[library]
        return bytes(filled)


@dataclass(frozen=True, slots=True)
class Release:
    """The contracts of an earlier release, by their names."""

    version: str
    contracts: Mapping[str, Runtime]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `scripts/keep_release.py` wrote."""
        data = json.loads(text)
        contracts = {
            name: Runtime(
                name=name,
                abi=kept["abi"],
                runtime_length=kept["runtimeLength"],
                runtime_code_hash=bytes.fromhex(kept["runtimeCodeHash"][2:]),
                runtime_holes=_holes(kept["runtimeHoles"]),
                runtime_links=_links(kept["runtimeLinks"]),
            )
            for name, kept in data["contracts"].items()
        }
        return cls(data["version"], contracts)

    def kind_of(self, code: bytes) -> str | None:
        """The name of the federation's contract that the deployed ``code`` is of, if it is one."""
        return next((name for name in KINDS if self.contracts[name].runs_as(code)), None)


@functools.cache
def releases() -> tuple[Release, ...]:
    """The earlier releases, whose federations are recognised."""
    directory = resources.files(__name__).joinpath("releases")
    files = sorted(directory.iterdir(), key=lambda file: file.name)
    return tuple(
        Release.from_json(file.read_text(encoding="utf-8"))
        for file in files
        if file.name.endswith(".json")
    )


def version_of(name: str, code: bytes) -> str | None:
    """The earlier release whose contract of this name the deployed ``code`` is, if there is one."""
    for release in releases():
        kept = release.contracts.get(name)
        if kept is not None and kept.runs_as(code):
            return release.version
    return None


def load_artifact(name: str) -> Artifact:
    """The compiled contract of that name. Raises ArtifactNotFoundError."""
    file = resources.files(__name__).joinpath(f"{name}.json")
    if not name.isidentifier() or not file.is_file():
        raise ArtifactNotFoundError(
            f"There is no compiled contract {name!r} in the package.",
            "Run `flo contracts build` in a checkout, or reinstall the package.",
        )
    return Artifact.from_json(file.read_text(encoding="utf-8"))


def _holes(items: list[list[int]]) -> tuple[Hole, ...]:
    return tuple(Hole(start, length) for start, length in items)


def _links(items: dict[str, list[list[int]]]) -> dict[str, tuple[Hole, ...]]:
    return {library: _holes(places) for library, places in items.items()}
