"""A flood of demands against honest signers: they share the work, and nothing else waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.disk import overwrite
from support.disputes import flood, stakes, submit_updates, vector_federation
from support.federation import SmallFederation

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.store import StoreUnavailable
from fl_orchestrator.errors import FloError
from fl_orchestrator.model.vector_file import read_tree
from fl_orchestrator.roles.aggregator import trees
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.units import ETHER


def signed_round(directory: Path, aggregators: int, **terms: Any) -> SmallFederation:
    """A federation whose aggregators have all signed the right model of round 1."""
    federation = vector_federation(directory, updates=2, aggregators=aggregators, **terms)
    submit_updates(federation)
    for number in range(aggregators):
        assert federation.aggregator(number).step().action == "attest"
    return federation


def responder(federation: SmallFederation, number: int) -> Responder:
    home = federation.home("aggregators", number)
    context = federation.context(federation.aggregators[number], home)
    return Responder(context, context.round_index())


def answered(federation: SmallFederation) -> dict[int, str]:
    return {answer.id: answer.answerer for answer in federation.federation.answers(0)}


def test_the_signers_of_a_result_share_a_flood_and_pay_for_no_answer_twice(tmp_path: Path) -> None:
    federation = signed_round(tmp_path, aggregators=3)
    flood(federation, 12)
    roles = [responder(federation, number) for number in range(3)]
    with capture_logs() as logs:
        # All of them decide before any of them sees what the others did.
        for role in roles:
            role._rounds.search_to(federation.observe().block_number)
        assert [role.step().action for role in roles] == ["answer"] * 3
        for role in roles:
            role.step()
    assert [role.answered for role in roles] == [4, 4, 4]
    assert set(answered(federation)) == set(range(1, 13))
    assert not [log for log in logs if log["event"] in ("failed", "refused")]


def test_who_does_not_answer_is_replaced_before_half_of_the_time_is_over(tmp_path: Path) -> None:
    federation = signed_round(tmp_path, aggregators=3)
    made = federation.chain.now
    flood(federation, 6)
    role = responder(federation, 1)
    while len(answered(federation)) < 6:
        step = role.step()
        if step.action is None:
            later = step.wait.next_time(federation.chain.now)
            assert later is not None
            federation.pass_until(later)
    assert federation.chain.now < made + federation.terms.answer_period // 2
    assert set(answered(federation).values()) == {role._sender.address}


def test_the_nearest_deadline_is_answered_first(tmp_path: Path) -> None:
    federation = signed_round(tmp_path, aggregators=1)
    flood(federation, 40)
    role = responder(federation, 0)
    role._rounds.search_to(federation.observe().block_number)
    made = role._rounds._demands
    for number in sorted(made, reverse=True):
        made[number] = made.pop(number)  # The order in which they are found does not matter.
    assert role.step().action == "answer"
    # One batch, and then the chain is looked at again.
    assert sorted(answered(federation)) == list(range(1, 33))
    assert role.step().action == "answer"
    assert sorted(answered(federation)) == list(range(1, 41))


def test_an_answer_that_somebody_else_is_seen_sending_is_left_to_them_for_some_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = signed_round(tmp_path, aggregators=1)
    flood(federation, 2)
    monkeypatch.setattr(Federation, "pending_answers", lambda _: frozenset({1}))
    role = responder(federation, 0)
    assert role.step().action == "answer"
    assert set(answered(federation)) == {2}
    assert role.step().action is None
    federation.chain.mine()
    assert role.step().action is None
    # Nobody sent it after all.
    federation.chain.mine()
    assert role.step().action == "answer"
    assert set(answered(federation)) == {1, 2}


def test_a_flood_reads_the_model_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    federation = signed_round(tmp_path, aggregators=1)
    contract = federation.federation
    read: list[Any] = []

    def counted(stream: Any, *given: Any) -> Any:
        read.append(stream)
        return read_tree(stream, *given)

    monkeypatch.setattr(trees, "read_tree", counted)
    for index in range(6):
        bond = federation.terms.demand_bond * (1 + index)
        federation.send(federation.outsider, contract.demand(1, 0, index % 4, bond))
    role = responder(federation, 0)
    assert role.step().action == "answer"
    role.step()
    assert (role.answered, len(read)) == (6, 1)


def test_a_chunk_that_was_damaged_on_this_disk_is_not_shown(tmp_path: Path) -> None:
    federation = signed_round(tmp_path, aggregators=1)
    contract = federation.federation
    role = responder(federation, 0)
    bond = federation.terms.demand_bond
    federation.send(federation.outsider, contract.demand(1, 1, 0, bond))
    assert role.step().action == "answer"
    (file,) = (federation.home("aggregators", 0) / "vectors").glob("global-1-*")
    content = bytearray(file.read_bytes())
    content[-2000] ^= 1
    overwrite(file, content)
    federation.send(federation.outsider, contract.demand(1, 0, 1, 2 * bond))
    with capture_logs() as logs:
        assert role.step().action is None
    assert any("damaged" in str(log.get("reason")) for log in logs)


# No duty starves another


def attesting(federation: SmallFederation) -> Aggregator:
    return federation.aggregator(0, responder=responder(federation, 0))


def test_a_flood_of_demands_delays_no_attestation(tmp_path: Path) -> None:
    federation = signed_round(tmp_path, aggregators=1)
    flood(federation, 50)
    submit_updates(federation, 2)
    role = attesting(federation)
    assert role.step().action == "attest"
    assert federation.observe().current.phase is Phase.ACCEPTED
    assert [role.step().action for _ in range(2)] == ["answer", "answer"]
    role.step()
    assert len(answered(federation)) == 50
    assert stakes(federation) == [ETHER]


def test_answers_and_attestations_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = signed_round(tmp_path, aggregators=1)
    flood(federation, 70)
    role = attesting(federation)
    again = iter(range(3))
    original = role._attest_step

    def owed() -> Any:
        step = original()
        return step if next(again, None) is None else type(step)("attest")

    monkeypatch.setattr(role, "_attest_step", owed)
    actions = [role.step().action for _ in range(5)]
    assert actions == ["attest", "answer", "attest", "answer", "attest"]


def test_an_aggregator_that_cannot_attest_answers_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = signed_round(tmp_path, aggregators=1)
    flood(federation, 3)
    submit_updates(federation, 2)
    role = attesting(federation)

    def down(*_: Any) -> Any:
        raise StoreUnavailable("The store is down.")

    with monkeypatch.context() as broken:
        broken.setattr(role, "_attest_step", down)
        assert role.step().action == "answer"
        with pytest.raises(FloError, match="The store is down"):
            role.step()
    assert len(answered(federation)) == 3
    assert role.step().action == "attest"


def test_an_aggregator_that_cannot_answer_attests_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = signed_round(tmp_path, aggregators=1)
    flood(federation, 1)
    submit_updates(federation, 2)
    role = attesting(federation)
    assert role._responder is not None

    def poor(*_: Any) -> Any:
        raise StoreUnavailable("No answer can be sent.")

    monkeypatch.setattr(role._responder, "_start", poor)
    assert role.step().action == "attest"
    assert federation.observe().current.phase is Phase.ACCEPTED
