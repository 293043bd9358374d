"""The compiled contracts that ship with the package, as `flo contracts build` makes them.

One JSON file per contract that a migration deploys, and one per library that it links.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Self

from fl_orchestrator.errors import InputError, ToolchainError

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
class Artifact:
    """A compiled contract.

    ``creation_code`` holds zeros where the addresses of libraries belong (``links``: the holes of
    each, by its name). ``runtime_code`` holds zeros there too (``runtime_links``, in which a
    library counts as linked to itself: its code has its own address), and in its
    ``runtime_holes``, which deployment fills with immutable values. ``runtime_code_hash`` is the
    keccak256 of ``runtime_code`` as it stands here. ``compiler`` is solc's version and settings.
    """

    name: str
    source: str
    compiler: Mapping[str, Any]
    abi: list[dict[str, Any]]
    creation_code: bytes
    links: Mapping[str, tuple[Hole, ...]]
    runtime_code: bytes
    runtime_code_hash: bytes
    runtime_holes: tuple[Hole, ...]
    runtime_links: Mapping[str, tuple[Hole, ...]]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `flo contracts build` wrote."""
        data = json.loads(text)
        return cls(
            name=data["name"],
            source=data["source"],
            compiler=data["compiler"],
            abi=data["abi"],
            creation_code=bytes.fromhex(data["creationCode"][2:]),
            links=_links(data["links"]),
            runtime_code=bytes.fromhex(data["runtimeCode"][2:]),
            runtime_code_hash=bytes.fromhex(data["runtimeCodeHash"][2:]),
            runtime_holes=_holes(data["runtimeHoles"]),
            runtime_links=_links(data["runtimeLinks"]),
        )

    def linked(self, libraries: Mapping[str, bytes]) -> bytes:
        """The creation code with the 20-byte address of each library in its places.

        Raises UnlinkedLibraryError when one is missing.
        """
        for library in self.links:
            if len(libraries.get(library, b"")) != ADDRESS_BYTES:
                raise UnlinkedLibraryError(
                    f"{self.name} needs the address of the library {library}.",
                    "Deploy the library first.",
                )
        return _with_links(self.creation_code, self.links, libraries)

    def runs_as(self, code: bytes) -> bool:
        """Whether the deployed ``code`` is this contract's, linked to whichever libraries.

        That says nothing of what they do, and so of what the contract does: see ``libraries_of``.
        """
        if len(code) != len(self.runtime_code):
            return False
        filled = _with_links(self.runtime_code, self.runtime_links, self.libraries_of(code))
        blank = bytearray(code)
        for hole in self.runtime_holes:
            blank[hole.start : hole.start + hole.length] = bytes(hole.length)
        return blank == filled

    def libraries_of(self, code: bytes) -> dict[str, bytes]:
        """The address that ``code``, which ``runs_as`` this contract, has of each library."""
        return {
            library: code[holes[0].start : holes[0].start + holes[0].length]
            for library, holes in self.runtime_links.items()
        }


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


def _with_links(
    code: bytes, links: Mapping[str, tuple[Hole, ...]], libraries: Mapping[str, bytes]
) -> bytes:
    """The code with the address of each library in all its places."""
    filled = bytearray(code)
    for library, holes in links.items():
        for hole in holes:
            filled[hole.start : hole.start + hole.length] = libraries[library]
    return bytes(filled)
