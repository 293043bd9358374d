"""A wrong model that nobody shows: its signers show its tree, or lose."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs
from support.disputes import (
    accept_a_lie,
    balance,
    events,
    flood,
    liar,
    off_by_one,
    responder,
    right_result,
    run_watchers,
    sign_and_accept,
    stakes,
    submit_updates,
    vector_federation,
    watcher,
)
from support.federation import SmallFederation
from support.reorg import Fork

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.events import RoundIndex
from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.event_types import Demanded
from fl_orchestrator.chain.sending.send import Receipt, Sender
from fl_orchestrator.model.chunk_tree import Tree, chunk, tree_of
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.disputes.answers import nodes_below, path_above
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.roles.base import Worker
from fl_orchestrator.roles.vectors import RootMismatch
from fl_orchestrator.roles.watcher.alerts import AlertKind
from fl_orchestrator.roles.watcher.watcher import WatcherSettings
from fl_orchestrator.units import ETHER

BOND = ETHER // 100


def test_signers_who_never_answer_lose_their_stakes(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, aggregators=2)
    submit_updates(federation)
    accept_a_lie(federation, withhold=True)
    before = balance(federation, federation.outsider)
    done = run_watchers(federation, watcher(federation))
    assert done == [
        "check",
        "demand",
        "expire",
        "slashSigner",
        "slashSigner",
        "settleBond",
        "withdrawRewards",
    ]
    assert (federation.observe().head.round, stakes(federation)) == (0, [0, 0])
    # Half of the stakes, and the bond is back.
    assert 0 < before + ETHER - balance(federation, federation.outsider) < ETHER // 100


@pytest.mark.parametrize("parameters", [200, 1_000, 100_000])
def test_signers_who_answer_to_the_end_are_proven_wrong(tmp_path: Path, parameters: int) -> None:
    federation = vector_federation(tmp_path, parameters=parameters)
    submit_updates(federation)
    position = parameters * 2 // 3
    accept_a_lie(federation, off_by_one(position), withhold=True)
    before = balance(federation, federation.outsider)
    done = Counter(run_watchers(federation, watcher(federation), responder(federation)))
    depth = federation.manifest.layout.depth
    demands = -(-depth // 6) + 1
    assert (done["demand"], done["descend"], done["answer"]) == (1, demands - 1, demands)
    assert (done["challenge"], done["slashSigner"], done["settleBond"]) == (1, 1, demands)
    (proven,) = events(federation, "ChallengeProven")
    assert proven["coordinate"] == federation.manifest.layout.coordinate(position)
    assert stakes(federation) == [0]
    assert 0 < before + ETHER // 2 - balance(federation, federation.outsider) < ETHER // 100


# Trees that no canonical file has


@dataclasses.dataclass(frozen=True, slots=True)
class PaddedModel:
    """A model with its padding, up to the end of its tree, in which anything may stand."""

    layout: Layout
    vector: np.ndarray

    @classmethod
    def of(cls, federation: SmallFederation, state: np.ndarray) -> PaddedModel:
        layout = federation.manifest.layout
        whole = np.zeros(CHUNK_VALUES << layout.depth, np.int32)
        for tensor in layout.tensors:
            place = tensor.padded_start
            whole[place : place + tensor.size] = state[tensor.start : tensor.stop]
        return cls(Layout.of([("whole", [whole.size], 0)]), whole)

    @property
    def tree(self) -> Tree:
        return tree_of(self.layout, self.vector)


class TreeAnswerer(Responder):
    """Answers with a tree of its own."""

    content_of: Callable[[Demanded], tuple[bytes, bytes]]

    def answer_to(self, demand: Demanded) -> tuple[bytes, bytes]:
        return self.content_of(demand)


def tree_responder(
    federation: SmallFederation, content_of: Callable[[Demanded], tuple[bytes, bytes]]
) -> TreeAnswerer:
    context = federation.context(federation.aggregators[0], federation.home("aggregators", 0))
    found = TreeAnswerer(context, context.round_index())
    found.content_of = content_of
    return found


def answers_from(model: PaddedModel) -> Callable[[Demanded], tuple[bytes, bytes]]:
    tree = model.tree

    def content_of(demand: Demanded) -> tuple[bytes, bytes]:
        path = path_above(tree, demand.level, demand.index)
        if demand.level == 0:
            return chunk(model.layout, model.vector, demand.index), path
        return nodes_below(tree, demand.level, demand.index), path

    return content_of


def right_state(federation: SmallFederation, result: Result) -> np.ndarray:
    cache = liar(federation)._vectors
    file = cache.held(result.global_root, liar(federation)._origin.state(result.round))
    assert file is not None
    return cache.load(file)


@pytest.mark.parametrize("place", ["in a tensor's last chunk", "beyond the model"])
@pytest.mark.parametrize("shown", [True, False], ids=["answered", "never answered"])
def test_a_model_that_is_wrong_only_in_its_padding_is_undone(
    tmp_path: Path, place: str, shown: bool
) -> None:
    federation = vector_federation(tmp_path, parameters=1_200)
    layout = federation.manifest.layout
    submit_updates(federation)
    result = right_result(federation)
    padded = PaddedModel.of(federation, right_state(federation, result))
    assert padded.tree.root == result.global_root
    if place == "beyond the model":
        coordinate = (layout.chunks << 8) + 77
    else:
        coordinate = layout.tensors[0].size + 3
    assert layout.locate(coordinate) is None
    padded.vector[coordinate] = 1
    # The CID is that of the right file: its numbers do not have the signed root.
    sign_and_accept(federation, dataclasses.replace(result, global_root=padded.tree.root))

    roles: list[Worker] = [watcher(federation)]
    if shown:
        roles.append(tree_responder(federation, answers_from(padded)))
    done = Counter(run_watchers(federation, *roles))
    assert (done["challenge"], done["expire"]) == ((1, 0) if shown else (0, 1))
    assert (federation.observe().head.round, stakes(federation)) == (0, [0])
    if shown:
        (proven,) = events(federation, "ChallengeProven")
        found = (proven["coordinate"], proven["expected"], proven["claimed"])
        assert found == (coordinate, 0, 1)


def test_a_root_that_has_no_tree_cannot_be_answered(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    result = right_result(federation)
    sign_and_accept(federation, dataclasses.replace(result, global_root=b"\x11" * 32))
    done = Counter(run_watchers(federation, watcher(federation), responder(federation)))
    assert (done["demand"], done["answer"], done["expire"]) == (1, 0, 1)
    assert stakes(federation) == [0]


def test_a_tree_that_ends_in_nothing_cannot_be_answered(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, parameters=100_000)
    submit_updates(federation)
    result = right_result(federation)
    padded = PaddedModel.of(federation, right_state(federation, result))
    depth = federation.manifest.layout.depth
    right = padded.tree
    # Nobody knows what is below the fourth of the nodes that the first answer shows.
    nodes = [right.node(depth - 6, index) for index in range(64)]
    nodes[3] = b"\x33" * 32
    shown, row = b"".join(nodes), nodes
    while len(row) > 1:
        row = [keccak256(a + b) for a, b in zip(row[::2], row[1::2], strict=True)]
    sign_and_accept(federation, dataclasses.replace(result, global_root=row[0]))

    def content_of(demand: Demanded) -> tuple[bytes, bytes]:
        if demand.level < depth:
            raise RootMismatch("Nobody knows what is below a hash that was made up.")
        return shown, b""

    role = tree_responder(federation, content_of)
    done = Counter(run_watchers(federation, watcher(federation), role))
    assert (done["demand"], done["descend"], done["answer"], done["expire"]) == (1, 1, 1, 1)
    (made,) = [d for d in events(federation, "Demanded") if d["previous"]]
    assert (made["level"], made["index"]) == (depth - 6, 3)
    assert stakes(federation) == [0]


# What can go wrong on the way down


def test_a_watcher_that_was_away_for_too_long_begins_anew(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept_a_lie(federation, withhold=True)
    role, signer = watcher(federation), responder(federation)
    while role.step().action != "demand":
        pass
    assert signer.step().action == "answer"
    federation.pass_until(federation.chain.now + federation.terms.answer_period)
    done = Counter(run_watchers(federation, watcher(federation), signer))
    assert (done["demand"], done["descend"], done["challenge"]) == (1, 1, 1)
    assert stakes(federation) == [0]


def test_a_flood_of_demands_makes_a_descent_dearer_but_not_impossible(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept_a_lie(federation, withhold=True)
    flood(federation, 4)
    before = balance(federation, federation.outsider)
    role = watcher(federation)
    done = Counter(run_watchers(federation, role, responder(federation)))
    made = [d for d in events(federation, "Demanded") if d["demander"] == role.address]
    assert [d["bond"] for d in made] == [5 * BOND] * 2
    assert (done["closeDescent"], done["challenge"]) == (0, 1)
    # Every bond has come back.
    assert 0 < before + ETHER // 2 - balance(federation, federation.outsider) < ETHER // 100


def test_stale_descents_are_closed_where_a_demand_would_cost_too_much(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept_a_lie(federation, withhold=True)
    flood(federation, 3)
    signer = responder(federation)
    while signer.step().action == "answer":
        pass
    settings = WatcherSettings(max_bond=2 * BOND, attempts=2, secret=bytes(32))
    role = watcher(federation, settings=settings)
    assert [role.step().action for _ in range(2)] == ["check", None]
    federation.pass_until(federation.chain.now + settings.retry_seconds)
    assert role.step().action is None
    (alert,) = role.alerts
    assert (alert.kind, alert.round) == (AlertKind.BOND_TOO_HIGH, 1)
    assert [s.address for s in alert.signers] == [federation.aggregators[0].address]
    assert not role.busy

    federation.pass_until(federation.chain.now + federation.terms.answer_period)
    done = Counter(run_watchers(federation, role, signer))
    assert (done["closeDescent"], done["demand"], done["challenge"]) == (1, 1, 1)
    # All that can be closed are closed at once.
    assert len(events(federation, "DescentClosed")) == 3
    assert role.alerts == ()


class Behind(Sender):
    """Asks a node that does not know the last answer yet, the first time that it matters."""

    refused = 0

    def send(self, call: Call) -> Receipt:
        if call.label == "descend" and not self.refused:
            self.refused += 1
            raise ContractReverted(ContractError.NotAnswered)
        return super().send(call)


def test_a_descent_goes_on_when_a_node_does_not_know_the_answer_yet(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept_a_lie(federation, withhold=True)
    chain = federation.federation
    behind = Behind(chain.web3, federation.outsider, chain.reverts)
    role = watcher(federation, sender=behind)
    done = Counter(run_watchers(federation, role, responder(federation)))
    assert (behind.refused, done["challenge"], done["demand"], role.alerts) == (1, 1, 1, ())


def test_a_node_without_the_events_of_a_round_does_not_end_a_responder(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    accept_a_lie(federation)
    signer = Responder(
        federation.context(federation.aggregators[0], federation.home("aggregators", 0)),
        RoundIndex(federation.federation, federation.observe().block_number + 1),
    )
    depth = federation.manifest.layout.depth
    federation.send(federation.outsider, federation.federation.demand(1, depth, 0, BOND))
    with capture_logs() as logs:
        step = signer.step()
    assert (step.action, federation.due_at(step) > federation.chain.now) == (None, True)
    assert any("has no events of round 1" in log.get("reason", "") for log in logs)


def test_answers_are_paid_when_the_round_is_final(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    submit_updates(federation)
    sign_and_accept(federation, right_result(federation))
    # Nobody has to demand what is right; whoever does pays for the answer.
    signer = responder(federation)
    depth = federation.manifest.layout.depth
    federation.send(federation.outsider, federation.federation.demand(1, depth, 0, BOND))
    federation.send(federation.outsider, federation.federation.demand(1, 0, 2, 2 * BOND))
    assert [signer.step().action for _ in range(2)] == ["answer", None]
    assert signer.answered == 2
    federation.pass_until(federation.federation.window(1).final_at)
    federation.send(federation.keeper_key, federation.federation.finalize())
    fork = Fork(federation.chain)
    assert [signer.step().action for _ in range(2)] == ["settleBond", None]
    assert federation.observe(federation.aggregators[0]).credit == 3 * BOND // 2
    # And again, where a reorganisation undoes it.
    fork.reorganise()
    assert federation.observe(federation.aggregators[0]).credit == 0
    assert [signer.step().action for _ in range(2)] == ["settleBond", None]
    assert federation.observe(federation.aggregators[0]).credit == 3 * BOND // 2
    assert stakes(federation) == [ETHER]


def test_an_aggregator_answers_while_it_goes_on_with_later_rounds(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    honest = federation.aggregator(0, responder=responder(federation))
    depth = federation.manifest.layout.depth
    for round_number in (1, 2, 3):
        submit_updates(federation, round_number)
        assert honest.step().action == "attest"
    # Nobody but its own directory has the first round's model any more.
    result = federation.federation.proposed_results(0, round_number=1)
    (first,) = result.values()
    place = federation.store.locate(first.global_cid)
    assert place is not None
    place.unlink()
    federation.send(federation.outsider, federation.federation.demand(1, depth, 0, BOND))
    assert honest.step().action == "answer"
