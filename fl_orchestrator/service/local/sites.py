"""The files of a local federation's processes, which the user may edit.

Each start writes them again, because ports change, but keeps the user's changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from fl_orchestrator.files import write_whole
from fl_orchestrator.json_text import to_json
from fl_orchestrator.log import get_logger

_log = get_logger(__name__)

SETTINGS: Final = "flo.toml"
_RECORD: Final = ".written.json"


@dataclass(frozen=True, slots=True)
class _Written:
    """The record of what was written before: lines of settings, and the sha256 of whole files."""

    lines: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def write_site(
    directory: Path, settings: Mapping[str, Any], section: str, files: Mapping[str, bytes]
) -> None:
    """Write ``flo.toml``, with ``settings`` above a section, and whole files beside it.

    In an existing ``flo.toml``, only the settings that the user has not changed are updated. Any
    other file that the user has changed is kept; a deleted file is written again. A ``flo.toml``
    that is older than the record of written lines is renamed, and a warning is logged. Raises
    OSError.
    """
    before = _read(directory / _RECORD)
    new = {key: f"{key} = {to_json(value)}" for key, value in settings.items()}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    ours = _Written(tuple(new.values()), tuple(digests.values()))
    # Record the old and the new lines first: a process that is killed in between can still tell its
    # own lines from the user's.
    both = _Written((*before.lines, *ours.lines), (*before.files, *ours.files))
    write_whole(directory / _RECORD, _to_json(both))
    for name, data in files.items():
        path = directory / name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() in both.files:
            # Atomically, because a half-written file would look like an edited one.
            unfinished = path.with_name(f".{name}.new")
            unfinished.write_bytes(data)
            unfinished.replace(path)
    _write_settings(directory / SETTINGS, new, section, before)
    write_whole(directory / _RECORD, _to_json(ours))


def _write_settings(path: Path, new: Mapping[str, str], section: str, before: _Written) -> None:
    if path.exists() and not before.lines:
        aside = path.with_name(f"{path.name}.old")
        path.replace(aside)
        _log.warning("wrote new settings; the former ones are kept aside", kept_in=str(aside))
    if not path.exists():
        write_whole(path, "".join(f"{line}\n" for line in new.values()) + section)
        return
    lines = path.read_text(encoding="utf-8").split("\n")
    known = {line: new.get(line.partition(" = ")[0], line) for line in before.lines}
    write_whole(path, "\n".join(known.get(line, line) for line in lines))


def _read(record: Path) -> _Written:
    try:
        return TypeAdapter(_Written).validate_json(record.read_bytes())
    except (OSError, ValidationError):
        return _Written()


def _to_json(written: _Written) -> str:
    return TypeAdapter(_Written).dump_json(written, indent=2).decode() + "\n"
