"""The directory of a run. Only files that a run wrote are ever deleted in it."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

from fl_orchestrator.audit.history import BLOCKS, HISTORY, KERAS, SAFETENSORS, STORE, UnreadableRun
from fl_orchestrator.audit.plots import CURVES
from fl_orchestrator.errors import InputError

# The marker is created first and deleted last: a directory without it is not treated as a run's.
MARKER: Final = ".flo-run"
#: What a run of `simulate` was asked for, and what its parties have trained so far.
SPEC: Final = "simulation.json"
FITS: Final = "fits"
_MARKER_TEXT: Final = "Written by flo demo, which empties this directory when it runs here again.\n"
_LOOK: Final = "look.png"
_CONTENTS: Final = frozenset(
    {
        MARKER,
        HISTORY,
        BLOCKS,
        # Temporary files of these two, left if the process is killed while it writes them.
        f".{HISTORY}.new",
        f".{BLOCKS}.new",
        SAFETENSORS,
        KERAS,
        CURVES,
        STORE,
        "aggregators",
        "deployments",
        "models",
        "parties",
        # Of `flo demo --private --look`.
        _LOOK,
        # Of `simulate`.
        SPEC,
        f".{SPEC}.new",
        FITS,
        "plain",
        "private",
    }
)


class ForeignDirectory(InputError):
    """The output directory contains something that no run wrote."""


def check_run_directory(directory: Path) -> None:
    """Raise ForeignDirectory unless it is absent, empty, or contains a run and nothing else."""
    if not directory.is_dir():
        if directory.exists() or directory.is_symlink():
            raise ForeignDirectory(f"{directory} is a file.", "Give a directory with --out.")
        return
    found = {entry.name for entry in directory.iterdir()}
    foreign = sorted(found - _CONTENTS if _is_marked(directory) else found)
    if foreign:
        raise ForeignDirectory(
            f"{directory} holds {foreign[0]}, which no demo wrote.",
            "Give another directory with --out, or move the file away.",
        )


def _is_marked(directory: Path) -> bool:
    """Whether the marker exists as a regular file; a link to another file does not count."""
    marker = directory / MARKER
    return marker.is_file() and not marker.is_symlink()


def check_recorded(directory: Path) -> None:
    """Raise UnreadableRun if a run was stopped before it recorded anything, or records nothing."""
    if (directory / _LOOK).exists() and not (directory / HISTORY).exists():
        raise UnreadableRun(
            f"{directory} is of `flo demo --private --look`, which keeps both stores and no "
            "history.",
            "Run `flo demo --private --out DIRECTORY`, and verify that directory.",
        )
    if (directory / MARKER).is_file() and not (directory / HISTORY).exists():
        raise UnreadableRun(
            f"The run in {directory} was stopped before its first record: nothing can be checked.",
            "Run the demo again: it starts over.",
        )


def start_run(directory: Path, keep: Collection[str] = ()) -> None:
    """Create an empty directory for a run; delete an earlier run in it first, but for ``keep``.

    Raises ForeignDirectory, before anything is deleted, and OSError.
    """
    check_run_directory(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if not _is_marked(directory):
        with (directory / MARKER).open("x") as marker:
            marker.write(_MARKER_TEXT)
    for entry in directory.iterdir():
        if entry.name in keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != MARKER:
            entry.unlink()
