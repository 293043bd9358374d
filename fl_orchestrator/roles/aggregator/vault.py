"""An aggregator's encryption keys, and the locks that it confirmed and released: one file.

Whoever has the keys, and may release twice in a round, can open a single party's update. So the
file belongs into no backup: an aggregator that lost it makes a new key, and confirms nothing until
a round that is later than all that it has seen, and that has the new key. See docs/protocol.md,
section 12.6.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eth_keyfile import keyfile
from pydantic_core import from_json

from fl_orchestrator.content.store import StoreFull
from fl_orchestrator.errors import KeyStoreError, VerificationError
from fl_orchestrator.json_text import to_json
from fl_orchestrator.privacy.keys import public_key, secret_of

# FULL: a change survives a power failure. DELETE: there is no second file beside this one.
_SCHEMA: Final = """
    PRAGMA journal_mode = DELETE;
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    CREATE TABLE IF NOT EXISTS keys (
        public BLOB PRIMARY KEY, keystore TEXT NOT NULL, after INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS locks (
        kind TEXT NOT NULL, round INTEGER NOT NULL, word BLOB NOT NULL,
        PRIMARY KEY (kind, round)
    );
    CREATE TABLE IF NOT EXISTS members (
        base_root BLOB NOT NULL, party TEXT NOT NULL, weight INTEGER NOT NULL,
        PRIMARY KEY (base_root, party)
    );
    CREATE TABLE IF NOT EXISTS misdealers (party TEXT PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS claims (round INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS seat (
        chain_id INTEGER NOT NULL, federation TEXT NOT NULL, account TEXT NOT NULL
    );
"""
_NOT_WRITTEN: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class LockRefused(VerificationError):
    """Another lock of the round was confirmed or released before."""


@dataclass(frozen=True, slots=True)
class Lock:
    """The updates of a round that are opened together.

    ``word`` is `privacy.context.lock_of`. ``members`` are the locked parties with their weights: no
    others may be opened on this base root from then on.
    """

    round: int
    base_root: bytes
    word: bytes
    members: frozenset[tuple[str, int]]


class Vault:
    """The file of one aggregator's secrets, of mode 600; the keys are encrypted with its password.

    Every change is on disk when the method returns. ``draw`` gives 32 random bytes. ``stretch``
    slows down the guessing of a password that a person chose, and the opening of the file.

    Raises KeyStoreError if the file cannot be used or the password is wrong, and StoreFull if the
    disk is full. Used by one thread.
    """

    def __init__(
        self,
        path: Path,
        password: str,
        draw: Callable[[], bytes] = lambda: secrets.token_bytes(32),
        *,
        stretch: bool = True,
    ) -> None:
        self._path = path
        self._password = password.encode()
        self._draw = draw
        self._stretch = stretch
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._translated_errors():
            path.touch(0o600)
            path.chmod(0o600)
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.executescript(_SCHEMA)
        rows = self._rows("SELECT public, keystore FROM keys")
        self._secrets = {public: self._opened(public, keystore) for public, keystore in rows}

    def close(self) -> None:
        self._database.close()

    def bind(self, chain_id: int, federation: str, account: str, opened: int) -> None:
        """Use the file for one seat of one federation, whose last opened round is ``opened``.

        Raises KeyStoreError if it is that of another seat: its locks say nothing of this one's.
        """
        seat = (chain_id, federation.lower(), account.lower())
        bound = self._rows("SELECT chain_id, federation, account FROM seat")
        if not bound:
            with self._translated_errors(), self._database:
                self._database.execute("BEGIN IMMEDIATE")
                self._database.execute("INSERT INTO seat VALUES (?, ?, ?)", seat)
                self._serve_after(opened)
        elif bound != [seat]:
            raise KeyStoreError(
                f"{self._path} is of another federation or account: {bound[0][2]} in "
                f"{bound[0][1]} on chain {bound[0][0]}.",
                "Give the file of this one with --encryption, or make one with "
                "`flo keys new --encryption`.",
            )

    def serve_after(self, round_number: int) -> None:
        """Let no key here serve rounds until this one: what the seat confirmed there is not known.

        The file is new then, or an older copy, which the chain shows by a later claim of the seat.
        """
        with self._translated_errors(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._serve_after(round_number)

    def _serve_after(self, round_number: int) -> None:
        self._database.execute("UPDATE keys SET after = MAX(after, ?)", (round_number,))
        self._database.execute("INSERT OR IGNORE INTO claims VALUES (?)", (round_number,))

    # ------------------------------------------------------------------ keys

    @property
    def newest(self) -> bytes | None:
        """The public key that was made last, if there is one."""
        return next(
            (row[0] for row in self._rows("SELECT public FROM keys ORDER BY rowid DESC")), None
        )

    def __contains__(self, public: bytes) -> bool:
        """Whether the secret of a public key is here."""
        return public in self._secrets

    def make_key(self, after: int) -> bytes:
        """Make a key for rounds later than ``after``; return its public key."""
        secret = secret_of(self._draw())
        public = public_key(secret)
        self._write("INSERT INTO keys VALUES (?, ?, ?)", public, self._encrypted(secret), after)
        self._secrets[public] = secret
        return public

    def secret(self, public: bytes, round_number: int) -> bytes | None:
        """The secret of a public key; None if it is not here, or must not serve this round."""
        rows = self._rows("SELECT after FROM keys WHERE public = ?", public)
        return next((self._secrets[public] for (after,) in rows if after < round_number), None)

    @property
    def made_after(self) -> int:
        """The round after which the newest key was made; 0 if there is none."""
        rows = self._rows("SELECT after FROM keys ORDER BY rowid DESC LIMIT 1")
        return int(rows[0][0]) if rows else 0

    def erase_keys(self, needed: Collection[bytes]) -> int:
        """Erase all keys but the newest and ``needed``; return how many were erased."""
        old = set(self._secrets) - {*needed, self.newest}
        for public in old:
            self._write("DELETE FROM keys WHERE public = ?", public)
            del self._secrets[public]
        return len(old)

    # ------------------------------------------------------------------ locks

    @property
    def last_claim(self) -> int:
        """The last round for which a claim was recorded; 0 if none was."""
        return int(self._rows("SELECT COALESCE(MAX(round), 0) FROM claims")[0][0])

    def note_claim(self, round_number: int) -> None:
        """Record that the seat claims in a round, before anybody can see the claim."""
        self._write("INSERT OR IGNORE INTO claims VALUES (?)", round_number)

    def list_of(self, base_root: bytes) -> frozenset[tuple[str, int]] | None:
        """The members of the first lock on a base root that was confirmed or released here."""
        rows = self._rows("SELECT party, weight FROM members WHERE base_root = ?", base_root)
        return frozenset(rows) or None

    def confirmed(self, round_number: int) -> bytes | None:
        """The one lock of a round that was confirmed here."""
        return self._lock("confirmed", round_number)

    def released(self, round_number: int) -> bytes | None:
        """The one lock of a round for which pieces were released here."""
        return self._lock("released", round_number)

    def confirm(self, lock: Lock) -> None:
        """Record that a lock is confirmed. Raises LockRefused if another one of its round is."""
        self._record("confirmed", lock)

    def release(self, lock: Lock) -> None:
        """Record that pieces are released for a lock. Raises LockRefused if they were for another.

        It may be another lock than the one that was confirmed here, after a reorganisation.
        """
        self._record("released", lock)

    def misdealers(self) -> frozenset[str]:
        """The parties that are proven to have misdealt in any round."""
        return frozenset(party for (party,) in self._rows("SELECT party FROM misdealers"))

    def expel(self, party: str) -> None:
        """Record that a party misdealt: it is never claimed again, and leaves every list."""
        self._write("INSERT OR IGNORE INTO misdealers VALUES (?)", party)

    def _lock(self, kind: str, round_number: int) -> bytes | None:
        query = "SELECT word FROM locks WHERE kind = ? AND round = ?"
        return next((word for (word,) in self._rows(query, kind, round_number)), None)

    def _record(self, kind: str, lock: Lock) -> None:
        earlier = self._lock(kind, lock.round)
        if earlier == lock.word:
            return
        if earlier is not None:
            raise LockRefused(f"Another lock of round {lock.round} was {kind} before.")
        with self._translated_errors(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute(
                "INSERT INTO locks VALUES (?, ?, ?)", (kind, lock.round, lock.word)
            )
            if self.list_of(lock.base_root) is None:
                self._database.executemany(
                    "INSERT INTO members VALUES (?, ?, ?)",
                    [(lock.base_root, party, weight) for party, weight in lock.members],
                )

    # ------------------------------------------------------------------ the file

    def _encrypted(self, secret: bytes) -> str:
        if self._stretch:
            keystore = keyfile.create_keyfile_json(secret, self._password, kdf="scrypt")
        else:
            keystore = keyfile.create_keyfile_json(
                secret, self._password, kdf="pbkdf2", iterations=1
            )
        return to_json(keystore)

    def _opened(self, public: bytes, keystore: str) -> bytes:
        try:
            secret = bytes(keyfile.decode_keyfile_json(from_json(keystore), self._password))
            if public_key(secret) == public:
                return secret
        except Exception as error:  # eth-keyfile raises many types for a damaged field
            if "MAC mismatch" in str(error):
                raise KeyStoreError(
                    f"The password does not open {self._path}.",
                    "Nothing was sent; try again with the right password.",
                ) from error
            raise self._damaged() from error
        raise self._damaged()

    def _damaged(self) -> KeyStoreError:
        return KeyStoreError(
            f"{self._path} is damaged.",
            "Delete it: the aggregator makes a new key, and takes no part until a later round has "
            "that key. Never restore an older copy: it could open a single party's update.",
        )

    def _rows(self, query: str, *values: object) -> list[Any]:
        with self._translated_errors():
            return self._database.execute(query, values).fetchall()

    def _write(self, statement: str, *values: object) -> None:
        with self._translated_errors():
            self._database.execute(statement, values)

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            # A quota or a limit on files is an I/O error to SQLite.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_WRITTEN:
                raise StoreFull(
                    f"There is no room on the disk for {self._path}: {error}.",
                    "Free some space there: nothing is confirmed or released until then.",
                ) from error
            if isinstance(error, sqlite3.OperationalError):
                raise KeyStoreError(f"{self._path} cannot be used: {error}.") from error
            raise self._damaged() from error
        except OSError as error:
            raise KeyStoreError(f"{self._path} cannot be used: {error.strerror}.") from error
