"""A party without data searches the shared store for the others' updates throughout the commit
phase, to find one that it can still commit to.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.adversary import Adversary
from support.federation import Build
from support.kubo_daemon import find_kubo, kubo_daemon

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.types import Phase, Update
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import ContentStore


@dataclass(frozen=True, slots=True)
class Shared:
    """A store that everybody can read, and the names of all its content."""

    store: ContentStore
    listed: Callable[[], set[str]]


@pytest.fixture(params=["directory", "kubo"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shared]:
    directory = tmp_path / "shared"
    if request.param == "directory":
        store = LocalStore(directory)
        yield Shared(store, lambda: {path.name for path in directory.rglob("*") if path.is_file()})
        return
    program = find_kubo()
    if program is None:
        pytest.skip("no IPFS node program: install Kubo, or run scripts/build_kubo.sh")
    with kubo_daemon(program, directory) as node:
        yield Shared(open_store(node.url), lambda: set(node.run("refs", "local").split()))


def test_nothing_of_an_update_is_there_before_the_commit_phase_has_closed(
    build: Build, shared: Shared
) -> None:
    federation = build(parties=3)
    with federation.store.get(federation.genesis.cid, 1 << 20) as genesis:
        shared.store.put(io.BytesIO(genesis.read()))
    before = shared.listed()
    relay = federation.mailbox
    thief = Adversary(federation, 2)

    seen = federation.open_round()
    # This also holds if their processes restart at every step, and until the last second.
    for _ in range(3):
        for number in range(2):
            federation.party(number, store=shared.store).step()
            assert shared.listed() == before
    federation.pass_until(seen.current.commit_end - 1)
    victims = [federation.party(number, store=shared.store, relay=relay) for number in range(2)]
    assert [victim.step().action for victim in victims] == [None, None]
    assert federation.observe().current.commits == 2
    assert shared.listed() == before
    assert relay.waiting(1, Update) == []

    # One second later the first update is in the store, but it is too late to commit to a copy.
    federation.pass_until(seen.current.commit_end)
    assert federation.party(0, store=shared.store).step().action == "reveal"
    (reveal,) = federation.federation.revealed_updates(0)
    assert str(reveal.cid) in shared.listed() - before
    with shared.store.get(reveal.cid, 1 << 20) as stream:
        copy = thief.update(stream.read(), reveal.root)
    late = federation.federation.commit(1, thief.commitment(copy))
    assert thief.attempt(late) is ContractError.WrongPhase
    assert federation.observe().current.phase is Phase.REVEAL
