"""Finds a Flower app, its `run_config` in pyproject.toml, and flwr itself with telemetry off."""

from __future__ import annotations

import importlib
import os
import sys
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fl_orchestrator.errors import ToolchainError, install_hint
from fl_orchestrator.training.failures import BadTrainerFile

Scalar = bool | int | float | str

_TELEMETRY: Final = "FLWR_TELEMETRY_ENABLED"
_TELEMETRY_MODULE: Final = "flwr.supercore.telemetry"
_HINT: Final = "Write it as for Flower: --flower my_app.client_app:app, in the app's directory."


class FlowerMissing(ToolchainError):
    """flwr is not installed."""


class BadFlowerApp(BadTrainerFile):
    """The name of a Flower app leads to no ClientApp, or its settings cannot be read."""


def require_flower() -> None:
    """Turn Flower's telemetry off, then import flwr. Raises FlowerMissing."""
    # Flower reads the variable once, when it is imported; a user's file may have imported it.
    os.environ[_TELEMETRY] = "0"
    if find_spec("flwr") is None:
        raise FlowerMissing(
            "Flower is not installed.",
            install_hint("flower"),
        )
    telemetry: Any = importlib.import_module(_TELEMETRY_MODULE)
    telemetry.FLWR_TELEMETRY_ENABLED = "0"


def load_object(reference: str, directory: Path) -> tuple[Any, Path]:
    """The object of ``module:attribute``, as Flower names it, and its module's file.

    ``directory`` is added to the module search path, and stays there. What the module raises is
    passed on.

    Raises:
        BadFlowerApp: there is no such module or attribute.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise BadFlowerApp(f"{reference!r} does not name an object of a module.", _HINT)
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Only the name itself: what the app imports may be missing too, which is another fault.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise BadFlowerApp(f"There is no module {module_name} in {directory}.", _HINT) from error
    found = getattr(module, attribute, None)
    if found is None:
        raise BadFlowerApp(f"{module_name} has no {attribute!r}.", _HINT)
    return found, Path(module.__file__ or directory)


def project_config(directory: Path) -> dict[str, Scalar]:
    """``tool.flwr.app.config`` of the nearest pyproject.toml, nested keys joined by dots.

    Raises:
        BadFlowerApp: the file is not TOML, or a value is not a scalar.
    """
    for place in (directory, *directory.parents):
        file = place / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            content: Any = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise BadFlowerApp(f"{file} cannot be read: {error}.", "Correct the file.") from error
        for key in ("tool", "flwr", "app", "config"):
            content = content.get(key, {}) if isinstance(content, dict) else {}
        return dict(_flat(content, file)) if isinstance(content, dict) else {}
    return {}


def _flat(table: Mapping[str, Any], file: Path, prefix: str = "") -> list[tuple[str, Scalar]]:
    found: list[tuple[str, Scalar]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            found += _flat(value, file, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            found.append((prefix + key, value))
        else:
            raise BadFlowerApp(
                f"The value of {prefix}{key} in {file} is not a number, a text or true or false.",
                "Flower allows nothing else.",
            )
    return found
