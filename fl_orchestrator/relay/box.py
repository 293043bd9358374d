"""A mailbox in a file, which keeps posted messages across a crash."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from fl_orchestrator.errors import ContentError
from fl_orchestrator.relay.messages import any_of
from fl_orchestrator.relay.private_messages import ALL_FORMS
from fl_orchestrator.roles.relay import Mailbox, name_of

_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS messages (
        round INTEGER NOT NULL, name TEXT NOT NULL, message TEXT NOT NULL,
        PRIMARY KEY (round, name)
    );
"""
_ANY: Final = any_of(ALL_FORMS.values())


class BoxUnusable(ContentError):
    """The file of the waiting messages cannot be read or written."""


class StoredMailbox(Mailbox):
    """A mailbox that writes each message to its file before the post returns.

    Raises BoxUnusable.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._translated_errors():
            # Threads share the connection, below the mailbox's lock.
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._database.executescript(f"PRAGMA journal_mode = WAL; {_SCHEMA}")
            rows = self._database.execute("SELECT round, message FROM messages ORDER BY rowid")
            for round_number, text in rows.fetchall():
                with contextlib.suppress(ValidationError):  # its author will post it again
                    message = _ANY.validate_json(text).value()
                    super()._keep(round_number, name_of(message), message)

    def close(self) -> None:
        self._database.close()

    def _keep(self, round_number: int, name: str, message: Any) -> None:
        text = ALL_FORMS[type(message)].of(round_number, message).model_dump_json()
        self._write("INSERT OR REPLACE INTO messages VALUES (?, ?, ?)", round_number, name, text)
        super()._keep(round_number, name, message)

    def _discard(self, round_number: int, name: str) -> None:
        self._write("DELETE FROM messages WHERE round = ? AND name = ?", round_number, name)
        super()._discard(round_number, name)

    def _forget(self, round_number: int) -> None:
        self._write("DELETE FROM messages WHERE round = ?", round_number)
        super()._forget(round_number)

    # ------------------------------------------------------------------ the file

    def _write(self, statement: str, *values: object) -> None:
        with self._lock, self._translated_errors():
            self._database.execute(statement, values)

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise BoxUnusable(
                f"The relay's file {self._path} cannot be used: {error}.",
                "Free some space. If the file is damaged, remove it: the authors post again.",
            ) from error
