"""Stores results across interruptions, under a hash of everything that they depend on."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
WORK: Final = CHECKOUT / ".tools" / "assurance"
_IMPORT: Final = re.compile(r'from "(\.[^"]*)"')


class Records:
    """Results by their keys, one JSON line each, in ``file``."""

    def __init__(self, file: Path) -> None:
        self.file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        # Ignore a line that is incomplete because the process was killed.
        complete = [line for line in lines if line.endswith("}")]
        self.known: dict[str, Any] = {
            row["key"]: row["result"] for row in map(json.loads, complete)
        }

    def add(self, key: str, result: Any, **about: str) -> None:
        """Store a result; ``about`` is information for people who read the file."""
        self.known[key] = result
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as out:
            out.write(f"\n{json.dumps({'key': key, **about, 'result': result})}")


def needed_by(files: Iterable[Path]) -> tuple[Path, ...]:
    """These Solidity files, their imports from the checkout, and the other files that forge reads.

    All paths are relative to the checkout.
    """
    needed = {Path("foundry.toml"), Path("package-lock.json")}
    needed |= {file.relative_to(CHECKOUT) for file in (CHECKOUT / "tests/vectors").glob("*.json")}
    queue = list(files)
    while queue:
        file = queue.pop()
        if file not in needed:
            needed.add(file)
            source = CHECKOUT / file
            paths = _IMPORT.findall(source.read_text(encoding="utf-8"))
            queue += [(source.parent / path).resolve().relative_to(CHECKOUT) for path in paths]
    return tuple(sorted(needed))


def digest(root: Path, files: Iterable[Path], *settings: object) -> str:
    """A hash of settings and of the files below ``root``, with their names."""
    hasher = hashlib.sha256(f"{settings}\n".encode())
    for file in files:
        text = (root / file).read_bytes()
        hasher.update(f"{file.as_posix()} {len(text)}\n".encode() + text)
    return hasher.hexdigest()
