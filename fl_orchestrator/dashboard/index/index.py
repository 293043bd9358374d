"""An index of everything that happened in a federation, built from its events block by block.

It is one file, which several processes may use at once: each reads the chain on its own, and what
two have read is written once. After a reorganisation it forgets the blocks that were replaced, and
reads again from the fork on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fl_orchestrator.chain.contract.contract import WIDEST_SPAN
from fl_orchestrator.chain.contract.events import KEPT_SEARCHES, READ_AGAIN
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.logs import LoggedEvent
from fl_orchestrator.dashboard.index.database import Database, is_damage
from fl_orchestrator.dashboard.index.draw import drawn_parties
from fl_orchestrator.dashboard.index.records import kept
from fl_orchestrator.dashboard.index.summary import sum_up
from fl_orchestrator.json_text import to_json
from fl_orchestrator.log import get_logger

_log = get_logger(__name__)

# The blocks of one search follow the number of their events, which bounds the memory.
_FIRST_SPAN: Final = 256
_FEW_EVENTS: Final = 1_000
_MANY_EVENTS: Final = 4_000
# A round's times are shown in lists: where a node's logs have no times, these are read at once.
_MILESTONES: Final = frozenset(
    {"RoundOpened", "RoundAccepted", "RoundFinal", "RoundRevoked", "FraudProven", "Demanded"}
)


@dataclass(slots=True)
class Sync:
    """What a synchronisation has changed: ``rounds`` have other events than before.

    ``fork`` is the last block that is still the same, if a reorganisation was noticed. ``last`` is
    the last block that was read, or -1.
    """

    last: int
    fork: int | None = None
    events: int = 0
    rounds: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Read:
    """What one search has found, not yet written."""

    known: tuple[int, bytes] | None
    last: int
    hash: bytes
    events: Sequence[LoggedEvent]
    times: dict[int, int]


class Index:
    """The index of a federation in the file ``path``; ``from_block`` is that of its deployment.

    One thread may use an object. Raises NoIndex.
    """

    def __init__(self, federation: Federation, path: Path, from_block: int = 0) -> None:
        self._federation = federation
        self._begin = from_block
        self._span = _FIRST_SPAN
        self._again_from = from_block
        self._drawn: dict[tuple[int, int, str], list[int]] = {}
        self.database = Database(path, federation.chain_id, federation.address, from_block)

    @property
    def last(self) -> int:
        """The last block that was read, or the one before the first."""
        known = self._known()
        return known[0] if known else self._begin - 1

    def sync(self, block_number: int, at_most: int | None = None) -> Sync:
        """Read the events up to a block, in at most so many searches.

        Raises ChainError and NoIndex. A damaged file is made anew, and read again from the start.
        """
        if not self.database.is_current:
            self.database.remake()
        found, searches, remade = Sync(-1), 0, False
        while at_most is None or searches < at_most:
            searches += 1
            try:
                again = self._step(block_number, found)
                found.last = self.last
            except sqlite3.DatabaseError as error:
                if remade or not is_damage(error):
                    raise self.database.unusable(error) from error
                _log.warning("the index is damaged", reason=str(error))
                self.database.remake()
                again = remade = True
            if not again:
                break
        if not searches:
            found.last = self.last
        return found

    def _step(self, block_number: int, found: Sync) -> bool:
        """Search the next blocks; returns whether to go on."""
        known = self._known()
        if known is not None and (hash_ := self._federation.block_hash(known[0])) != known[1]:
            if hash_ is None and known[0] - block_number <= READ_AGAIN:
                return False  # a node behind a load balancer that is not there yet
            self._undo(known, found)
            return True
        done = known[0] if known else self._begin - 1
        if done >= block_number:
            return False
        read = self._search(known, block_number)
        if read is None:
            return False
        with self.database.writing() as db:
            if self._known() == known:
                self._write(db, read, found)
        return read.last < block_number

    # ------------------------------------------------------------------ reading

    def _search(self, known: tuple[int, bytes] | None, block_number: int) -> _Read | None:
        begin = known[0] + 1 if known else self._begin
        last = min(block_number, begin + self._span - 1)
        # Read the hash before the logs, so that the next call notices a reorg in between.
        block = self._federation.block(last)
        if block is None:
            return None
        events = self._federation.every_event(self._first_unread(begin, last), last)
        if len(events) > _MANY_EVENTS:
            self._span = max(1, self._span // 2)
        elif len(events) < _FEW_EVENTS:
            self._span = min(WIDEST_SPAN, self._span * 2)
        return _Read(known, last, block[0], events, self._times(events))

    def _first_unread(self, begin: int, last: int) -> int:
        """The first block to read: an earlier one, where blocks turn out to have more events."""
        if last < self._again_from + READ_AGAIN:
            return begin
        first = max(self._begin, min(begin, self._again_from))
        self._again_from = max(begin, last + 1 - READ_AGAIN)
        if first == begin:
            return begin
        known = set(
            self.database.connection.execute(
                "SELECT block, place FROM event WHERE block BETWEEN ? AND ?", (first, begin - 1)
            )
        )
        return begin if self._federation.event_places(first, begin - 1) <= known else first

    def _times(self, events: Sequence[LoggedEvent]) -> dict[int, int]:
        """The times of blocks, as far as the logs have them, and of all milestones."""
        times = {e.block_number: e.time for e in events if e.time is not None}
        for event in events:
            if event.name in _MILESTONES and event.block_number not in times:
                block = self._federation.block(event.block_number)
                if block is not None:
                    times[event.block_number] = block[1]
        return times

    # ------------------------------------------------------------------ writing

    def _write(self, db: sqlite3.Connection, read: _Read, found: Sync) -> None:
        replaced = self._replaced(db, read.events)
        if replaced is not None:
            # The blocks were replaced after the last search: forget them, and read them again.
            self._forget(db, replaced - 1, found)
            return
        rounds = self._insert(db, read.events, found)
        db.executemany(
            "INSERT OR IGNORE INTO block VALUES (?, ?, ?)",
            {e.block_number: (e.block_number, e.block_hash, read.times.get(e.block_number))
             for e in read.events}.values(),
        )  # fmt: skip
        db.execute("INSERT OR REPLACE INTO searched VALUES (?, ?)", (read.last, read.hash))
        db.execute(
            "DELETE FROM searched WHERE last NOT IN "
            "(SELECT last FROM searched ORDER BY last DESC LIMIT ?)",
            (KEPT_SEARCHES,),
        )
        self._sum_up(db, rounds)
        found.rounds |= rounds

    @staticmethod
    def _replaced(db: sqlite3.Connection, events: Sequence[LoggedEvent]) -> int | None:
        """The first of the blocks of these events that is known with another hash."""
        hashes = {event.block_number: event.block_hash for event in events}
        if not hashes:
            return None
        known = db.execute(
            "SELECT number, hash FROM block WHERE number BETWEEN ? AND ? ORDER BY number",
            (min(hashes), max(hashes)),
        )
        return next((n for n, hash_ in known if hashes.get(n, hash_) != hash_), None)

    @staticmethod
    def _insert(db: sqlite3.Connection, events: Sequence[LoggedEvent], found: Sync) -> set[int]:
        """Insert the events that are new; returns their rounds."""
        accounts, sent, rounds = _Accounts(db), _Transactions(db), set[int]()
        for event in events:
            row = kept(event)
            place = (event.block_number, event.log_index, event.name)
            whose = (accounts.number(row.account), sent.number(event, row.round))
            inserted = db.execute(
                "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*place, row.round, *whose, row.amount, row.data),
            ).rowcount
            found.events += inserted
            if inserted and row.round is not None:
                rounds.add(row.round)
        return rounds

    def _sum_up(self, db: sqlite3.Connection, rounds: Iterable[int]) -> None:
        params = self._federation.params()
        for number in rounds:
            summed = sum_up(db, number)
            db.execute("DELETE FROM part WHERE round = ?", (number,))
            if summed is None:
                db.execute("DELETE FROM round WHERE number = ?", (number,))
                continue
            drawn: list[int] = []
            if summed.named_at is not None and summed.sum.seed is not None:
                key = (number, summed.named_at[0], summed.sum.seed)
                if key not in self._drawn:
                    seed, total = bytes.fromhex(summed.sum.seed[2:]), int(summed.sum.party_stake)
                    # Of earlier rounds nothing is asked any more.
                    self._drawn = {
                        key: drawn_parties(db, params, summed.named_at, total, seed),
                        **dict(list(self._drawn.items())[:8]),
                    }
                drawn = self._drawn[key]
            summary = summed.finish(drawn)
            db.execute(
                "INSERT OR REPLACE INTO round VALUES (?, ?)", (number, to_json(summary.to_dict()))
            )
            db.executemany(
                "INSERT INTO part VALUES (?, ?, ?)",
                [(number, account, int(state)) for account, state in summed.parts.items()],
            )

    # ------------------------------------------------------------------ reorganisations

    def _known(self) -> tuple[int, bytes] | None:
        """The last block that was searched, with its hash."""
        row = self.database.connection.execute(
            "SELECT last, hash FROM searched ORDER BY last DESC LIMIT 1"
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def _undo(self, known: tuple[int, bytes], found: Sync) -> None:
        fork = self._fork()
        with self.database.writing() as db:
            if self._known() == known:
                self._forget(db, fork, found)

    def _fork(self) -> int:
        """The last block with a known hash that is on the chain, or the one before the first."""
        blocks = self.database.connection.execute(
            "SELECT last, hash FROM searched UNION SELECT number, hash FROM block ORDER BY 1"
        ).fetchall()
        low, high = 0, len(blocks)
        while low < high:
            middle = (low + high) // 2
            number, hash_ = blocks[middle]
            if self._federation.block_hash(number) == hash_:
                low = middle + 1
            else:
                high = middle
        return blocks[low - 1][0] if low else self._begin - 1

    def _forget(self, db: sqlite3.Connection, fork: int, found: Sync) -> None:
        """Forget the blocks after the fork."""
        _log.info("reorganisation", fork=fork)
        rows = db.execute("SELECT DISTINCT round FROM event WHERE block > ?", (fork,))
        rounds = {number for (number,) in rows if number is not None}
        for table, column in (
            ("event", "block"),
            ("sent", "block"),
            ("block", "number"),
            ("searched", "last"),
        ):
            db.execute(f"DELETE FROM {table} WHERE {column} > ?", (fork,))
        # A search that ended at the fork begins there again.
        if fork >= self._begin and self._known() is None:
            row = db.execute("SELECT hash FROM block WHERE number = ?", (fork,)).fetchone()
            if row is not None:
                db.execute("INSERT INTO searched VALUES (?, ?)", (fork, row[0]))
        db.execute("UPDATE forks SET count = count + 1")
        self._sum_up(db, rounds)
        found.rounds |= rounds
        found.fork = fork if found.fork is None else min(found.fork, fork)

    # ------------------------------------------------------------------ what is read later

    def read_gas(self, at_most: int) -> int:
        """Read the gas of so many transactions that lack it, the newest first; returns how many."""
        rows = self.database.connection.execute(
            "SELECT id, hash FROM sent WHERE gas IS NULL ORDER BY id DESC LIMIT ?", (at_most,)
        ).fetchall()
        read = [
            (*map(str, paid), number)
            for number, hash_ in rows
            if (paid := self._federation.paid(hash_)) is not None
        ]
        if read:
            with self.database.writing() as db:
                db.executemany("UPDATE sent SET gas = ?, fee = ? WHERE id = ?", read)
        return len(read)

    def read_times(self, at_most: int) -> int:
        """Read the times of so many blocks that lack one, the newest first; returns how many.

        Only nodes that give no times with their logs leave any.
        """
        rows = self.database.connection.execute(
            "SELECT number FROM block WHERE time IS NULL ORDER BY number DESC LIMIT ?", (at_most,)
        ).fetchall()
        read = [
            (block[1], number, block[0])
            for (number,) in rows
            if (block := self._federation.block(number)) is not None
        ]
        if read:
            with self.database.writing() as db:
                db.executemany("UPDATE block SET time = ? WHERE number = ? AND hash = ?", read)
        return len(read)


class _Accounts:
    """The numbers of accounts, while one search is written."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: dict[str, int] = {}

    def number(self, address: str | None) -> int | None:
        if address is None:
            return None
        if address not in self._known:
            self._db.execute("INSERT OR IGNORE INTO account (address) VALUES (?)", (address,))
            (self._known[address],) = self._db.execute(
                "SELECT id FROM account WHERE address = ?", (address,)
            ).fetchone()
        return self._known[address]


class _Transactions:
    """The numbers of transactions, while one search is written."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: dict[tuple[bytes, int | None], int] = {}

    def number(self, event: LoggedEvent, round_number: int | None) -> int:
        key = (event.transaction, round_number)
        if key not in self._known:
            (self._known[key],) = self._db.execute(
                "INSERT INTO sent (hash, block, round) VALUES (?, ?, ?) ON CONFLICT (hash) "
                "DO UPDATE SET round = max(ifnull(round, 0), ifnull(excluded.round, 0)) "
                "RETURNING id",
                (event.transaction, event.block_number, round_number),
            ).fetchone()
        return self._known[key]
