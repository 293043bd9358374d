"""A site's settings file, `flo.toml`: options that need not be typed with every command.

A key is the name of an option, and its value is the option's value. Precedence: option,
environment, file, default.
"""

from __future__ import annotations

import difflib
import inspect
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints
from urllib.parse import unquote

import typer

from fl_orchestrator.cli.site import expanded
from fl_orchestrator.errors import InputError
from fl_orchestrator.members.connection import signer_url

FILE: Final = Path("flo.toml")
#: In a context: the settings file that was found in the working directory, not named by the user.
FOUND: Final = "fl_orchestrator.settings"
_MOST_SETTINGS_BYTES: Final = 1 << 20
ROLES: Final = ("party", "aggregator", "watcher", "keeper")
#: The keys that may stand above the sections, for every command that has the option. The relay is
#: not one of them: a party's relay is the URL it posts to, a keeper's the address it listens on.
SHARED: Final = (
    *("rpc", "chain-id", "federation", "deployments", "store", "gateways", "key", "password-file"),
    *("home", "cache", "confirmations", "daily-cap", "daily-deposit", "max-fee"),
    *("metrics", "log-format", "log-level"),
)


class BadConfig(InputError):
    """The settings file cannot be read, or has a key or a value that no command accepts."""


def load(context: typer.Context, file: Path | None) -> Path | None:
    """Make a settings file the source of defaults of all commands: a callback of --config.

    Without ``file``, it is ``flo.toml`` in the working directory, if that exists. Raises BadConfig.
    """
    if context.resilient_parsing or "--help" in sys.argv[1:]:
        return file
    if file is None and not FILE.is_file():
        return None
    chosen = file or FILE
    if file is None:
        context.meta[FOUND] = FILE.resolve()
    context.default_map = defaults(context.command, _parsed(chosen), chosen)
    return chosen


def _parsed(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            data = stream.read(_MOST_SETTINGS_BYTES + 1)
        if len(data) > _MOST_SETTINGS_BYTES:
            raise BadConfig(
                f"The settings file {file} has more than {_MOST_SETTINGS_BYTES:,} bytes."
            )
        # Editors on Windows begin a file with a byte order mark.
        return tomllib.loads(data.decode("utf-8-sig"))
    except OSError as error:
        raise BadConfig(
            f"The settings file {file} cannot be read: {error.strerror}.", "Check --config."
        ) from error
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: the parser lets through what Python says of a number of
        # thousands of digits, and of thousands of brackets.
        raise BadConfig(
            f"The settings file {file} is not TOML: {error}.",
            "Run `flo init` to write a valid one.",
        ) from error


def defaults(root: Any, settings: dict[str, Any], file: Path) -> dict[str, Any]:
    """The defaults of every command of a click group, in the form of click's ``default_map``.

    Raises BadConfig for a key that is not an option, and for a value that the option refuses.
    """
    sections = {role: settings.pop(role, {}) for role in ROLES}
    options = {role: _options_of(root.commands[role]) for role in ROLES}
    known = {name: kind for names in options.values() for name, kind in names.items()}
    for key in settings.keys() - set(SHARED):
        if homes := [f"[{role}]" for role in ROLES if key in options[role]]:
            raise BadConfig(
                f"{file}: {key!r} is a setting of some roles only.",
                f"Write it below {' or '.join(homes)}.",
            )
    shared = _checked(settings, {name: known.get(name, str) for name in SHARED}, file, "")
    result: dict[str, Any] = _named_in(root, shared)
    for role, section in sections.items():
        if not isinstance(section, dict):
            raise BadConfig(f"{file}: {role} is a section.", f"Write [{role}] above its keys.")
        own = {**shared, **_checked(section, options[role], file, role)}
        result[role] = _named_in(root.commands[role], own)
    return result


def _options_of(group: Any) -> dict[str, Any]:
    """The types of the commands' options by name, without flags, which have no value."""
    found: dict[str, Any] = {}
    for command in group.commands.values():
        hints = get_type_hints(inspect.unwrap(command.callback, stop=_has_signature))
        for parameter in command.params:
            if name := _key_of(parameter):
                found[name] = hints.get(parameter.name, str)
    return found


def _has_signature(function: Any) -> bool:
    """Whether the function has a signature of its own, which then lists a command's options."""
    return hasattr(function, "__signature__")


def _key_of(parameter: Any) -> str | None:
    """The key of an option with a value; None for a flag, which is for one call only."""
    names = [name for name in parameter.opts if name.startswith("--")]
    return None if not names or getattr(parameter, "is_flag", False) else names[0][2:]


def _named_in(command: Any, values: Mapping[str, str]) -> dict[str, Any]:
    """Settings by parameter name for a command; for a group, those of each of its commands."""
    named: dict[str, Any] = {
        parameter.name: values[key]
        for parameter in command.params
        if (key := _key_of(parameter)) and key in values
    }
    for name, inner in getattr(command, "commands", {}).items():
        named[name] = _named_in(inner, values)
    return named


def _checked(
    settings: dict[str, Any], options: Mapping[str, Any], file: Path, section: str
) -> dict[str, str]:
    """Settings as a user would type them. Raises BadConfig."""
    # Imported here, because it takes a quarter of a second and help needs no settings.
    from pydantic import ConfigDict, ValidationError, create_model

    where = f"{file}, [{section}]" if section else str(file)
    joined = {key: _joined(value) for key, value in settings.items()}
    fields: dict[str, Any] = {name: (kind, None) for name, kind in options.items()}
    try:
        # A number is accepted where the option takes text, for example an amount.
        strict = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
        values = create_model("Settings", __config__=strict, **fields)(**joined)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, [*options, *ROLES], n=1)
            hint = (
                f"Did you mean {near[0]}?" if near else f"There are {', '.join(sorted(options))}."
            )
            raise BadConfig(f"{where}: there is no setting {key!r}.", hint) from error
        # Pydantic names the class of a path, which tells a user nothing.
        reason = "It is not a path" if first["type"] == "path_type" else first["msg"]
        raise BadConfig(
            f"{where}: {key} = {first['input']!r} cannot be used: {reason}.",
            "Write the value as you would type it after the option.",
        ) from error
    directory = file.resolve().parent
    return {key: _typed(getattr(values, key), directory) for key in joined}


def _joined(value: Any) -> Any:
    """Join a list of URLs with commas, as on the command line."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _typed(value: Any, directory: Path) -> str:
    """A value as text. A path is relative to the file's directory; a URL is not a path.

    But a store's may be file: and a relative path, so that the directory may be moved as a whole.
    """
    if not isinstance(value, Path):
        text = str(value)
        path = text.removeprefix(_FILE_URL)
        if path == text or path.startswith("/") or not path:
            return text
        return (directory / unquote(path)).as_uri()
    return signer_url(value) or str(directory / expanded(value))


_FILE_URL: Final = "file:"

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="FLO_CONFIG",
        help="The site's settings. Default: flo.toml in the working directory, if it exists.",
        is_eager=True,
        callback=load,
    ),
]
