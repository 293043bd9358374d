"""The user's own trainer as an option: which code may run, and where its output goes."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.cli import streams
from fl_orchestrator.cli.config import FOUND
from fl_orchestrator.cli.console import err
from fl_orchestrator.cli.site import HOME_DEFAULT, expanded
from fl_orchestrator.errors import InputError
from fl_orchestrator.printable import printable

if TYPE_CHECKING:
    from rich.status import Status

    from fl_orchestrator.training.loading import CheckedTrainer

_TRUSTED: Final = "trusted.json"
_MOST_TRUSTED_BYTES: Final = 1 << 20


class UntrustedTrainer(InputError):
    """A settings file that the user did not name asks to run code."""


def _require_trust(
    context: typer.Context, parameter: typer.CallbackParam, trainer: Path | None
) -> Path | None:
    """Ask before running code that only the working directory's flo.toml names.

    Another person may have written that directory. Raises UntrustedTrainer.
    """
    settings = context.meta.get(FOUND)
    source = context.get_parameter_source(parameter.name or "")
    named = source is None or source.name != "DEFAULT_MAP"
    if trainer is None or settings is None or named or context.resilient_parsing:
        return trainer
    # The files' contents are not part of it: the user trusts everybody who may change them.
    entry = [str(settings), str(trainer)]
    if entry in _trusted():
        return trainer
    shown = f"{printable(str(settings))} names code to run: {printable(str(trainer))}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UntrustedTrainer(
            f"{shown}. The code was not run, because you did not name that file.",
            "If it is yours, name it: flo --config flo.toml …, FLO_CONFIG, or --trainer.",
        )
    if not typer.confirm(f"{shown}. Run it with your rights, now and later?", err=True):
        raise UntrustedTrainer("The trainer was not run.", "Name another one with --trainer.")
    _trust(entry)
    return trainer


def _trusted() -> list[Any]:
    """The pairs of settings file and trainer that the user has trusted before."""
    try:
        with (expanded(HOME_DEFAULT) / _TRUSTED).open("rb") as file:
            entries = json.loads(file.read(_MOST_TRUSTED_BYTES))
    except (OSError, ValueError, InputError):
        return []
    return entries if isinstance(entries, list) else []


def _trust(entry: list[str]) -> None:
    """Store an answer. Without a writable home directory, the question is asked every time."""
    from fl_orchestrator.files import write_whole
    from fl_orchestrator.json_text import to_json

    with contextlib.suppress(OSError, InputError):
        home = expanded(HOME_DEFAULT)
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(home / _TRUSTED, to_json([*_trusted(), entry], indent=1) + "\n")


TrainerOption = Annotated[
    Path,
    typer.Option(
        "--trainer",
        metavar="FILE.py:FUNCTION",
        help="Your own code: a function that returns a trainer.",
        callback=_require_trust,
    ),
]


@contextlib.contextmanager
def loading(trainer: Path | str) -> Iterator[tuple[CheckedTrainer, Status]]:
    """Load a trainer below a status line, which the caller may change.

    From now on, what the trainer prints goes to stderr. Raises what ``load_trainer`` raises.
    """
    from fl_orchestrator.training.loading import load_trainer

    streams.divert()
    with err.status("Loading the trainer and its data …") as status:
        yield load_trainer(str(trainer)), status
