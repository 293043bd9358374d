"""Roles keep what a dispute may need in their stores, on the contract itself, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.disputes import liar
from support.federation import Build, SmallFederation

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.roles.base import Worker
from fl_orchestrator.roles.manifests import manifest_cid
from fl_orchestrator.roles.retention import Retention
from fl_orchestrator.roles.watcher.watcher import Watcher, WatcherSettings

MARGIN = 60


@dataclass(frozen=True, slots=True)
class Kept:
    """The rounds whose updates and models are pinned in the store that everybody shares."""

    updates: set[int]
    models: set[int]


class Site:
    """A federation all of whose roles keep what they owe, in one store."""

    def __init__(self, federation: SmallFederation) -> None:
        self.federation = federation

    def retention(self, name: str) -> Retention:
        chain, home = self.federation.federation, self.federation.directory
        return Retention(chain, self.federation.store, home / f"{name}.json", MARGIN)

    def roles(self) -> Iterator[Worker]:
        """All of them anew, as after a restart."""
        for i in range(len(self.federation.parties)):
            yield self.federation.party(i, retention=self.retention(f"party {i}"))
        yield self.federation.aggregator(0, retention=self.retention("aggregator"))
        yield self.watcher()

    def watcher(self, name: str = "watcher") -> Watcher:
        site = self.federation
        retention = self.retention(name)
        context = site.context(site.outsider, site.directory / name, retention=retention)
        return Watcher(context, WatcherSettings(secret=bytes(32)))

    def finalize(self) -> None:
        site = self.federation
        site.pass_until(site.observe().finalizable_at)
        site.send(site.keeper_key, site.federation.finalize())

    def run_round(self, number: int) -> None:
        site = self.federation
        roles = list(self.roles())
        site.run_to(Phase.ACCEPTED, [*roles, site.keeper(number)], number)
        while self.watcher().step().action:
            pass

    def look(self) -> None:
        """Start everybody anew, and let them look at the chain once."""
        for role in self.roles():
            role.step()

    def pinned(self) -> set[Cid]:
        folder = self.federation.directory / "store" / "pinned"
        return {Cid.parse(path.name) for path in folder.iterdir()}

    def kept(self) -> Kept:
        chain, pinned = self.federation.federation, self.pinned()
        updates = {u.round for u in chain.revealed_updates(0) if u.cid in pinned}
        models = map(chain.model, range(chain.head().height + 1))
        return Kept(updates, {model.round for model in models if model.cid in pinned})


def test_what_is_final_is_unpinned_and_the_next_round_goes_on(build: Build) -> None:
    site = Site(build(parties=2))
    site.run_round(1)
    site.run_round(2)
    assert site.kept() == Kept({1, 2}, {0, 1, 2})
    site.finalize()
    site.finalize()
    site.look()
    assert site.kept() == Kept({1, 2}, {0, 1, 2})
    site.federation.pass_until(site.federation.observe().timestamp + MARGIN)
    site.look()
    assert site.kept() == Kept({2}, {0, 1, 2})
    site.run_round(3)
    site.look()
    assert site.kept() == Kept({3}, {0, 2, 3})
    params = site.federation.params
    assert {manifest_cid(params.manifest_digest), params.genesis_cid} <= site.pinned()


def test_nothing_of_a_revoked_round_goes_before_its_signers_have_paid(build: Build) -> None:
    federation: SmallFederation = build(parties=2)
    site = Site(federation)
    site.run_round(1)
    parties = [federation.party(i, retention=site.retention(f"party {i}")) for i in range(2)]
    federation.run_round([*parties, liar(federation)], 2)
    watcher = site.watcher()
    federation.run([watcher], lambda seen: seen.head.round == 1)
    while watcher.step().action:
        pass
    assert federation.federation.head().round == 1
    assert site.kept() == Kept({1, 2}, {0, 1})
    site.finalize()
    site.look()
    assert site.kept() == Kept({1, 2}, {0, 1})


def test_an_aggregator_keeps_in_its_own_store_what_it_has_signed_that_it_holds(
    build: Build, tmp_path: Path
) -> None:
    federation: SmallFederation = build(parties=2)
    own = LocalStore(tmp_path / "own")
    retention = Retention(federation.federation, own, tmp_path / "kept.json")
    aggregator = federation.aggregator(0, retention=retention)
    federation.run_round([federation.party(0), federation.party(1), aggregator], 1)
    head = federation.federation.head()
    updates = federation.federation.revealed_updates(0)
    assert all(own.has(cid) for cid in (head.cid, *(update.cid for update in updates)))
    assert len(updates) == 2


def test_a_watcher_that_comes_late_leaves_alone_what_was_let_go(build: Build) -> None:
    site = Site(build(parties=2))
    for number in (1, 2):
        site.run_round(number)
        site.finalize()
    site.federation.pass_until(site.federation.observe().timestamp + MARGIN)
    site.run_round(3)
    LocalStore(site.federation.directory / "store", grace_seconds=0).collect_garbage()
    late = site.watcher("late watcher")
    actions = []
    while action := late.step().action:
        actions.append(action)
    assert actions == ["check"]
    assert (late.alerts, late.busy) == ((), False)
    assert late.unchecked_rounds == (1, 2)
