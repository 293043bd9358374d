"""The events of a federation as a tracker gets them, with reorganisations and restarts."""

from pathlib import Path

import pytest
import structlog
from support.federation import SmallFederation
from support.reorg import Fork

from fl_orchestrator.tracking.event import Event, Kind, federation_id
from fl_orchestrator.tracking.position import Position, load_position, save_position
from fl_orchestrator.tracking.source import EventSource


@pytest.fixture
def federation(tmp_path: Path) -> SmallFederation:
    return SmallFederation(tmp_path)


def new_position(federation: SmallFederation) -> Position:
    chain = federation.federation
    return Position(federation=federation_id(chain.chain_id, chain.address))


def source_from(federation: SmallFederation, position: Position) -> EventSource:
    return EventSource(federation.federation, federation.deployment.block, position)


def read(federation: SmallFederation, source: EventSource) -> list[Event]:
    """Read until there is nothing new."""
    found: list[Event] = []
    while (batch := source.read(federation.observe().block_number)) is not None:
        found.extend(batch.events)
    return found


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_a_round_is_told_from_its_opening_to_its_outcome(federation: SmallFederation) -> None:
    federation.run_round(federation.everybody())
    events = read(federation, source_from(federation, new_position(federation)))
    told = kinds(events)
    assert told.count("registered") == 4
    assert told.count(Kind.COMMIT) == told.count(Kind.UPDATE) == 3
    assert told.index(Kind.ROUND_OPENED) < told.index(Kind.COMMIT) < told.index(Kind.UPDATE)
    (accepted,) = (event for event in events if event.kind == Kind.ROUND_ACCEPTED)
    head = federation.federation.head()
    assert accepted.round == 1
    assert accepted.values == {
        "height": 1,
        "digest": accepted.values["digest"],
        "reserved": str(federation.terms.reward),
        "committed": 3,
        "revealed": 3,
        "included": 3,
        "weight": 3,
        "signers": 1,
        "root": "0x" + head.root.hex(),
        "cid": str(head.cid),
        "seconds": accepted.values["seconds"],
    }
    assert accepted.values["seconds"] >= 0
    block = federation.federation.block(accepted.block or 0)
    assert block is not None
    assert (accepted.block_hash, accepted.time) == ("0x" + block[0].hex(), block[1])


def test_nothing_new_is_no_batch_but_an_empty_block_moves_the_position(
    federation: SmallFederation,
) -> None:
    position = new_position(federation)
    source = source_from(federation, position)
    assert read(federation, source)
    assert source.read(federation.observe().block_number) is None
    federation.chain.mine()
    batch = source.read(federation.observe().block_number)
    assert batch is not None
    assert batch.events == ()
    assert position.checkpoints[-1].block == federation.observe().block_number


def test_a_restart_from_the_saved_position_tells_nothing_again(
    federation: SmallFederation, tmp_path: Path
) -> None:
    position = new_position(federation)
    before = read(federation, source_from(federation, position))
    save_position(tmp_path / "position.json", position)
    federation.run_round(federation.everybody())

    restored = load_position(tmp_path / "position.json", position.federation)
    after = read(federation, source_from(federation, restored))
    whole = read(federation, source_from(federation, new_position(federation)))
    assert [event.id for event in [*before, *after]] == [event.id for event in whole]
    assert len({event.id for event in whole}) == len(whole)


def test_what_a_reorganisation_removes_is_undone_last_first_and_told_anew(
    federation: SmallFederation,
) -> None:
    source = source_from(federation, new_position(federation))
    read(federation, source)
    fork = Fork(federation.chain)
    federation.run_round(federation.everybody())
    first = read(federation, source)

    fork.reorganise()
    for seconds in (77, *[1] * len(first)):  # other blocks, to beyond the height of before
        federation.chain.mine(seconds)
    federation.mailbox = federation._new_mailbox()
    undone = read(federation, source)
    assert set(kinds(undone)) == {Kind.UNDONE}
    assert [event.values["undoes"] for event in undone] == [event.id for event in reversed(first)]
    assert [event.values["was"] for event in undone] == kinds(first)[::-1]

    federation.open_round()
    again = read(federation, source)
    assert Kind.ROUND_OPENED in kinds(again)
    assert not {event.id for event in first} & {event.id for event in again}


def test_a_reorganisation_deeper_than_the_memory_is_an_alert(
    federation: SmallFederation,
) -> None:
    federation.chain.mine()
    fork = Fork(federation.chain)
    federation.chain.mine()
    position = new_position(federation)
    source = source_from(federation, position)
    events = read(federation, source)
    del position.checkpoints[:-1]
    fork.reorganise()
    federation.chain.mine(5)
    federation.chain.mine(5)
    with structlog.testing.capture_logs() as logs:
        again = read(federation, source)
    assert any("goes back further" in entry["event"] for entry in logs)
    assert len(events) > 4
    assert again == []  # the events themselves are on the chain still


def test_a_node_that_is_some_blocks_behind_undoes_nothing(federation: SmallFederation) -> None:
    source = source_from(federation, new_position(federation))
    before = federation.observe().block_number
    fork = Fork(federation.chain)
    federation.open_round()
    told = read(federation, source)
    assert Kind.ROUND_OPENED in kinds(told)
    # Another node of the same chain, which has the block of before only.
    fork.reorganise()
    assert source.read(before) is None


def test_without_a_new_block_nothing_is_asked(
    federation: SmallFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_from(federation, new_position(federation))
    read(federation, source)
    number = federation.observe().block_number
    monkeypatch.setattr(federation.federation, "node", None)
    assert source.read(number) is None


@pytest.mark.parametrize("damage", ["", "{", '{"federation": "eip155:1:0x0"}', "\x00" * 99])
def test_a_damaged_or_foreign_position_is_replaced_with_an_alert(
    tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "position.json"
    path.write_text(damage)
    with structlog.testing.capture_logs() as logs:
        found = load_position(path, "eip155:5:0xabc")
    assert found == Position(federation="eip155:5:0xabc")
    assert logs[0]["log_level"] == "error"
