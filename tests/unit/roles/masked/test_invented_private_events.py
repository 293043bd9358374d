"""A node can invent any event of a private federation: whoever reads it goes on, or says so, and is
asked again by the loop of its process. Nobody ends for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hexbytes import HexBytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.disputes import watcher
from support.invention import Invention, Known, Log, LyingNode, encoded, inventions
from support.private_federation import SmallPrivateFederation
from support.reorg import Fork

from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.errors import FloError
from fl_orchestrator.service.loop import PASSING


class Liar:
    """A private federation whose node can be made to lie.

    Its first round has a lock and no result. Its second one, from the same model, is in a phase.
    """

    def __init__(self, directory: Path, phase: Phase, patch: pytest.MonkeyPatch) -> None:
        self.private = private = SmallPrivateFederation(directory, 3, 2)
        node = LyingNode(private.chain.web3, patch)
        self.tell, self.tell_the_truth = node.tell, node.tell_the_truth
        parties = [private.party(i) for i in range(3)]
        seats = [private.private_aggregator(i) for i in range(2)]
        private.run_to(Phase.ATTEST, [*parties, *seats, private.keeper(1)], 1)
        private.run_to(Phase.VOID, [private.keeper(1)], 1)
        keeper = private.keeper(2)
        claiming = seats if phase is Phase.ATTEST else []
        private.run_to(phase, [*parties, *claiming, keeper], 2)
        self.phase = phase
        index = PrivateRoundIndex(private.contract, private.deployment.block)
        index.search_to(private.chain.web3.eth.block_number)
        updates = [*index.updates(1), *index.updates(2)]
        commits = [*index.commits(1), *index.commits(2)]
        self.known = Known(
            private.federation.chain_id,
            private.federation.address,
            (
                bytes(32),
                private.params.genesis_root,
                *(row.key for row in index.seat_table(2)),
                *(bytes(commit.mask_key) for commit in commits),
                *(update.root for update in updates),
            ),
            tuple(k.address for k in (private.outsider, *private.aggregators, *private.parties)),
            (bytes(32), bytes(160)),
            (private.genesis.cid, *(update.cid for update in updates)),
            "PrivateFederation",
        )

    def readers(self) -> dict[str, Callable[[], Any]]:
        """Everybody who reads events, as at the start of its process."""
        private = self.private
        return {
            "party": lambda: _three_steps(private.party(0)),
            "aggregator": lambda: _three_steps(private.private_aggregator(0)),
            "watcher": lambda: _three_steps(watcher(private)),
            "keeper": lambda: _three_steps(private.keeper()),
            "flo party check": self._present_seats,
        }

    def _present_seats(self) -> None:
        index = PrivateRoundIndex(self.private.contract, self.private.deployment.block)
        index.search_to(self.private.chain.web3.eth.block_number)
        index.present_seats()


def _three_steps(role: Any) -> None:
    for _ in range(3):
        role.step()


@pytest.fixture(
    scope="module",
    params=[Phase.REVEAL, Phase.ATTEST],
    ids=lambda phase: phase.name,
)
def liar(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Liar]:
    with pytest.MonkeyPatch.context() as patch:
        yield Liar(tmp_path_factory.mktemp("invented"), request.param, patch)


def _many_seats(accounts: Sequence[str], key: bytes) -> list[Log]:
    """More seats than there can be, before the seed block is named."""
    made = []
    for seat in range(2, 12):
        account = f"0x{seat:040x}"
        made.append(_private("Registered", [account, 1, account, 10**18, seat]))
        made.append(_private("KeySet", [account, key]))
    return made


def _private(name: str, values: list[Any]) -> Log:
    return encoded(name, values, "PrivateFederation")


_LIES: dict[str, Callable[[Sequence[str]], list[Log]]] = {
    "a lock of more than was revealed": lambda _: [_private("Locked", [1, 2**100 + 7])],
    "the earlier round without a lock": lambda _: [_private("Locked", [1, 0])],
    "two accounts at one seat, and one leaves": lambda accounts: [
        _private("Registered", [accounts[0], 1, accounts[0], 10**18, 0]),
        _private("Withdrawn", [accounts[0], 1, accounts[0], 10**18]),
        _private("UnbondRequested", [accounts[1], 1, 1]),
    ],
    "a seat whose stake is no stake": lambda accounts: [
        _private("Registered", [accounts[0], 1, accounts[0], 2**200, 5])
    ],
}


@pytest.mark.parametrize("lie", [*_LIES, "more seats than there can be"])
def test_an_invented_lock_or_seat_ends_no_role(liar: Liar, lie: str) -> None:
    accounts = liar.known.accounts
    make = _LIES.get(lie)
    lies = make(accounts) if make else _many_seats(accounts, liar.known.words[2])
    for first in (True, False):
        fork = Fork(liar.private.chain)

        def invent(logs: list[Log], first: bool = first) -> list[Log]:
            if not logs:
                return logs
            # As the node's first or last events of a search; the stakes are made to add up.
            around = logs[0] if first else logs[-1]
            told = [{**around, "logIndex": n - 100, **lie} for n, lie in enumerate(lies)]
            return _adding_up([*told, *logs] if first else [*logs, *told], lies)

        liar.tell(invent)
        try:
            for reader in liar.readers().values():
                with contextlib.suppress(*PASSING):
                    reader()
        finally:
            liar.tell_the_truth()
            fork.reorganise()


def _adding_up(logs: list[Log], lies: list[Log]) -> list[Log]:
    """With the sum of all registered stakes of aggregators in each naming of a seed block."""
    registered = _private("Registered", ["0x" + "00" * 20, 1, "0x" + "00" * 20, 1, 1])
    named = _private("SeedBlockNamed", [1, 1, 1, 1, 1])
    topic, seed = registered["topics"][0], named["topics"][0]
    if all(lie["topics"][0] != topic for lie in lies):
        return logs
    stakes = [
        int.from_bytes(log["data"][64:96], "big")
        for log in logs
        if log["topics"][0] == topic and int.from_bytes(log["data"][:32], "big") == 1
    ]
    total = sum(stakes).to_bytes(32, "big")
    return [
        {**log, "data": HexBytes(log["data"][:64] + total + log["data"][96:])}
        if log["topics"][0] == seed
        else log
        for log in logs
    ]


def test_no_invented_event_of_a_private_round_ends_a_role(liar: Liar) -> None:
    @given(reader=st.sampled_from(sorted(liar.readers())), invention=inventions(liar.known))
    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    def reads(reader: str, invention: Invention) -> None:
        fork = Fork(liar.private.chain)
        liar.tell(invention)
        try:
            liar.readers()[reader]()
        except FloError as error:
            assert isinstance(error, PASSING)  # noqa: PT017
        finally:
            liar.tell_the_truth()
            fork.reorganise()

    reads()
