"""The index tells of a real federation what its contract and `flo round show` tell."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from support.federation import Build, SmallFederation, consortium
from support.fixtures import build
from support.reorg import Fork

from fl_orchestrator.chain.contract.rounds import read_rounds
from fl_orchestrator.chain.types import Phase, Role
from fl_orchestrator.dashboard.index import queries
from fl_orchestrator.dashboard.index.index import Index
from fl_orchestrator.dashboard.index.summary import Part

__all__ = ["build"]


def index_of(world: SmallFederation, name: str = "index.sqlite") -> Index:
    return Index(world.federation, world.directory / name, world.deployment.block)


def dump(path: Path) -> list[tuple[object, ...]]:
    """All that an index says, without the numbers that it gives to accounts and transactions."""
    with queries.reading(path) as db:
        events = [
            (e.block, e.place, e.name, e.round, e.account, e.amount, sorted(e.data.items()))
            for e in queries.events_named(db, _names(db))
        ]
        rounds = [(r.sum.to_dict(), r.status) for r in queries.rounds(db)]
        parts = sorted((a, sorted(p.items())) for a, p in queries.parts(db, 0).items())
    return [tuple(events), tuple(map(str, rounds)), tuple(map(str, parts))]


def _names(db: sqlite3.Connection) -> list[str]:
    return [name for (name,) in db.execute("SELECT DISTINCT name FROM event")]


def head_block(world: SmallFederation) -> int:
    return world.chain.web3.eth.block_number


def test_it_tells_of_a_round_what_the_contract_tells(build: Build) -> None:
    world = build(parties=3, aggregators=2)
    world.run_round(world.everybody())
    index = index_of(world)
    found = index.sync(head_block(world))
    assert found.rounds == {1}
    assert found.fork is None
    (record,) = read_rounds(world.federation, world.deployment.block, 1, 1)
    with queries.reading(world.directory / "index.sqlite") as db:
        (row,) = queries.rounds(db)
        parts = queries.parts(db, 1)
        members = queries.members(
            db, (world.params.min_party_stake, world.params.min_aggregator_stake), [row]
        )
    assert record.accepted is not None
    assert record.accepted_result is not None
    assert row.status == "accepted"
    assert row.sum.root == "0x" + record.accepted_result.result.global_root.hex()
    assert row.sum.cid == str(record.accepted_result.result.global_cid)
    assert (row.sum.drawn, row.sum.committed, row.sum.revealed, row.sum.included) == (3, 3, 3, 3)
    assert row.sum.signers == len(record.accepted_result.signers)
    assert row.accepted_at == record.accepted_at
    assert {Part.INCLUDED} == {part for found in parts.values() for part in found.values()}
    assert {(m.address, m.role) for m in members} == {
        *((key.address, Role.PARTY) for key in world.parties),
        *((key.address, Role.AGGREGATOR) for key in world.aggregators),
    }
    assert {m.stake for m in members if m.role is Role.PARTY} == {world.terms.min_party_stake}


def test_the_gas_of_a_round_is_that_of_its_transactions(build: Build) -> None:
    world = build(parties=2)
    world.receipts.clear()
    world.run_round(world.everybody())
    index = index_of(world)
    index.sync(head_block(world))
    while index.read_gas(3):
        pass
    with queries.reading(world.directory / "index.sqlite") as db:
        (row,) = queries.rounds(db)
    assert row.unread == 0
    assert row.gas == sum(receipt.gas_used for receipt in world.receipts)


def test_who_is_drawn_of_a_crowd_is_who_the_contract_draws(build: Build) -> None:
    terms = consortium(8, max_parties=100, participants=4, min_updates=1, open_admission=True)
    world = build(
        parties=8, terms=terms, stakes=[(i + 1) * terms.min_party_stake for i in range(8)]
    )
    index = index_of(world)
    seen = []
    for number in (1, 2, 3):
        world.open_round()
        drawn = {key.address for key in world.parties if world.observe(key).drawn}
        index.sync(head_block(world))
        with queries.reading(world.directory / "index.sqlite") as db:
            parts = queries.parts(db, number)
        assert {a for a, p in parts.items() if p.get(number) is Part.DRAWN} == drawn
        seen.append(len(drawn))
        world.pass_until(world.observe().current.commit_end + 1)
    assert 0 < sum(seen) < 24


def test_a_restarted_index_goes_on_where_it_was(build: Build) -> None:
    world = build(parties=2)
    world.run_round(world.everybody())
    index_of(world).sync(head_block(world))
    world.run_round(world.everybody(), 2)
    again = index_of(world)
    found = again.sync(head_block(world))
    assert 2 in found.rounds
    assert again.sync(head_block(world)).events == 0
    index_of(world, "whole.sqlite").sync(head_block(world))
    assert dump(world.directory / "index.sqlite") == dump(world.directory / "whole.sqlite")


def test_what_a_reorganisation_undid_is_forgotten(build: Build) -> None:
    world = build(parties=2)
    world.run_to(Phase.COMMIT, [world.keeper(1)], 1)
    fork = Fork(world.chain)
    world.run_round(world.everybody())
    index = index_of(world)
    index.sync(head_block(world))
    height = head_block(world)
    fork.reorganise()
    world.pass_until(world.observe().current.reveal_end + 1)
    # A chain that is a little shorter may be that of a node which is behind: nothing is forgotten.
    assert index.sync(head_block(world)).fork is None
    while head_block(world) < height:
        world.chain.mine()
    found = index.sync(head_block(world))
    assert found.fork is not None
    assert found.rounds == {1}
    with queries.reading(world.directory / "index.sqlite") as db:
        (row,) = queries.rounds(db)
    assert (row.status, row.sum.committed) == ("open", 0)
    index_of(world, "whole.sqlite").sync(head_block(world))
    assert dump(world.directory / "index.sqlite") == dump(world.directory / "whole.sqlite")


def test_two_indexes_on_one_file_write_everything_once(build: Build) -> None:
    world = build(parties=2)
    one, two = index_of(world), index_of(world)
    for number in (1, 2):
        world.run_round(world.everybody(), number)
        for index in (two, one) if number == 1 else (one, two):
            index.sync(head_block(world))
    index_of(world, "whole.sqlite").sync(head_block(world))
    assert dump(world.directory / "index.sqlite") == dump(world.directory / "whole.sqlite")


@pytest.mark.parametrize("damage", ["text", "cut", "version", "other begin", "middle"])
def test_an_index_that_cannot_be_used_is_made_anew(build: Build, damage: str) -> None:
    world = build(parties=2)
    world.run_round(world.everybody())
    path = world.directory / "index.sqlite"
    index = index_of(world)
    index.sync(head_block(world))
    right = dump(path)
    index.database.close()
    match damage:
        case "text":
            path.write_text("this is no database")
        case "cut":
            path.write_bytes(path.read_bytes()[:5000])
        case "version":
            with sqlite3.connect(path) as db:
                db.execute("UPDATE identity SET version = 0")
        case "other begin":
            Index(world.federation, path, 0).database.close()
        case "middle":
            data = bytearray(path.read_bytes())
            data[len(data) // 2 : len(data) // 2 + 5000] = b"\xff" * 5000
            path.write_bytes(data)
    index_of(world).sync(head_block(world))
    assert dump(path) == right


def test_an_index_that_is_damaged_while_it_is_used_is_made_anew(build: Build) -> None:
    world = build(parties=2)
    world.run_round(world.everybody())
    path = world.directory / "index.sqlite"
    index = index_of(world)
    index.sync(head_block(world))
    right = dump(path)
    index.database.connection.execute("DROP TABLE searched")
    index.sync(head_block(world))
    assert dump(path) == right
