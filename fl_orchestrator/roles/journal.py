"""A party's open commitment on disk: what it needs to reveal, whatever happens in between."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fl_orchestrator.chain.types import Update
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.errors import ContentError
from fl_orchestrator.files import sync

_NAME: Final = "commitment.json"


class DamagedJournal(ContentError):
    """A journal file that this program did not write."""


@dataclass(frozen=True, slots=True)
class OpenCommitment:
    """An update that was, or is about to be, committed; ``path`` is its private file."""

    round: int
    commitment: bytes
    update: Update
    path: Path


class Journal:
    """A directory with one entry per round in which the party committed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def save(
        self, round_number: int, commitment: bytes, update: Update, file: Path
    ) -> OpenCommitment:
        """Copy the update's file in and write the preimage beside it; durable on return."""
        entry = self._entry(round_number)
        temporary = entry.with_name(f".{entry.name}.new")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)
        copied = temporary / "update.safetensors"
        shutil.copyfile(file, copied)
        preimage = {
            "commitment": commitment.hex(),
            "party": update.party,
            "weight": update.weight,
            "root": update.root.hex(),
            "cid": str(update.cid),
            "salt": update.salt.hex(),
        }
        (temporary / _NAME).write_text(json.dumps(preimage, indent=2) + "\n")
        for path in (copied, temporary / _NAME, temporary):
            sync(path)
        shutil.rmtree(entry, ignore_errors=True)
        temporary.rename(entry)
        sync(self._directory)
        return OpenCommitment(round_number, commitment, update, entry / copied.name)

    def load(self, round_number: int) -> OpenCommitment | None:
        """The entry of a round, if there is one. Raises DamagedJournal."""
        entry = self._entry(round_number)
        try:
            preimage = json.loads((entry / _NAME).read_text())
            update = Update(
                preimage["party"],
                preimage["weight"],
                bytes.fromhex(preimage["root"]),
                Cid.parse(preimage["cid"]),
                bytes.fromhex(preimage["salt"]),
            )
            commitment = bytes.fromhex(preimage["commitment"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, ContentError) as error:
            raise DamagedJournal(
                f"The journal entry {entry} is damaged.",
                "Restore it from a backup: without it the commitment cannot be revealed.",
            ) from error
        return OpenCommitment(round_number, commitment, update, entry / "update.safetensors")

    def forget_before(self, round_number: int) -> None:
        """Drop the entries of rounds that nothing can be owed for any more."""
        for entry in self._directory.glob("round-*"):
            if int(entry.name.removeprefix("round-")) < round_number:
                shutil.rmtree(entry, ignore_errors=True)

    def _entry(self, round_number: int) -> Path:
        return self._directory / f"round-{round_number}"
