"""Exact sums of a private federation of processes, from which parties drop out at every step.

Ten parties, seven aggregators and a keeper with a relay are one process each, on Anvil with a block
each second. In each of six rounds other parties drop out, in the ways of support.drop_outs, and up
to two aggregators are away. Each model must be the average of the updates that the parties have
kept on their disks. It is a part of `make chaos`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from integration.anvil_node import anvil_node
from support.drop_outs import (
    COMMITS_ONLY,
    MISDEALS,
    MISDEALS_TO_ONE,
    NEVER_THERE,
    UNAVAILABLE,
    averaged,
    kept_update,
    unequal_rows,
)
from support.private_federation import packed_manifest
from support.private_processes import PERIOD, PrivateProcesses

from fl_orchestrator.chain.types import Phase, PrivateObservation, included_indices
from fl_orchestrator.cli.logs import silence
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.roles.party.journal import EntryFolder
from fl_orchestrator.roles.party.masked import _MASKS
from fl_orchestrator.roles.vectors import Origin, VectorCache
from fl_orchestrator.training.data import Rows

_CHECKOUT = Path(__file__).resolve().parents[2]
_PARTIES, _SEATS = 10, 7
_SECONDS = 600.0
# So long all that can be fetched is fetched, before the aggregators stop to wait for the rest.
_FETCH_SECONDS = 30
# It comes last into every round, so that a commit phase stays open until others have dropped out.
_LAST = 0
_NAMES = {
    NEVER_THERE: "not there",
    COMMITS_ONLY: "commits only",
    UNAVAILABLE: "unavailable",
    MISDEALS: "misdeals to all",
    MISDEALS_TO_ONE: "misdeals to one seat",
}


@dataclass(frozen=True, slots=True)
class _Round:
    """Which parties drop out of a round, and how; which seats are away."""

    kinds: Mapping[int, int]
    away: frozenset[int] = frozenset()

    def of_kind(self, *kinds: int) -> set[int]:
        return {number for number, kind in self.kinds.items() if kind in kinds}


_ROUNDS = (
    _Round({9: NEVER_THERE}),
    _Round({8: COMMITS_ONLY}, frozenset({6})),
    _Round({7: UNAVAILABLE}, frozenset({5, 6})),
    _Round({5: MISDEALS_TO_ONE}),
    _Round({6: MISDEALS}, frozenset({1})),
    # All at once, with the fewest seats.
    _Round(
        {4: NEVER_THERE, 3: COMMITS_ONLY, 7: UNAVAILABLE, 2: MISDEALS, 5: MISDEALS_TO_ONE},
        frozenset({3, 4}),
    ),
)


class _TenPrivate(PrivateProcesses):
    """An update weighs as many as its party has rows."""

    def rows(self, number: int) -> Rows:
        return unequal_rows(number)

    def start_as(self, number: int, kind: int | None) -> None:
        """Start a party that drops out in a way of its own, or not at all."""
        if kind in (None, NEVER_THERE, COMMITS_ONLY):
            self.start_party(number)
            return
        name = f"party {number}"
        # The relay would store what is to be unavailable.
        known = self.options(name) if kind == UNAVAILABLE else self.working(name)
        store = ["--store", self.store(name)] if kind == UNAVAILABLE else []
        self.run(
            name,
            *("-m", "chaos.drop_out", str(kind), str(self.directory / "elsewhere")),
            *("party", "run", *known, *store, *self.trainer(number), "--seed", "0"),
            environment={"PYTHONPATH": f"{_CHECKOUT}:{_CHECKOUT}/tests"},
        )


class _Play:
    def __init__(self, private: _TenPrivate, rounds: Sequence[_Round]) -> None:
        self.private = private
        self._plans = rounds
        # Who committed only was slashed: its stake is too small to be drawn again.
        self._gone: set[int] = set()
        # Who misdealt is never claimed again.
        self._expelled: set[int] = set()
        self._killed: set[str] = set()
        self._look = VectorCache(private.directory / "look", private.manifest)
        chain = private.chain
        self._origin = Origin(chain.chain_id, chain.address)
        self._numbers = {private.signers[f"party {n}"].address: n for n in range(_PARTIES)}

    def everything(self) -> None:
        self.private.start_keeper(rounds=len(self._plans))
        for number in range(_SEATS):
            self.private.start_aggregator(number)
        before = self._state()
        for number, plan in enumerate(self._plans, 1):
            began = time.monotonic()
            updates = self._play(number, plan)
            after = self._state()
            included = self._included(number)
            right = set(range(_PARTIES)) - self._left_out(plan)
            if included != right:
                sys.exit(f"Round {number} includes {sorted(included)}, and not {sorted(right)}.")
            bits = self.private.manifest.update_fraction_bits
            if after != averaged(before, [updates[n] for n in sorted(included)], bits):
                sys.exit(f"Round {number} is not the sum of the updates of {sorted(included)}.")
            if after == before:
                sys.exit(f"Round {number} has changed nothing.")
            kinds = ", ".join(f"party {n} {_NAMES[kind]}" for n, kind in plan.kinds.items())
            print(
                f"round {number}: {kinds}; {len(plan.away)} seats away: the exact sum of "
                f"{len(included)} updates, {time.monotonic() - began:.0f} s",
                flush=True,
            )
            before = after
            self._gone |= plan.of_kind(COMMITS_ONLY)
            self._expelled |= plan.of_kind(MISDEALS)

    def _left_out(self, plan: _Round) -> set[int]:
        out = plan.of_kind(NEVER_THERE, COMMITS_ONLY, UNAVAILABLE, MISDEALS)
        # All seats but the fooled one have right shares: a quorum of them locks and opens it.
        if 3 * (_SEATS - len(plan.away) - 1) <= 2 * _SEATS:
            out |= plan.of_kind(MISDEALS_TO_ONE)
        return out | self._gone | self._expelled

    # ------------------------------------------------------------------ a round

    def _play(self, number: int, plan: _Round) -> dict[int, tuple[list[int], int]]:
        absent = self._gone | plan.of_kind(NEVER_THERE)
        quiet = plan.of_kind(COMMITS_ONLY)
        there = set(range(_PARTIES)) - absent
        self._begin(plan, there)
        self._wait(number, lambda seen: seen.current.commits == len(there) - 1, "commits")
        self._kill(*(f"party {n}" for n in quiet))
        self._start(_LAST, None)
        self._wait(number, lambda seen: seen.current.commits == len(there), "commits")
        self._kill(*(f"aggregator {n}" for n in plan.away))
        self._end(Phase.COMMIT)
        revealing = there - quiet
        self._wait(number, lambda seen: seen.current.reveals == len(revealing), "reveals")
        self._end(Phase.REVEAL)
        updates = {n: self._kept(n, number) for n in revealing}
        self._stop_before_the_next_round(number, there)
        if plan.of_kind(UNAVAILABLE):
            time.sleep(_FETCH_SECONDS)
            self.private.pass_until(self.private.seen().claims.claim_end - PERIOD // 2)
        claiming = _SEATS - len(plan.away)
        self._wait(
            number,
            lambda seen: seen.claims.claimed_seats.bit_count() == claiming,
            "claims",
        )
        self._end(Phase.CLAIM)
        self._wait(number, lambda seen: seen.head.round == number, "model")
        for seat in plan.away:
            self.private.start(f"aggregator {seat}")
            self._killed.discard(f"aggregator {seat}")
        return updates

    def _begin(self, plan: _Round, there: set[int]) -> None:
        """Start who is not running, or must behave in another way."""
        for number in sorted(there - {_LAST}):
            child = self.private.children.get(f"party {number}")
            if child is None or not child.runs:
                self._start(number, plan.kinds.get(number))

    def _start(self, number: int, kind: int | None) -> None:
        self.private.start_as(number, kind)
        self._killed.discard(f"party {number}")

    def _stop_before_the_next_round(self, number: int, there: set[int]) -> None:
        """Everybody who behaves in another way in this round or the next one, and comes last."""
        changed = {_LAST}.union(*(plan.kinds for plan in self._plans[number - 1 : number + 1]))
        self._kill(*(f"party {n}" for n in changed & there))

    def _kill(self, *names: str) -> None:
        self.private.kill(*names)
        self._killed.update(names)

    def _wait(self, number: int, done: Callable[[PrivateObservation], bool], what: str) -> None:
        """Wait until something is done in a round, or its model is there already."""

        def there(seen: PrivateObservation) -> bool:
            if seen.head.round >= number:
                return True
            for name, child in self.private.children.items():
                if not child.runs and name not in self._killed | {"keeper"}:
                    sys.exit(f"{name} has ended by itself:\n{child.tail()}")
            if seen.current.round > number or seen.current.phase is Phase.VOID:
                sys.exit(f"Round {number} has no {what}: {seen}\n{self.private.tails()}")
            return seen.current.round == number and done(seen)

        self.private.wait(there, _SECONDS, f"round {number} has its {what}")

    def _end(self, phase: Phase) -> None:
        """Let a phase end by its time, if it goes on."""
        seen = self.private.seen()
        if seen.current.phase is phase:
            ends = {
                Phase.COMMIT: seen.current.commit_end,
                Phase.REVEAL: seen.current.reveal_end,
                Phase.CLAIM: seen.claims.claim_end,
            }
            self.private.pass_until(ends[phase])

    # ------------------------------------------------------------------ what is checked

    def _kept(self, party: int, number: int) -> tuple[list[int], int]:
        journal = EntryFolder(self.private.home(f"party {party}") / "journal", _MASKS)
        weight = journal.load(number, lambda values: int(values["weight"]))
        if weight is None:
            sys.exit(f"Party {party} has kept no update of round {number}.")
        return kept_update(journal.path(number), weight, self.private.manifest.layout)

    def _state(self) -> list[int]:
        head = self.private.chain.head()
        store = open_store(self.private.store("keeper"))
        file = self._look.fetch(store, head.cid, head.root, self._origin.state(head.round))
        return [int(value) for value in self._look.load(file)]

    def _included(self, number: int) -> set[int]:
        chain = self.private.chain
        digest = chain.accepted_digests(0)[number]
        places = included_indices(chain.proposed_results(0)[digest].included)
        updates = chain.revealed_updates(0, round_number=number)
        return {self._numbers[update.party] for update in updates if update.index in places}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    numbers = range(1, len(_ROUNDS) + 1)
    parser.add_argument("--only", type=int, nargs="+", choices=numbers, default=[*numbers])
    rounds = [_ROUNDS[number - 1] for number in parser.parse_args().only]
    silence()
    with tempfile.TemporaryDirectory(prefix="flo-ten-") as scratch:
        directory = Path(scratch)
        with anvil_node(_CHECKOUT, directory / "anvil.log") as node:
            rpc = f"{node.url},http://localhost:{node.port}"
            manifest = packed_manifest(samples_per_weight=1)
            began = time.monotonic()
            private = _TenPrivate(directory, node, _PARTIES, _SEATS, rpc, manifest=manifest)
            try:
                _Play(private, rounds).everything()
            finally:
                private.stop()
            print(
                f"{_PARTIES} parties, {_SEATS} aggregators, a keeper with a relay, a process each: "
                f"{len(rounds)} rounds in {time.monotonic() - began:.0f} s"
            )


main()
