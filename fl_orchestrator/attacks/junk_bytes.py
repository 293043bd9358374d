"""A party whose committed CIDs lead to malformed files."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from fl_orchestrator.attacks.adversary import Adversary
from fl_orchestrator.attacks.base import ATTACKER, HEADING, PROTOCOL, Attack, Fact, Tell, Verdict
from fl_orchestrator.attacks.scene import Scene
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.errors import FloError
from fl_orchestrator.model.vector_file import LENGTH_BYTES
from fl_orchestrator.roles.vectors import Origin, VectorCache
from fl_orchestrator.simulation.options import Options

_JUNKER: Final = 3
_PARTIES: Final = 4
_EXCESS_BYTES: Final = 1 << 20
_HOMES: Final = ("store", "deployments", "parties", "aggregators", "models")

Junk = Callable[[bytes, Path], bytes]
"""Makes junk from a well-formed file; a reader that unpickles it writes the file at the path."""


def truncated(content: bytes, _: Path) -> bytes:
    return content[:-1]


def oversized(content: bytes, _: Path) -> bytes:
    return content + bytes(_EXCESS_BYTES)


def wrong_dtype(content: bytes, _: Path) -> bytes:
    """The same bytes, with a header that declares floats."""
    return content.replace(b'"I16"', b'"F16"')


def pickle(_: bytes, canary: Path) -> bytes:
    """A pickle that calls `open(canary, "w")` when it is loaded."""
    return f"cbuiltins\nopen\n(V{canary}\nVw\ntR.".encode()


def traversal(content: bytes, _: Path) -> bytes:
    """A tensor whose name leads out of the directory where somebody might unpack it."""
    end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = content[LENGTH_BYTES:end].rstrip()
    header = header.replace(b'"dense/kernel"', b'"../../../../climbed"')
    header += b" " * (-len(header) % LENGTH_BYTES)
    return len(header).to_bytes(LENGTH_BYTES, "little") + header + content[end:]


KINDS: Final[Mapping[str, Junk]] = {
    "a file that lacks its last byte": truncated,
    "a file with a megabyte too much": oversized,
    "a file of floats": wrong_dtype,
    "a pickle that writes a file when it is loaded": pickle,
    "a tensor named ../../../../climbed": traversal,
}


@dataclass(frozen=True, slots=True)
class JunkBytes(Attack):
    """Reveals well-formed commitments whose CIDs lead to these kinds of junk, a round each."""

    name: ClassVar[str] = "junk-bytes"
    summary: ClassVar[str] = (
        "A party reveals malformed files as updates, to stop or to take over the programs that "
        "read them."
    )
    remains: ClassVar[str] = (
        "Junk costs its sender gas and the reward, but no stake: otherwise a dishonest quorum "
        "could have honest parties slashed by calling their updates junk."
    )

    kinds: Mapping[str, Junk] = field(default_factory=lambda: KINDS)

    def run(self, directory: Path, seed: int, tell: Tell) -> Verdict:
        # Deep enough that a path with many ".." still ends inside `directory`.
        canary, run = directory / "canary", directory.joinpath(*"0123", "run")
        scene = Scene(run, Options(parties=_PARTIES, rounds=len(self.kinds), seed=seed))
        junker = scene.adversary(_JUNKER)
        refusals = {}
        for number, (kind, junk) in enumerate(self.kinds.items(), start=1):
            tell(HEADING, f"Round {number}")
            content, root = junker.file(value=number, round_number=number)
            bad = junk(content, canary)
            cid = _play_round(scene, junker, bad, root, number)
            tell(ATTACKER, f"Reveals a CID that leads to {kind} ({len(bad):,} bytes).")
            refusals[kind] = _refusal(scene, directory / "reader", cid, root, number)
            included = len(scene.included(number))
            tell(PROTOCOL, refusals[kind] or "A well-formed update.")
            tell(PROTOCOL, f"Accepts the round with {included} updates.")
        scene.simulation.settle()
        outside = _files(directory) - _files(directory / "reader", *(run / h for h in _HOMES))
        return self._verdict(scene, junker, refusals, outside)

    def _verdict(
        self, scene: Scene, junker: Adversary, refusals: dict[str, str], outside: set[Path]
    ) -> Verdict:
        rounds = range(1, len(self.kinds) + 1)
        honest = set(scene.parties) - {junker.address}
        facts = (
            Fact(
                f"Every kind of junk ({len(self.kinds)}) was refused by the reader of updates.",
                all(refusals.values()),
            ),
            Fact(
                "Every round was accepted with the honest updates and no other.",
                all(scene.included(number) == honest for number in rounds),
            ),
            Fact(
                "Every aggregator signed these results, in every round.",
                all(scene.signers(number) == set(scene.aggregators) for number in rounds),
            ),
            Fact(
                "Nothing was unpickled, and nothing written outside of the directories of the "
                "store and the roles.",
                not outside,
            ),
            Fact("The junk earned nothing.", scene.reward(junker.address) == 0),
        )
        named = {
            "the junk sender": junker.address,
            "an honest party": scene.parties[0],
            "the keeper": scene.keeper,
        }
        figures = {"refusals": refusals, "files_outside": sorted(map(str, outside))}
        return Verdict(facts, scene.costs(named), figures)


def _files(*directories: Path) -> set[Path]:
    return {path for directory in directories for path in directory.rglob("*") if path.is_file()}


def _play_round(scene: Scene, junker: Adversary, bad: bytes, root: bytes, number: int) -> Cid:
    """Run a round with a commitment to ``root`` whose CID is that of ``bad``; return the CID."""
    simulation = scene.simulation
    update = junker.update(bad, root, salt=number)
    simulation.open_round()
    junker.commit(update, number)
    simulation.run_until(lambda o: o.current.phase is Phase.REVEAL)
    simulation.store.put(io.BytesIO(bad))
    junker.reveal(update)
    simulation.finish_round()
    return update.cid


def _refusal(scene: Scene, home: Path, cid: Cid, root: bytes, number: int) -> str:
    """The reason why an aggregator's reader refuses the junk, or "" if it accepts it."""
    origin = Origin(scene.federation.chain_id, scene.federation.address)
    try:
        cache = VectorCache(home, scene.simulation.manifest)
        cache.fetch(scene.simulation.store, cid, root, origin.update(number))
    except FloError as error:
        return error.message
    return ""
