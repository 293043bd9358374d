"""A party's open commitments on disk: the data for the reveal, which survives a crash."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic_core import from_json

from fl_orchestrator.chain.types import CommitView, Update
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.errors import ContentError
from fl_orchestrator.files import names_in, sync
from fl_orchestrator.json_text import to_json
from fl_orchestrator.model.digests import commitment
from fl_orchestrator.model.protocol import COMMITMENT_BYTES
from fl_orchestrator.roles.vectors import Origin

_PREIMAGE: Final = "commitment.json"
_UPDATE: Final = "update.safetensors"
#: The name of an entry begins with this, and ends with its round.
ENTRY: Final = "round-"
#: In an entry whose trainer keeps something at the site: its state after the update's training.
STATE: Final = "state.safetensors"
_MAX_PREIMAGE_BYTES: Final = 4096

_T = TypeVar("_T")


class DamagedJournal(ContentError):
    """A journal entry that is incomplete, or that this program did not write."""


@dataclass(frozen=True, slots=True)
class OpenCommitment:
    """An update that was, or is about to be, committed; ``path`` is its private file."""

    round: int
    commitment: bytes
    update: Update
    path: Path

    @property
    def weight(self) -> int:
        return self.update.weight

    def opens(self, slot: CommitView) -> bool:
        """Whether it is the preimage of what a slot keeps of a commitment."""
        return self.commitment[:COMMITMENT_BYTES] == slot.commitment


class EntryFolder:
    """A directory with one entry per round: a small JSON file, an update, perhaps a state."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, round_number: int) -> Path:
        """The update's file in the entry of a round."""
        return self._entry(round_number) / _UPDATE

    def save(
        self, round_number: int, values: Mapping[str, Any], file: Path, state: bytes | None
    ) -> Path:
        """Move the update's file in, and write the values and the state beside it.

        The entry has all of them or does not exist; durable on return.
        """
        entry = self._entry(round_number)
        temporary = entry.with_name(f".{entry.name}.new")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)
        shutil.move(file, temporary / _UPDATE)
        (temporary / self._name).write_text(to_json(values, indent=2) + "\n")
        if state is not None:
            (temporary / STATE).write_bytes(state)
        for path in (*sorted(temporary.iterdir(), reverse=True), temporary):
            sync(path)
        shutil.rmtree(entry, ignore_errors=True)
        temporary.rename(entry)
        sync(self._directory)
        return entry / _UPDATE

    def load(self, round_number: int, read: Callable[[Any], _T | None]) -> _T | None:
        """What ``read`` makes of the values of a round's entry; None if there is no entry.

        Raises DamagedJournal if the entry cannot be read, if ``read`` returns None or raises a
        ValueError, KeyError, TypeError, AttributeError or ContentError.
        """
        entry = self._entry(round_number)
        if not entry.exists():
            return None
        try:
            with (entry / self._name).open("rb") as file:
                found = read(from_json(file.read(_MAX_PREIMAGE_BYTES)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ContentError) as error:
            raise _damaged(entry) from error
        if found is None or not (entry / _UPDATE).is_file():
            raise _damaged(entry)
        return found

    def forget_before(self, round_number: int) -> None:
        """Delete the entries of earlier rounds, for which no reveal can be due any more."""
        for name in names_in(self._directory):
            number = name.removeprefix(ENTRY)
            earlier = number != name and number.isdecimal() and int(number) < round_number
            interrupted = name.startswith(f".{ENTRY}") and name.endswith(".new")
            if earlier or interrupted:
                shutil.rmtree(self._directory / name, ignore_errors=True)

    def _entry(self, round_number: int) -> Path:
        return self._directory / f"{ENTRY}{round_number}"


class Journal:
    """A directory with one entry per round in which the party committed."""

    def __init__(self, directory: Path, origin: Origin) -> None:
        self._folder = EntryFolder(directory, _PREIMAGE)
        self._origin = origin

    def save(
        self, round_number: int, update: Update, file: Path, state: bytes | None = None
    ) -> OpenCommitment:
        """Move the update's file in, and write preimage and state beside it; durable on return."""
        digest = self._commitment(round_number, update)
        preimage = {
            "commitment": digest.hex(),
            "party": update.party,
            "weight": update.weight,
            "root": update.root.hex(),
            "cid": str(update.cid),
            "salt": update.salt.hex(),
        }
        path = self._folder.save(round_number, preimage, file, state)
        return OpenCommitment(round_number, digest, update, path)

    def load(self, round_number: int) -> OpenCommitment | None:
        """The entry of a round, if there is one. Raises DamagedJournal."""

        def read(preimage: Any) -> OpenCommitment | None:
            update = Update(
                preimage["party"],
                preimage["weight"],
                bytes.fromhex(preimage["root"]),
                Cid.parse(preimage["cid"]),
                bytes.fromhex(preimage["salt"]),
            )
            digest = self._commitment(round_number, update)
            if preimage["commitment"] != digest.hex():
                return None
            return OpenCommitment(round_number, digest, update, self._folder.path(round_number))

        return self._folder.load(round_number, read)

    def forget_before(self, round_number: int) -> None:
        """Delete the entries of earlier rounds, for which no reveal can be due any more."""
        self._folder.forget_before(round_number)

    def _commitment(self, round_number: int, update: Update) -> bytes:
        return commitment(
            chain_id=self._origin.chain_id,
            federation=self._origin.federation,
            round_number=round_number,
            party=update.party,
            root=update.root,
            cid=update.cid,
            weight=update.weight,
            salt=update.salt,
        )


def _damaged(entry: Path) -> DamagedJournal:
    return DamagedJournal(
        f"The journal entry {entry} is damaged.",
        "Restore it from a backup: without it the commitment cannot be revealed.",
    )
