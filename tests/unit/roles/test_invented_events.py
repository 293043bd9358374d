"""A node can invent any event: whoever reads it goes on, or ends with an error that says so."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.disputes import accept_a_lie, responder, submit_updates, vector_federation, watcher
from support.federation import SmallFederation
from support.invention import Invention, Known, LyingNode, encoded, inventions
from support.reorg import Fork

from fl_orchestrator.audit.model_audit import ModelAudit
from fl_orchestrator.chain.contract.events import RoundIndex
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.contract.rounds import read_rounds
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import ContentNotFound
from fl_orchestrator.errors import FloError
from fl_orchestrator.model.chunk_tree import tree_of
from fl_orchestrator.model.disputes.answers import nodes_below, path_above
from fl_orchestrator.model.vector_file import read_vector
from fl_orchestrator.roles.context import ReadContext
from fl_orchestrator.roles.vectors import Origin

_DEPTH = 3


def scene(directory: Path) -> SmallFederation:
    """A wrong result that is accepted; a watcher's demands for its root and a chunk, the first one
    answered; and a second round, in which updates are revealed and a result is proposed."""
    small = vector_federation(directory, aggregators=2)
    submit_updates(small)
    result = accept_a_lie(small)
    federation, bond = small.federation, small.terms.demand_bond
    meta = Origin(federation.chain_id, federation.address).state(1)
    with small.store.get(result.global_cid, 1 << 20) as stream:
        tree = tree_of(small.manifest.layout, read_vector(stream, small.manifest.layout, meta)[1])
    small.send(small.outsider, federation.demand(1, _DEPTH, 0, bond))
    content, path = nodes_below(tree, _DEPTH, 0), path_above(tree, _DEPTH, 0)
    small.send(small.aggregators[0], federation.answer(1, content, path))
    small.send(small.outsider, federation.descend(1, 0, bond))
    submit_updates(small, 2)
    small.aggregator(1).step()
    return small


class HidingStore(LocalStore):
    """Does not give the content that is hidden."""

    hidden: Cid

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        if cid == self.hidden:
            raise ContentNotFound(f"{cid} is hidden.")
        return super().get(cid, max_bytes)


class Liar:
    """The federation of `scene`, whose node can be made to lie."""

    def __init__(self, small: SmallFederation, patch: pytest.MonkeyPatch) -> None:
        self.small = small
        node = LyingNode(small.chain.web3, patch)
        self.tell, self.tell_the_truth = node.tell, node.tell_the_truth
        self._hiding = HidingStore(small.directory / "store")
        index = RoundIndex(small.federation, small.deployment.block)
        index.search_to(small.chain.web3.eth.block_number)
        self.index = index
        self._hiding.hidden = index.accepted(1, 10**9).result.global_cid
        results = index.results.values()
        updates = [*index.updates(1), *index.updates(2)]
        self.known = Known(
            small.federation.chain_id,
            small.federation.address,
            (
                bytes(32),
                *index.results,
                *(r.global_root for r in results),
                *(r.base_root for r in results),
                *(r.updates_hash for r in results),
                *(u.root for u in updates),
            ),
            tuple(k.address for k in (small.outsider, *small.aggregators, *small.parties)),
            (
                *(answer.content for answer in index.answers.values()),
                *(bytes(32 << levels) for levels in range(7)),
                bytes(1024),
            ),
            (small.genesis.cid, *(u.cid for u in updates), *(r.global_cid for r in results)),
        )

    def readers(self) -> dict[str, Callable[[], Any]]:
        """Everybody who reads events, as at the start of its process."""
        small, start = self.small, self.small.deployment.block
        return {
            "watcher": lambda: _three_steps(watcher(small)),
            "watcher without model": lambda: _three_steps(watcher(small, store=self._hiding)),
            "responder": lambda: _three_steps(responder(small)),
            "aggregator": lambda: _three_steps(small.aggregator(0)),
            "keeper": lambda: _three_steps(small.keeper()),
            "party": lambda: _three_steps(small.party(0)),
            "flo round list": lambda: read_rounds(small.federation, start, 1, 2),
            "flo verify": lambda: list(self._audit().rounds()),
            "slashes": lambda: small.federation.slashes(0),
        }

    def _audit(self) -> ModelAudit:
        small = self.small
        context = ReadContext(
            federation=small.federation,
            store=small.store,
            manifest=small.manifest,
            home=small.directory / "audit",
            deployed_at=small.deployment.block,
        )
        return ModelAudit(context)


def _three_steps(role: Any) -> None:
    for _ in range(3):
        role.step()


@pytest.fixture(scope="module")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Liar]:
    with pytest.MonkeyPatch.context() as patch:
        yield Liar(scene(tmp_path_factory.mktemp("invented")), patch)


def test_no_invented_event_ends_a_role_without_a_sentence(liar: Liar) -> None:
    # Who takes part in disputes reads the most.
    often = st.sampled_from(["responder", "watcher without model"])

    @given(reader=often | st.sampled_from(sorted(liar.readers())), invention=inventions(liar.known))
    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    def reads(reader: str, invention: Invention) -> None:
        fork = Fork(liar.small.chain)
        liar.tell(invention)
        try:
            liar.readers()[reader]()
        except FloError as error:
            assert error.message.endswith((".", "]"))  # noqa: PT017
        finally:
            liar.tell_the_truth()
            fork.reorganise()

    reads()


def _answer_with(index: RoundIndex, content: bytes) -> list[Any]:
    (answer,) = index.answers.values()
    return [1, answer.id, answer.answerer, content]


def _wrong_answer(index: RoundIndex) -> list[Any]:
    (answer,) = index.answers.values()
    return _answer_with(index, answer.content[:-1] + bytes([answer.content[-1] ^ 1]))


_ACCOUNT = "0x" + "77" * 20
_NOBODYS_CID = (bytes(32), 0x70)
_LIES: dict[str, tuple[str, Callable[[RoundIndex], list[Any]], str]] = {
    "an answer with another node": ("Answered", _wrong_answer, "not of the round's model"),
    "a short answer": ("Answered", lambda i: _answer_with(i, b"abc"), "not of the round's model"),
    "an empty answer": ("Answered", lambda i: _answer_with(i, b""), "not of the round's model"),
    "an answer with another chunk": (
        "Answered",
        lambda i: [1, 2, _ACCOUNT, bytes(1024)],
        "not of the round's model",
    ),
    "an answer to nobody": ("Answered", lambda i: [1, 9, _ACCOUNT, b""], "which nobody made"),
    "an answer in another round": ("Answered", lambda i: [2, 1, _ACCOUNT, b""], "nobody made"),
    "a demand above the root": (
        "Demanded",
        lambda i: [1, 5, _ACCOUNT, 200, 0, 0, 1, 2**40],
        "outside of the tree",
    ),
    "a demand beside the tree": (
        "Demanded",
        lambda i: [1, 5, _ACCOUNT, 0, 8, 0, 1, 2**40],
        "outside of the tree",
    ),
    "a demand that continues nothing": (
        "Demanded",
        lambda i: [1, 5, _ACCOUNT, 0, 0, 4, 1, 2**40],
        "does not continue 4",
    ),
    "a demand that continues a chunk": (
        "Demanded",
        lambda i: [1, 5, _ACCOUNT, 0, 0, 2, 1, 2**40],
        "does not continue 2",
    ),
    "a result that has another digest": (
        "ResultProposed",
        lambda i: [1, bytes(32), (1, *[bytes(32)] * 2, 1, bytes(32), _NOBODYS_CID)],
        "does not have its digest",
    ),
    "an acceptance in another round": (
        "RoundAccepted",
        lambda i: [2, 1, i.accepted_digests[1], 0],
        "accepted a result of another round",
    ),
    "an update without weight": (
        "UpdateRevealed",
        lambda i: [1, _ACCOUNT, 0, 0, bytes(32), _NOBODYS_CID],
        "no such index or weight",
    ),
    "an update beyond the bitmap": (
        "UpdateRevealed",
        lambda i: [1, _ACCOUNT, 2**200, 1, bytes(32), _NOBODYS_CID],
        "no such index or weight",
    ),
    "an update with no CID": (
        "UpdateRevealed",
        lambda i: [1, _ACCOUNT, 0, 1, bytes(32), (bytes(32), 7)],
        "cannot be decoded",
    ),
}


@pytest.mark.parametrize("lie", _LIES)
def test_an_event_that_the_contract_cannot_have_emitted_is_refused(liar: Liar, lie: str) -> None:
    name, values, words = _LIES[lie]
    # After the true ones: what comes last counts.
    liar.tell(lambda logs: [*logs, {**logs[-1], **encoded(name, values(liar.index))}])
    last = liar.small.chain.web3.eth.block_number
    index = RoundIndex(liar.small.federation, liar.small.deployment.block)
    with pytest.raises(UntrueEvents, match=words):
        index.search_to(last)
    liar.tell_the_truth()
    # Nothing of the lie is kept.
    assert not index.search_to(last)
    assert dict(index.answers) == dict(liar.index.answers)
    assert dict(index.demands) == dict(liar.index.demands)


def test_a_lie_after_the_truth_is_told_of_when_the_truth_is_read_again(liar: Liar) -> None:
    last = liar.small.chain.web3.eth.block_number
    index = RoundIndex(liar.small.federation, liar.small.deployment.block)
    index.search_to(last - 1)
    liar.tell(lambda logs: [*logs, {**logs[-1], **encoded("Answered", _wrong_answer(liar.index))}])
    with pytest.raises(UntrueEvents):
        index.search_to(last)
    liar.tell_the_truth()
    # What followed from the index has to be derived anew, as after a reorganisation.
    assert index.search_to(last)
    assert dict(index.answers) == dict(liar.index.answers)
