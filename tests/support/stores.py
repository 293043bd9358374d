"""Stores that do not do what a store promises."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore


class Withheld(LocalStore):
    """The store as of a party whose files nobody else can get: they are ``elsewhere``."""

    def __init__(self, directory: Path, elsewhere: LocalStore) -> None:
        super().__init__(directory)
        self._elsewhere = elsewhere

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:
        return self._elsewhere.put(stream, pin=pin)

    def put_file(self, path: Path, *, pin: bool = True) -> Cid:
        return self._elsewhere.put_file(path, pin=pin)
