"""Installs a wheel alone, in a new environment of each Python given, and runs what needs no extra.

    python scripts/release/bare.py dist/*.whl [PYTHON ...]

Without a PYTHON it takes every Python 3.11 to 3.13 that it finds, on the PATH and of pyenv. What
the package depends on comes from the package index that pip is set up for.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

MINORS: Final = (11, 12, 13)
#: What only extras bring.
_EXTRAS: Final = (
    "tensorflow",
    "eth_tester",
    "sklearn",
    "matplotlib",
    "starlette",
    "jinja2",
    "onnx",
)
#: The public names that need the extra `simulation`, and say so.
_SIMULATED: Final = ("NoProgress", "PartyFailed", "SimulationResult", "simulate")
_IMPORTS: Final = f"""
import importlib.util, fl_orchestrator
from fl_orchestrator.errors import ToolchainError
for name in fl_orchestrator.__all__:
    try:
        getattr(fl_orchestrator, name)
    except ToolchainError as error:
        assert name in {_SIMULATED!r} and "[simulation]" in str(error), name
brought = [name for name in {_EXTRAS!r} if importlib.util.find_spec(name)]
assert not brought, f"without an extra, the wheel brings {{brought}}"
print(fl_orchestrator.__version__)
"""
_COMMANDS: Final = (
    (["--version"], "flo "),
    (["--help"], "Federated learning"),
    (["demo", "--help"], "Usage: flo demo"),
    (["federation", "create", "--help"], "Usage: flo federation create"),
    (["party", "run", "--help"], "Usage: flo party run"),
)
_EXTRA: Final = "pip install 'fl-orchestrator["


class Unusable(Exception):
    """The wheel does not work in a bare environment."""


def pythons() -> list[Path]:
    """A Python of each minor version, where there is one."""
    found = []
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    for minor in MINORS:
        on_path = shutil.which(f"python3.{minor}", path=_path_without_shims())
        of_pyenv = sorted(pyenv.glob(f"3.{minor}.*/bin/python3"))
        candidates = [*of_pyenv[-1:], *([Path(on_path)] if on_path else [])]
        found.extend(candidates[:1])
    return found


def _path_without_shims() -> str:
    parts = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(part for part in parts if not part.endswith("shims"))


def check(wheel: Path, python: Path, directory: Path) -> str:
    """Check the wheel with one Python; returns Python's version. Raises Unusable."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "FLO_", "VIRTUAL_ENV"))
    }
    _run([str(python), "-m", "venv", str(directory)], environment)
    own = directory / "bin" / "python"
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    _run([str(own), *install], environment)
    _run([str(own), "-m", "pip", "check"], environment)
    # Outside of the checkout, where `fl_orchestrator` would be the sources.
    _run([str(own), "-c", _IMPORTS], environment, directory)
    for arguments, words in _COMMANDS:
        shown = _run([str(directory / "bin" / "flo"), *arguments], environment, directory)
        if words not in shown:
            raise Unusable(f"flo {' '.join(arguments)} shows no {words!r}:\n{shown}")
    demo = [str(directory / "bin" / "flo"), "demo", "--out", str(directory / "demo")]
    result = _finished(demo, environment, directory)
    if result.returncode == 0 or _EXTRA not in result.stderr:
        raise Unusable(f"flo demo does not name an extra that it needs:\n{result.stderr}")
    return _run([str(own), "-V"], environment).strip()


def _run(command: list[str], environment: dict[str, str], cwd: Path | None = None) -> str:
    result = _finished(command, environment, cwd)
    if result.returncode:
        raise Unusable(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def _finished(
    command: list[str], environment: dict[str, str], cwd: Path | None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("python", type=Path, nargs="*")
    arguments = parser.parse_args()
    chosen = arguments.python or pythons()
    if not chosen:
        sys.exit("There is no Python 3.11 to 3.13.")
    for python in chosen:
        with tempfile.TemporaryDirectory(prefix="flo-bare-") as directory:
            try:
                version = check(arguments.wheel.resolve(), python, Path(directory) / "venv")
            except Unusable as error:
                sys.exit(f"{python}: {error}")
        print(f"{version}: {arguments.wheel.name} works without extras.")


if __name__ == "__main__":
    main()
