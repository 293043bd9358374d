"""The user's own trainer as an option: which code may run, and where its output goes."""

from __future__ import annotations

import contextlib
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from fl_orchestrator.cli import streams
from fl_orchestrator.cli.config import FOUND
from fl_orchestrator.cli.console import err
from fl_orchestrator.cli.site import HOME_DEFAULT, expanded, named
from fl_orchestrator.errors import InputError
from fl_orchestrator.printable import printable

if TYPE_CHECKING:
    from rich.status import Status

    from fl_orchestrator.training.checked import CheckedTrainer
    from fl_orchestrator.training.loading import FlowerSpec

_TRUSTED: Final = "trusted.json"
_MOST_TRUSTED_BYTES: Final = 1 << 20


_Code = TypeVar("_Code", Path | None, str | None)


class UntrustedTrainer(InputError):
    """A settings file that the user did not name asks to run code."""


def require_trust(context: typer.Context, parameter: typer.CallbackParam, trainer: _Code) -> _Code:
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
    Path | None,
    typer.Option(
        "--trainer",
        metavar="FILE.py:FUNCTION",
        help="Your own code: a function that returns a trainer.",
        callback=require_trust,
    ),
]

_FLOWER: Final = "A Flower app as the trainer"
FlowerOption = Annotated[
    str | None,
    typer.Option(
        "--flower",
        metavar="MODULE:APP",
        help="Instead of --trainer: a Flower ClientApp in this directory.",
        callback=require_trust,
        rich_help_panel=_FLOWER,
    ),
]
RunConfigOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="An entry of the app's run_config; repeatable.",
        rich_help_panel=_FLOWER,
    ),
]
NodeConfigOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="An entry of the app's node_config, as partition-id=0; repeatable.",
        rich_help_panel=_FLOWER,
    ),
]
InitialOption = Annotated[
    str | None,
    typer.Option(
        "--initial",
        metavar="MODULE:FUNCTION",
        help="A function of the app that returns the model's first arrays, by name.",
        rich_help_panel=_FLOWER,
    ),
]


def chosen_trainer(
    trainer: Path | None,
    flower: str | None,
    run_config: list[str] | None,
    node_config: list[str] | None,
    initial: str | None,
) -> Path | FlowerSpec:
    """The one trainer that the options name. Raises InputError."""
    from fl_orchestrator.training.loading import FlowerSpec

    others = {"run-config": run_config, "node-config": node_config, "initial": initial}
    if flower is None:
        for name, value in others.items():
            if value:
                raise InputError(f"--{name} belongs to a Flower app.", "Give --flower too.")
        return named("trainer", trainer)
    if trainer is not None:
        raise InputError("There are two trainers: --trainer and --flower.", "Leave one out.")
    return FlowerSpec(flower, _entries(run_config), _entries(node_config), initial)


def _entries(texts: list[str] | None) -> dict[str, bool | int | float | str]:
    """KEY=VALUE pairs, the values written as in TOML; anything else is a text."""
    entries: dict[str, bool | int | float | str] = {}
    for text in texts or []:
        key, sign, value = text.partition("=")
        if not key.strip() or not sign:
            raise InputError(f"{text!r} is no setting.", "Write a name and a value: lr=0.1.")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value
        entries[key.strip()] = parsed if isinstance(parsed, bool | int | float | str) else value
    return entries


@contextlib.contextmanager
def loading(trainer: Path | str | FlowerSpec) -> Iterator[tuple[CheckedTrainer, Status]]:
    """Load a trainer below a status line, which the caller may change.

    From now on, what the trainer prints goes to stderr. Raises what ``load_trainer`` and
    ``load_flower`` raise.
    """
    from fl_orchestrator.training.loading import FlowerSpec, load_flower, load_trainer

    streams.divert()
    with err.status("Loading the trainer and its data …") as status:
        if isinstance(trainer, FlowerSpec):
            yield load_flower(trainer), status
        else:
            yield load_trainer(str(trainer)), status
