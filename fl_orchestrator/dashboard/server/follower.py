"""The thread that reads the chain: it keeps the index up to date, and posts the state."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from requests import RequestException

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.types import Observation, Role
from fl_orchestrator.dashboard.index import queries
from fl_orchestrator.dashboard.index.index import Index, Sync
from fl_orchestrator.dashboard.server.alerts import coin_alerts, content_alerts, dispute_alerts
from fl_orchestrator.dashboard.server.board import Board
from fl_orchestrator.dashboard.server.contents import ContentWatch
from fl_orchestrator.dashboard.server.measures import Measures
from fl_orchestrator.dashboard.server.state import moment, moment_json
from fl_orchestrator.errors import FloError
from fl_orchestrator.log import get_logger
from fl_orchestrator.printable import printable

_log = get_logger(__name__)

_SEARCHES_AT_ONCE: Final = 4
_READ_LATER_AT_ONCE: Final = 32
_BALANCES_AT_ONCE: Final = 4
# A transaction of a role; an account that cannot pay for some of them is low on coin.
_GAS_OF_SOME_ROUNDS: Final = 1_000_000
_BLOCKS_FOR_PERIOD: Final = 32


class Follower:
    """Reads a federation's chain until it is closed. ``poll`` is in seconds."""

    def __init__(
        self,
        chain: Federation,
        index: Index,
        board: Board,
        contents: ContentWatch,
        measures: Sequence[Measures] = (),
        *,
        poll: float = 1.0,
    ) -> None:
        self._chain = chain
        self._index = index
        self.board = board
        self._contents = contents
        self._measures = measures
        self._poll = poll
        self._rows: list[queries.RoundRow] = []
        self._members: list[queries.Member] = []
        self._disputes: list[Any] = []
        self._blocks: deque[tuple[int, int]] = deque(maxlen=_BLOCKS_FOR_PERIOD)
        self._balances: dict[str, int] = {}
        self._gas_price = 0
        self._turn = 0
        #: It changes with the rounds and the accounts; ``epoch`` with a reorganisation.
        self.data_version = 0
        self.epoch = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dashboard", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    @property
    def rows(self) -> list[queries.RoundRow]:
        """All rounds, as they were read last."""
        return self._rows

    @property
    def members(self) -> list[queries.Member]:
        return self._members

    def series(self) -> list[Any]:
        return [one.series() for one in self._measures]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                behind = self.look()
                self.board.heard()
            except (FloError, RequestException, OSError) as error:
                behind = False
                self.board.failed(printable(str(error)))
            except Exception as error:
                behind = False
                _log.exception("the dashboard's reading failed")
                self.board.failed(f"A defect of flo: {type(error).__name__}.")
            self._stop.wait(0 if behind else self._poll)

    def look(self) -> bool:
        """Read what is new, and post it; returns whether there is more. Raises ChainError."""
        seen = self._chain.observe(self._chain.address)
        if not self._blocks or self._blocks[-1][0] != seen.block_number:
            self._blocks.append((seen.block_number, seen.timestamp))
            self._seen_at = time.time()
        # The page shows the round at once, and then how much of the history was read.
        at_most = _SEARCHES_AT_ONCE if self.data_version else 0
        found = self._index.sync(seen.block_number, at_most)
        read = 0
        if found.last >= seen.block_number:
            read = self._index.read_gas(_READ_LATER_AT_ONCE)
            read += self._index.read_times(_READ_LATER_AT_ONCE)
        news = self._index.database.written_elsewhere() or found.events or found.fork is not None
        if news or read or not self.data_version:
            self._reload(bool(news))
        self._contents.watch(seen, self._rows[-1] if self._rows else None, self._index)
        self._post(seen, found)
        self._look_at_balances()
        return found.last < seen.block_number or bool(read)

    def _reload(self, news: bool) -> None:
        """Read the rounds; and the accounts, where there is more than gas that was not known."""
        db = self._index.database.connection
        self._rows = queries.rounds(db)
        if news or not self.data_version:
            params = self._chain.params()
            least = (params.min_party_stake, params.min_aggregator_stake)
            self._members = queries.members(db, least, self._rows)
            self._disputes = queries.events_named(db, queries.DISPUTES, 500)
        self.epoch = queries.forks(db)
        self.data_version += 1

    def _look_at_balances(self) -> None:
        """Read the balances of some accounts, in turn. Raises RequestRefused."""
        here = [m.address for m in self._members if m.state != "left"]
        if not here:
            return
        node = self._chain.node
        with self._chain.reverts.translated():
            if self._turn % max(1, len(here)) < _BALANCES_AT_ONCE:
                self._gas_price = node.gas_price
            for _ in range(min(len(here), _BALANCES_AT_ONCE)):
                address = here[self._turn % len(here)]
                self._balances[address] = node.balance(address)
                self._turn += 1

    # ------------------------------------------------------------------ the state

    def _post(self, seen: Observation, found: Sync) -> None:
        params = self._chain.params()
        row = self._rows[-1] if self._rows else None
        if row is not None and row.sum.number != seen.current.round:
            row = None
        self.board.post(
            chain=self._chain_json(seen, found),
            head={
                "round": seen.head.round,
                "height": seen.head.height,
                "root": "0x" + seen.head.root.hex(),
                "cid": str(seen.head.cid),
                "final": seen.final_height,
                "finalizable_at": seen.finalizable_at or None,
                "window": params.challenge_period,
            },
            round=moment_json(self._moment(seen, row)) | self._stakes(row),
            accounts=self._counts(),
            alerts=self._alerts(),
            totals={
                "rounds": self._rows[-1].sum.number if self._rows else 0,
                "disputes": sum(r.sum.frauds + r.sum.demands for r in self._rows),
                "pot": str(seen.free_pot),
            },
            data={"version": self.data_version, "epoch": self.epoch},
            **self._contents.found,
        )

    def _chain_json(self, seen: Observation, found: Sync) -> dict[str, Any]:
        (first, began), (last, ended) = self._blocks[0], self._blocks[-1]
        period = (ended - began) / (last - first) if last > first else None
        return {
            "id": self._chain.chain_id,
            "block": seen.block_number,
            "time": seen.timestamp,
            "seen_at": round(self._seen_at, 1),
            "period": period,
            "indexed": found.last,
        }

    def _moment(self, seen: Observation, row: queries.RoundRow | None) -> Any:
        db, number = self._index.database.connection, seen.current.round
        parts = {a: p[number] for a, p in queries.parts(db, number).items() if number in p}
        signed = [a for a, p in queries.signatures(db, number).items() if number in p]
        claimed = [
            r.account
            for r in queries.events_of_round(db, number)
            if r.name == "Claimed" and r.account
        ] if row is not None and row.sum.claims else []  # fmt: skip
        return moment(seen, self._chain.params(), row, parts, self._members, signed, claimed)

    @staticmethod
    def _stakes(row: queries.RoundRow | None) -> dict[str, Any]:
        """The signed stake, of which more than two thirds accept a model; in wei."""
        signed, frozen = (row.sum.signed_stake, row.sum.aggregator_stake) if row else ("0", "0")
        return {"signed": signed, "frozen": frozen}

    def _counts(self) -> dict[str, Any]:
        """Registered, active and missing are three things."""
        found = {}
        for role in Role:
            here = [m for m in self._members if m.role is role and m.state != "left"]
            found[role.name.lower()] = {
                "registered": len(here),
                "active": sum(m.state == "active" for m in here),
                "missing": sum(is_missing(m, self._rows) for m in here),
            }
        return found

    def _alerts(self) -> list[dict[str, Any]]:
        params = self._chain.params()
        here = sorted({m.address for m in self._members if m.state != "left"})
        least = _GAS_OF_SOME_ROUNDS * self._gas_price
        return [
            dataclasses.asdict(alert)
            for alert in (
                *dispute_alerts(self._disputes, self._rows, params.answer_period),
                *content_alerts(self._contents.missing),
                *coin_alerts(self._balances, least, here),
            )
        ]


def is_missing(member: queries.Member, rows: Sequence[queries.RoundRow]) -> bool:
    """Whether an active member had a part in the last round that ended, and did not take it."""
    if member.state != "active":
        return False
    if member.absent:
        return True
    ended = [r.sum.number for r in rows if r.status != "open"]
    signed = [r.sum.number for r in rows if r.status in ("accepted", "final")]
    if member.role is Role.AGGREGATOR:
        return bool(signed) and 0 < member.last_round < signed[-1]
    return bool(ended) and bool(member.rounds) and member.last_round < ended[-1]
