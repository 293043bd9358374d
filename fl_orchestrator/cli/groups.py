"""Commands and groups of `flo`: help as plain text, and groups that are imported when used.

`flo --help` must not import what the commands need: not Rich, which needs half a second to format
help, not structlog, and not the modules of other commands.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

_Function = TypeVar("_Function", bound=Callable[..., Any])
_OPTIONS: Final = "Options"


class Command(TyperCommand):
    """A command whose help lists its options below the titles of their panels."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self, ctx, formatter)

    def get_params(self, ctx: Any) -> list[Any]:
        return _sparing_pydantic(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        # Imported here, because help ends before this line.
        from fl_orchestrator.cli.logs import configure

        configure(ctx.find_root().params.get("debug", False))
        return super().invoke(ctx)


class Group(TyperGroup):
    """A group that shows the whole first sentence of what each command does."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self, ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries()))

    def get_params(self, ctx: Any) -> list[Any]:
        return _sparing_pydantic(super().get_params(ctx))

    def summaries(self) -> Iterator[tuple[str, str]]:
        for name, command in self.commands.items():
            yield name, summary(command.help or "")


def summary(text: str) -> str:
    """The first paragraph of a command's help, in one line."""
    return " ".join(text.strip().partition("\n\n")[0].split())


def _write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], _OPTIONS: []}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            is_argument = parameter.param_type_name == "argument"
            panel = getattr(parameter, "rich_help_panel", None)
            title = "Arguments" if is_argument else panel or _OPTIONS
            sections.setdefault(title, []).append(record)
    for title, records in sections.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


class Noun(typer.Typer):
    """A group of commands: `flo <noun> <verb>`. The whole of them has ``completion`` for shells."""

    def __init__(self, text: str, cls: type[Group] = Group, *, completion: bool = False) -> None:
        super().__init__(
            help=text,
            cls=cls,
            no_args_is_help=True,
            add_completion=completion,
            pretty_exceptions_enable=False,
            # "rich" and "markdown" import Rich for help.
            rich_markup_mode=None,
        )
        self.callback()(_group)  # Typer makes no group of a single command without a callback

    def command(self, name: str | None = None, **more: Any) -> Callable[[_Function], _Function]:
        decorated: Callable[[_Function], _Function] = super().command(
            name, **{"cls": Command, **more}
        )
        return decorated


def _group() -> None:
    pass


def _sparing_pydantic(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        # A Typer of 2025 and before has no descriptor, and imports no pydantic.
        if hasattr(parameter, "type_descriptor") and "process_value" not in vars(parameter):
            _spare_pydantic(parameter)
    return parameters


def _spare_pydantic(parameter: Any) -> None:
    """Prevent Typer from importing pydantic for a text, a path, a default, or for no value or list.

    It takes as long as all else that Typer does, to leave such values as they are.
    """
    process = parameter.process_value
    kind = parameter.type_descriptor.annotation
    single = not parameter.multiple and parameter.nargs == 1

    def process_given(ctx: Any, value: Any) -> Any:
        if single and kind in (str, Path) and isinstance(value, (str, Path)):
            value = kind(value)
        elif type(value) is kind and value == parameter.default:
            pass
        elif parameter.multiple and not value and not parameter.required:
            value = ()
        elif value is not None or parameter.required or parameter.multiple:
            return process(ctx, value)
        return value if parameter.callback is None else parameter.callback(ctx, parameter, value)

    parameter.process_value = process_given


@dataclass(frozen=True, slots=True)
class Lazy:
    """The module of a command or a noun, and the summary that `flo --help` shows without an import.

    ``attribute`` is the name of a `Noun`, or of a command's function.
    """

    module: str
    attribute: str
    summary: str

    def load(self, name: str) -> Any:
        """The click command."""
        found = getattr(importlib.import_module(self.module), self.attribute)
        if not isinstance(found, typer.Typer):
            noun = typer.Typer(add_completion=False, rich_markup_mode=None)
            noun.command(name, cls=Command)(found)
            found = noun
        command = get_command(found)
        command.name = name
        return command


class LazyCommands(MutableMapping[str, Any]):
    """Commands by name, each imported at its first use."""

    def __init__(self, lazy: dict[str, Lazy], more: MutableMapping[str, Any]) -> None:
        self._lazy = lazy
        self._loaded: dict[str, Any] = dict(more)

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = self._lazy[name].load(name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError("a command cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter({**self._lazy, **self._loaded})

    def __len__(self) -> int:
        return len({**self._lazy, **self._loaded})


class LazyGroup(Group):
    """The group of all commands; a subclass lists them in ``lazy``."""

    lazy: dict[str, Lazy]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = LazyCommands(self.lazy, self.commands)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(self.commands)

    def summaries(self) -> Iterator[tuple[str, str]]:
        for name in self.commands:
            known = self.lazy.get(name)
            yield name, known.summary if known else summary(self.commands[name].help or "")
