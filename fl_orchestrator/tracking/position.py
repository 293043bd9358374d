"""Which events a tracker has, in a small file: after a restart it gets the next ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import pydantic

from fl_orchestrator.files import read_regular, write_whole
from fl_orchestrator.log import get_logger
from fl_orchestrator.tracking.event import Event, Kind

_log = get_logger(__name__)

#: Events of this many blocks are remembered; a deeper reorganisation cannot be told exactly.
KEPT_BLOCKS: Final = 256
_KEPT_EVENTS: Final = 5_000
_KEPT_REPORTS: Final = 1_000
_MAX_BYTES: Final = 16 << 20

_Text = Annotated[str, pydantic.Field(max_length=200)]


class Delivered(pydantic.BaseModel):
    """What must be known of an event to undo it."""

    model_config = pydantic.ConfigDict(frozen=True)

    id: _Text
    kind: _Text
    round: int | None
    block: int
    block_hash: _Text
    log_index: int


class Checkpoint(pydantic.BaseModel):
    """All events up to this block were delivered."""

    model_config = pydantic.ConfigDict(frozen=True)

    block: int
    block_hash: _Text


class Position(pydantic.BaseModel):
    """Which events of one federation a tracker has.

    ``checkpoints`` and ``delivered`` are ascending, and go `KEPT_BLOCKS` back. ``reports`` are the
    ids of events that no block has. ``notes`` are for the tracker itself.
    """

    federation: _Text
    checkpoints: list[Checkpoint] = []
    delivered: list[Delivered] = []
    reports: list[_Text] = []
    notes: dict[_Text, int] = {}

    def take(self, event: Event) -> None:
        """An event was delivered."""
        if event.kind == Kind.UNDONE:
            undone = event.values["undoes"]
            self.delivered = [known for known in self.delivered if known.id != undone]
        elif event.block is None or event.block_hash is None or event.log_index is None:
            self.reports = [*self.reports, event.id][-_KEPT_REPORTS:]
        else:
            where = event.block, event.block_hash, event.log_index
            self.delivered.append(
                Delivered(
                    id=event.id,
                    kind=event.kind,
                    round=event.round,
                    block=where[0],
                    block_hash=where[1],
                    log_index=where[2],
                )
            )

    def reach(self, checkpoint: Checkpoint) -> None:
        """All events up to a block were delivered; those of later blocks were undone."""
        kept = [point for point in self.checkpoints if point.block < checkpoint.block]
        self.checkpoints = [*kept, checkpoint]
        oldest = checkpoint.block - KEPT_BLOCKS
        # One checkpoint before the oldest block stays, so that a fork is found from there on.
        while len(self.checkpoints) > 1 and self.checkpoints[1].block <= oldest:
            del self.checkpoints[0]
        self.delivered = [known for known in self.delivered if known.block > oldest]
        del self.delivered[:-_KEPT_EVENTS]

    def has(self, ids: Iterable[str]) -> set[str]:
        """Which of these ids were delivered."""
        known = {event.id for event in self.delivered} | set(self.reports)
        return known.intersection(ids)


def save_position(path: Path, position: Position) -> None:
    """Replace the file atomically. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, position.model_dump_json() + "\n")


def load_position(path: Path | None, federation: str) -> Position:
    """The position in a file; a new one, with an alert, if it is damaged or of another federation.

    Raises OSError if it cannot be read.
    """
    new = Position(federation=federation)
    if path is None or not path.exists():
        return new
    try:
        found = Position.model_validate_json(read_regular(path, _MAX_BYTES))
    except pydantic.ValidationError:
        reason = "it is damaged"
    else:
        if found.federation == federation:
            return found
        reason = f"it is of {found.federation}"
    _log.error(
        "alert: the position of a tracker is replaced: it may get events again",
        path=str(path),
        reason=reason,
    )
    return new
