"""Whatever blocks a chain replaces, the index says what one that was built anew says."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.logs import LoggedEvent
from fl_orchestrator.dashboard.index import queries
from fl_orchestrator.dashboard.index.index import Index
from fl_orchestrator.model.keccak import keccak256

ADDRESS = "0x" + "ab" * 20
PARTIES = ["0x" + f"{i + 1:040x}" for i in range(4)]
MOST = 40


@dataclasses.dataclass
class Chain:
    """A federation whose blocks the test makes and replaces; a block is its hash and its events."""

    chain_id: int = 5
    address: str = ADDRESS
    blocks: list[tuple[bytes, list[LoggedEvent]]] = dataclasses.field(default_factory=list)
    made: int = 0
    asked: int = 0

    def params(self) -> Any:
        return SimpleNamespace(min_party_stake=1, max_parties=4, participants=4)

    def mine(self, kinds: list[int]) -> None:
        number = len(self.blocks)
        self.made += 1
        hash_ = keccak256(f"{number} {self.made}".encode())
        events = [self._event(number, hash_, place, kind) for place, kind in enumerate(kinds)]
        self.blocks.append((hash_, events))

    def _event(self, number: int, hash_: bytes, place: int, kind: int) -> LoggedEvent:
        round_number, party = 1 + number // 4, PARTIES[kind % 4]
        kinds: list[tuple[str, dict[str, Any]]] = [
            (
                "Registered",
                {"account": party, "role": 0, "beneficiary": party, "stake": 5, "seat": 0},
            ),
            ("Committed", {"round": round_number, "party": party, "commitment": hash_}),
            ("DuplicateUpdate", {"round": round_number, "party": party, "root": hash_}),
            ("RoundVoided", {"round": round_number}),
            ("Credited", {"round": round_number, "account": party, "amount": kind}),
        ]
        name, values = kinds[kind % 5]
        sent = keccak256(f"{number} {self.made} {place // 2}".encode())
        return LoggedEvent(number, hash_, place, sent, 1000 + number, name, values)

    def block(self, number: int) -> tuple[bytes, int] | None:
        self.asked += 1
        return (self.blocks[number][0], 1000 + number) if number < len(self.blocks) else None

    def block_hash(self, number: int) -> bytes | None:
        found = self.block(number)
        return found and found[0]

    def every_event(self, first: int, last: int) -> list[LoggedEvent]:
        return [e for _, events in self.blocks[first : last + 1] for e in events]

    def event_places(self, first: int, last: int) -> set[tuple[int, int]]:
        return {(e.block_number, e.log_index) for e in self.every_event(first, last)}

    def paid(self, _transaction: bytes) -> tuple[int, int] | None:
        return 21_000, 21_000


def said(path: Path) -> list[Any]:
    with queries.reading(path) as db:
        names = [name for (name,) in db.execute("SELECT DISTINCT name FROM event")]
        return [
            queries.events_named(db, names),
            queries.rounds(db),
            queries.parts(db, 0),
            queries.members(db, (1, 1), queries.rounds(db)),
        ]


BLOCK = st.lists(st.integers(0, 19), max_size=4)
STEP = st.one_of(
    st.tuples(st.just("mine"), st.lists(BLOCK, min_size=1, max_size=6)),
    st.tuples(st.just("replace"), st.integers(1, 30)),
    st.tuples(st.just("sync"), st.integers(0, 2)),
    st.tuples(st.just("restart"), st.just(0)),
)


@settings(max_examples=40)
@given(steps=st.lists(STEP, max_size=25))
def test_after_any_reorganisation_the_index_is_that_of_the_chain(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, chain = Path(directory) / "index.sqlite", Chain()
        chain.mine([0, 5, 10])
        index = Index(cast(Federation, chain), path)
        for what, how in steps:
            if what == "mine":
                for kinds in how:
                    chain.mine(kinds)
            elif what == "replace":
                # As many blocks and one more: a chain that replaces another is longer.
                kept, length = max(1, len(chain.blocks) - how), len(chain.blocks)
                del chain.blocks[kept:]
                while len(chain.blocks) <= length:
                    chain.mine([len(chain.blocks) % 7, chain.made % 5])
            elif what == "restart":
                index.database.close()
                index = Index(cast(Federation, chain), path)
            else:
                index.sync(len(chain.blocks) - 1, at_most=how)
                index.read_gas(3)
        index.sync(len(chain.blocks) - 1)
        whole = Index(cast(Federation, chain), Path(directory) / "whole.sqlite")
        whole.sync(len(chain.blocks) - 1)
        for one in (index, whole):
            while one.read_gas(50):
                pass
        assert said(path) == said(Path(directory) / "whole.sqlite")
        index.database.close()
        whole.database.close()


@pytest.mark.parametrize("depth", [1, 20, 500])
def test_a_fork_is_found_with_few_requests(tmp_path: Path, depth: int) -> None:
    chain = Chain()
    for number in range(600):
        chain.mine([number % 20] if number % 3 == 0 else [])
    index = Index(cast(Federation, chain), tmp_path / "index.sqlite")
    for last in range(9, 600, 10):
        index.sync(last)
    del chain.blocks[600 - depth :]
    for _ in range(depth + 1):
        chain.mine([])
    chain.asked = 0
    found = index.sync(len(chain.blocks) - 1)
    assert found.fork is not None
    assert 600 - depth - 12 <= found.fork <= 600 - depth
    assert chain.asked < 20


def test_blocks_that_a_node_had_not_yet_are_read_again(tmp_path: Path) -> None:
    chain = Chain()
    for _ in range(40):
        chain.mine([1])
    hidden, chain.blocks[20] = chain.blocks[20], (chain.blocks[20][0], [])
    index = Index(cast(Federation, chain), tmp_path / "index.sqlite")
    index.sync(20)
    chain.blocks[20] = hidden
    for last in range(21, 40):
        index.sync(last)
    with queries.reading(tmp_path / "index.sqlite") as db:
        assert len(queries.events_named(db, ["Committed"])) == 40
