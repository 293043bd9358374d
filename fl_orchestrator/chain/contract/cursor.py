"""The position of a follower of the history, in a small file that is written atomically."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from fl_orchestrator.chain.types import ModelView
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.errors import ContentError
from fl_orchestrator.files import write_whole
from fl_orchestrator.json_text import to_json
from fl_orchestrator.log import get_logger

_log = get_logger(__name__)

_VERSION: Final = 1
# Enough for 8,192 models of up to 200 bytes each.
_MAX_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the history: a model was accepted, or revoked."""

    accepted: bool
    model: ModelView


@dataclass(slots=True)
class Cursor:
    """What a follower has reported.

    ``models`` are the last ones that were reported and not revoked since, at consecutive heights.
    ``forgotten``: there were more below, which were removed. If ``models`` is empty, ``begin`` is
    the height of the next one to report; None means the head's. ``offered`` is the change whose
    report had started when this was saved. ``block_number`` is the block at which the last change
    was observed.
    """

    chain_id: int
    federation: str
    begin: int | None
    models: list[ModelView] = field(default_factory=list)
    offered: Change | None = None
    block_number: int = 0
    forgotten: bool = False


def save_cursor(path: Path, cursor: Cursor) -> None:
    """Replace the file atomically. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    offered = cursor.offered
    body = to_json(
        {
            "version": _VERSION,
            "chainId": cursor.chain_id,
            "federation": cursor.federation,
            "begin": cursor.begin,
            "models": [_to_json(model) for model in cursor.models],
            "offered": None if offered is None else [offered.accepted, *_to_json(offered.model)],
            "block": cursor.block_number,
            "forgotten": cursor.forgotten,
        }
    )
    write_whole(path, f"{body}\n{_checksum(body)}\n")


def load_cursor(path: Path, new: Cursor) -> Cursor:
    """Load the cursor from a file; ``new`` if there is none.

    Also ``new``, with an alert in the log, if it is unreadable, damaged or of another federation.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return new
    except OSError as error:
        return _replaced(path, new, f"it cannot be read: {error.strerror}")
    try:
        cursor = _parse(data)
    except (ValueError, KeyError, TypeError, AttributeError, ContentError):
        return _replaced(path, new, "it is damaged")
    if (cursor.chain_id, cursor.federation) != (new.chain_id, new.federation):
        return _replaced(path, new, f"it is of the federation {cursor.federation}")
    return cursor


def _replaced(path: Path, new: Cursor, reason: str) -> Cursor:
    _log.error(
        "alert: the cursor of the history is replaced: rounds may be reported again, or not at all",
        path=str(path),
        reason=reason,
    )
    return dataclasses.replace(new)


def _parse(data: bytes) -> Cursor:
    if len(data) > _MAX_BYTES:
        raise ValueError("too large")
    body, checksum, end = data.decode("ascii").split("\n")
    if checksum != _checksum(body) or end:
        raise ValueError("the checksum differs")
    found = from_json(body)
    if found["version"] != _VERSION:
        raise ValueError("another version")
    offered = found["offered"]
    return Cursor(
        found["chainId"],
        found["federation"],
        found["begin"],
        [_from_json(model) for model in found["models"]],
        None if offered is None else Change(offered[0], _from_json(offered[1:])),
        found["block"],
        found["forgotten"],
    )


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _to_json(model: ModelView) -> list[Any]:
    return [model.height, model.round, model.root.hex(), str(model.cid)]


def _from_json(entry: list[Any]) -> ModelView:
    height, round_number, root, cid = entry
    return ModelView(height, round_number, bytes.fromhex(root), Cid.parse(cid))
