"""The file of an index: an SQLite database that is made anew where it cannot be used.

Everything in it comes from the chain, so that nothing is lost with it. It is in WAL mode: any
number of processes read it while one writes.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import filelock

from fl_orchestrator.errors import ContentError
from fl_orchestrator.log import get_logger

_log = get_logger(__name__)

#: Another version of the tables, or of what is written into them.
VERSION: Final = 2
_WAIT_SECONDS: Final = 30.0
_PARTS: Final = ("", "-wal", "-shm")

_TABLES: Final = """
CREATE TABLE identity (version INTEGER, chain INTEGER, federation TEXT, begin INTEGER);
-- How many reorganisations were noticed.
CREATE TABLE forks (count INTEGER NOT NULL);
INSERT INTO forks VALUES (0);
-- The last block of a search and its hash, by which a reorganisation is noticed.
CREATE TABLE searched (last INTEGER PRIMARY KEY, hash BLOB NOT NULL);
CREATE TABLE block (number INTEGER PRIMARY KEY, hash BLOB NOT NULL, time INTEGER);
CREATE INDEX block_untimed ON block (number) WHERE time IS NULL;
CREATE TABLE account (id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE);
-- Transactions. `round` is the last round that an event of one is of; gas and fee are read later.
CREATE TABLE sent (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, block INTEGER NOT NULL, round INTEGER,
    gas INTEGER, fee TEXT
);
CREATE INDEX sent_round ON sent (round);
CREATE INDEX sent_block ON sent (block);
CREATE INDEX sent_unread ON sent (id) WHERE gas IS NULL;
-- Events. `amount` is in wei; `data` is JSON.
CREATE TABLE event (
    block INTEGER NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL, round INTEGER,
    account INTEGER, sent INTEGER NOT NULL, amount TEXT, data TEXT NOT NULL,
    PRIMARY KEY (block, place)
) WITHOUT ROWID;
CREATE INDEX event_round ON event (round, name);
CREATE INDEX event_name ON event (name);
CREATE INDEX event_account ON event (account);
-- What follows from the events of each round.
CREATE TABLE round (number INTEGER PRIMARY KEY, summary TEXT NOT NULL);
CREATE TABLE part (
    round INTEGER NOT NULL, account INTEGER NOT NULL, state INTEGER NOT NULL,
    PRIMARY KEY (round, account)
) WITHOUT ROWID;
"""


_NAMES: Final = frozenset(re.findall(r"CREATE TABLE (\w+)", _TABLES))
# What SQLite says of a file that is damaged, is no database, or lacks a table.
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})


class NoIndex(ContentError):
    """The index cannot be written where it should be."""


class Database:
    """The index of one federation in a file. ``begin`` is the first block that is searched.

    Raises NoIndex.
    """

    def __init__(self, path: Path, chain_id: int, federation: str, begin: int) -> None:
        self._path = path
        self._identity = (VERSION, chain_id, federation, begin)
        self._open()

    def _open(self) -> None:
        self._connection = self._opened()
        self._inode = self._path.stat().st_ino
        self._seen = -1

    def _opened(self) -> sqlite3.Connection:
        """Open the file, or make a new one if it is damaged, or of another version or federation.

        One process at a time does that.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with filelock.FileLock(f"{self._path}.lock", timeout=_WAIT_SECONDS):
                return self._usable() or self._new()
        except (OSError, sqlite3.Error, filelock.Timeout) as error:
            raise self.unusable(error) from error

    def _usable(self) -> sqlite3.Connection | None:
        if not self._path.exists():
            return None
        connection = None
        try:
            connection = self._connect()
            sound = connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            sound = sound and _tables(connection) == _NAMES
            found = connection.execute("SELECT * FROM identity").fetchone() if sound else None
            if found == self._identity:
                return connection
            reason = "it is of another version or federation" if sound else "it is damaged"
        except sqlite3.DatabaseError as error:
            reason = str(error)
        if connection is not None:
            connection.close()
        _log.warning("the index is made anew", path=str(self._path), reason=reason)
        return None

    def _new(self) -> sqlite3.Connection:
        for part in _PARTS:
            Path(f"{self._path}{part}").unlink(missing_ok=True)
        connection = self._connect()
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
        with connection:
            connection.execute("INSERT INTO identity VALUES (?, ?, ?, ?)", self._identity)
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        # After a power failure the last blocks may be missing: they are read from the chain again.
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    @property
    def is_current(self) -> bool:
        """Whether the file is still the one that was opened: another process may remake it."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def unusable(self, error: Exception) -> NoIndex:
        """The error of a file that cannot be read or written."""
        return NoIndex(
            f"The index {self._path} cannot be used: {error}.", "Choose another file with --index."
        )

    def remake(self) -> None:
        """Open the file again, and make it anew if it is damaged. Raises NoIndex."""
        self.close()
        self._open()

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    @property
    def connection(self) -> sqlite3.Connection:
        return self._connection

    def written_elsewhere(self) -> bool:
        """Whether another process has written since this was asked last."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        changed, self._seen = version != self._seen, version
        return bool(changed)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, in which nobody else writes. It is undone if the block raises."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is at fault, and not the disk or another process."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _tables(connection: sqlite3.Connection) -> frozenset[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return frozenset(name for (name,) in rows if not name.startswith("sqlite_"))
