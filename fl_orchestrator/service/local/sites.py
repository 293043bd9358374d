"""The files of a local federation's processes, which a person may edit.

A second start writes them again, since ports change; what a person has changed in them stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import TypeAdapter, ValidationError

from fl_orchestrator.files import write_whole
from fl_orchestrator.json_text import to_json

_log = structlog.get_logger(__name__)

SETTINGS: Final = "flo.toml"
_RECORD: Final = ".written.json"


@dataclass(frozen=True, slots=True)
class _Written:
    """What was written here before: lines of settings, and the sha256 of whole files."""

    lines: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def write_site(
    directory: Path, settings: Mapping[str, Any], section: str, files: Mapping[str, bytes]
) -> None:
    """Write ``flo.toml``, with ``settings`` above a section, and whole files beside it.

    Where there is a ``flo.toml`` already, only the settings that stand in it as they were written
    are brought up to date; another file that was changed is left as it is. Deleted ones are written
    anew. A ``flo.toml`` from before there was a record of what was written is moved aside, and a
    warning says so. Raises OSError.
    """
    before = _read(directory / _RECORD)
    new = {key: f"{key} = {to_json(value)}" for key, value in settings.items()}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    ours = _Written(tuple(new.values()), tuple(digests.values()))
    # Whoever is killed before the end finds both what was there and what was to come.
    both = _Written((*before.lines, *ours.lines), (*before.files, *ours.files))
    write_whole(directory / _RECORD, _to_json(both))
    for name, data in files.items():
        path = directory / name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() in both.files:
            # In one step: half a file would pass for an edited one.
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
