"""Builds the sdist and the wheel of the checked out commit, twice, and requires equal bytes.

    python scripts/release/build.py [DIRECTORY]

Each build has a copy of the commit in a directory of its own, other permissions for new files, and
another seed of Python's hashes. The wheel is built from the sdist, as pip does it. Dates are that
of the commit (SOURCE_DATE_EPOCH, if it is not set). The directory gets both files and their
SHA256SUMS; anybody with the same commit and the same hatchling gets the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_UMASKS: Final = (0o022, 0o077)


class NotReproducible(Exception):
    """Two builds of one commit differ."""


def build(out: Path) -> list[Path]:
    """Build into ``out``; returns the sdist and the wheel. Raises NotReproducible."""
    commit = _git("rev-parse", "HEAD").decode("ascii").strip()
    with tempfile.TemporaryDirectory(prefix="flo-release-") as directory:
        builds = [
            _build_once(Path(directory) / ("a" if seed else "the other one"), commit, seed, umask)
            for seed, umask in enumerate(_UMASKS)
        ]
        first, second = ({path.name: path.read_bytes() for path in built} for built in builds)
    if first != second:
        names = sorted(first.keys() | second.keys())
        differing = [name for name in names if first.get(name) != second.get(name)]
        raise NotReproducible(f"Two builds differ: {', '.join(differing)}.")
    out.mkdir(parents=True, exist_ok=True)
    sums = []
    for name, data in sorted(first.items()):
        (out / name).write_bytes(data)
        sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
    (out / "SHA256SUMS").write_text("".join(sums), encoding="ascii")
    return [out / name for name in sorted(first)]


def _build_once(directory: Path, commit: str, seed: int, umask: int) -> list[Path]:
    """Build a commit in this directory."""
    source, out = directory / "source", directory / "dist"
    source.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(_git("archive", commit))) as files:
        files.extractall(source, filter="data")
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(seed + 1),
        "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH") or _date_of(commit),
    }
    _hatchling(source, "sdist", out, environment, umask)
    (sdist,) = out.glob("*.tar.gz")
    unpacked = directory / "unpacked"
    with tarfile.open(sdist) as files:
        files.extractall(unpacked, filter="data")
    (tree,) = unpacked.iterdir()
    _hatchling(tree, "wheel", out, environment, umask)
    return sorted(out.iterdir())


def _hatchling(
    source: Path, target: str, out: Path, environment: dict[str, str], umask: int
) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    quiet = subprocess.DEVNULL
    subprocess.run(
        command, cwd=source, env=environment, check=True, umask=umask, stdout=quiet, stderr=quiet
    )


def _date_of(commit: str) -> str:
    return _git("log", "-1", "--format=%ct", commit).decode("ascii").strip()


def _git(*arguments: str) -> bytes:
    git = shutil.which("git") or "git"
    return subprocess.run(
        [git, "-C", str(ROOT), *arguments], check=True, stdout=subprocess.PIPE
    ).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, nargs="?", default=ROOT / "dist")
    try:
        for path in build(parser.parse_args().directory):
            print(path)
    except NotReproducible as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
