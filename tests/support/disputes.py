"""Aggregators that sign wrong models or withhold them, and watchers.

The updates are generated here and not trained: only their number and their size matter.
"""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from web3 import Web3

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import Observation, Phase, Update
from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.model.digests import Result, commitment
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.manifest import Manifest, RuleSpec, TensorSpec
from fl_orchestrator.model.rules import RuleKind, ServerStep
from fl_orchestrator.model.vector_file import in_blocks, write_vector
from fl_orchestrator.roles import base
from fl_orchestrator.roles.aggregator.aggregator import Aggregator
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.roles.relay import Mailbox, Relay, SignedResult
from fl_orchestrator.roles.vectors import Origin
from fl_orchestrator.roles.watcher.watcher import Watcher, WatcherSettings
from support.federation import SmallFederation, consortium, small_manifest

Lie = Callable[[NDArray[np.int32]], NDArray[np.int32]]
# The longest time in seconds until an aggregator has fetched updates, also large ones.
_FETCH_PATIENCE = 120.0


def off_by_one(position: int = 0, unit: int = 1) -> Lie:
    """A model that is wrong by one unit in one coordinate."""

    def lie(vector: NDArray[np.int32]) -> NDArray[np.int32]:
        wrong = vector.copy()
        wrong[position] += unit
        return wrong

    return lie


# ------------------------------------------------------------------ a federation without training


def vector_manifest(
    parameters: int,
    rule: RuleKind = RuleKind.WEIGHTED_MEAN,
    *,
    packed: bool = False,
    server: ServerStep = ServerStep(),  # noqa: B008
    norm_limit: int | None = None,
) -> Manifest:
    """A model of two tensors; the second one has seven values, so its chunk ends with padding."""
    shapes = (("body", (parameters - 7,)), ("tail", (7,)))
    return small_manifest(
        tensors=tuple(TensorSpec(name=name, shape=shape) for name, shape in shapes),
        depth=Layout.of(((name, shape, 0) for name, shape in shapes), packed=packed).depth,
        rule=RuleSpec.of(
            rule,
            server_learning_rate_bps=server.learning_rate_bps,
            server_momentum_bps=server.momentum_bps,
            **({} if norm_limit is None else {"chunk_norm_limit": norm_limit}),
        ),
        layout_kind="packed" if packed else None,
    )


def vector_federation(
    directory: Path,
    *,
    parameters: int = 1_000,
    rule: RuleKind = RuleKind.WEIGHTED_MEAN,
    updates: int = 3,
    aggregators: int = 1,
    aggregator_stake: int = 0,
    chain: Callable[[dict[str, int]], DevelopmentChain] = DevelopmentChain,
    packed: bool = False,
    server: ServerStep = ServerStep(),  # noqa: B008
    norm_limit: int | None = None,
    **terms: Any,
) -> SmallFederation:
    manifest = vector_manifest(
        parameters, rule, packed=packed, server=server, norm_limit=norm_limit
    )
    weights = [np.full(t.shape, 0.25, np.float32) for t in manifest.layout.tensors]
    return SmallFederation(
        directory,
        updates,
        aggregators,
        consortium(updates, **terms),
        manifest=manifest,
        weights=weights,
        aggregator_stake=aggregator_stake,
        chain=chain,
    )


def update_vector(federation: SmallFederation, party: int, round_number: int) -> NDArray[np.int16]:
    generator = np.random.default_rng([party, round_number])
    size = federation.manifest.layout.parameters
    return generator.integers(-32_768, 32_768, size, np.int16)


def submit_updates(federation: SmallFederation, round_number: int = 1) -> Observation:
    """Open a round, and let every party commit and reveal a random update."""
    parties = range(len(federation.parties))
    vectors = (update_vector(federation, party, round_number) for party in parties)
    return submit_vectors(federation, round_number, vectors, [1 + p % 255 for p in parties])


def submit_vectors(
    federation: SmallFederation,
    round_number: int,
    vectors: Iterable[NDArray[np.int16]],
    weights: Sequence[int],
) -> Observation:
    """Open a round, and let the first parties commit and reveal, in one transaction each."""
    layout, contract = federation.manifest.layout, federation.federation
    origin = Origin(contract.chain_id, contract.address)
    seen = federation.open_round()
    updates, commits = [], []
    for key, vector, weight in zip(federation.parties, vectors, weights, strict=False):
        stream = io.BytesIO()
        tree = write_vector(stream, layout, origin.update(round_number), in_blocks(vector))
        stream.seek(0)
        cid = federation.store.put(stream)
        update = Update(key.address, weight, tree.root, cid, bytes(32))
        hidden = commitment(
            chain_id=origin.chain_id,
            federation=origin.federation,
            round_number=round_number,
            party=update.party,
            root=update.root,
            cid=update.cid,
            weight=update.weight,
            salt=update.salt,
        )
        updates.append(update)
        commits.append(contract.sign_commit(key, round_number, hidden))
    federation.send(federation.keeper_key, contract.commit_for(commits))
    if len(updates) < len(federation.parties):
        federation.pass_until(seen.current.commit_end)
    federation.send(federation.keeper_key, contract.reveal(updates))
    seen = federation.observe()
    assert seen.current.phase is Phase.ATTEST, seen.current.phase
    return seen


# ------------------------------------------------------------------ dishonest aggregators


class LyingAggregator(Aggregator):
    """Signs and stores a wrong model: the right one, changed by the function ``lie``."""

    lie: Lie

    def _compute(self, seen: Observation, work: Any, included: int) -> Result:
        right = super()._compute(seen, work, included)
        meta = self._origin.state(right.round)
        held = self._vectors.held(right.global_root, meta)
        assert held is not None
        wrong = self._vectors.write(meta, in_blocks(self.lie(self._vectors.load(held))))
        with wrong.path.open("rb") as stream:
            return dataclasses.replace(right, global_root=wrong.root, global_cid=cid_of(stream))


class SilentStore(LocalStore):
    """A store that accepts all content and keeps nothing."""

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:
        return cid_of(stream)

    def put_file(self, path: Path, *, pin: bool = True) -> Cid:
        with path.open("rb") as stream:
            return cid_of(stream)


def liar(
    federation: SmallFederation,
    number: int = 0,
    lie: Lie | None = None,
    *,
    withhold: bool = False,
    relay: Relay | None = None,
) -> LyingAggregator:
    """One of the federation's aggregators, but dishonest."""
    store = SilentStore(federation.directory / "store") if withhold else federation.store
    key, home = federation.aggregators[number], federation.home("aggregators", number)
    aggregator = LyingAggregator(federation.context(key, home, store=store, relay=relay))
    aggregator.lie = lie or off_by_one()
    return aggregator


def accept_a_lie(
    federation: SmallFederation, lie: Lie | None = None, *, withhold: bool = False
) -> Result:
    """Let the first aggregator compute a wrong model, and let all aggregators sign it."""
    mailbox = Mailbox()
    aggregator = liar(federation, 0, lie, withhold=withhold, relay=mailbox)
    deadline = time.monotonic() + _FETCH_PATIENCE
    # A step does not wait for large updates until they are there.
    while (step := aggregator.step()).action is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert step.action == "post attestation"
    result = posted_result(mailbox, federation)
    sign_and_accept(federation, result)
    return result


def sign_and_accept(federation: SmallFederation, result: Result) -> None:
    """Let all aggregators sign a result, without checking it."""
    contract = federation.federation
    signatures = [contract.sign_result(key, result) for key in federation.aggregators]
    federation.send(federation.keeper_key, contract.attest(result, signatures))
    assert federation.observe().current.phase is Phase.ACCEPTED


def right_result(federation: SmallFederation) -> Result:
    """The result that an honest aggregator would sign in the current round; it is not sent."""
    mailbox = Mailbox()
    liar(federation, 0, lambda vector: vector, relay=mailbox, withhold=True).step()
    return posted_result(mailbox, federation)


def posted_result(mailbox: Mailbox, federation: SmallFederation) -> Result:
    (signed,) = mailbox.waiting(federation.observe().current.round, SignedResult)
    return signed.result


def responder(federation: SmallFederation, number: int = 0, *, at_once: bool = False) -> Responder:
    """A responder with the files of an aggregator, right or wrong."""
    home = federation.home("aggregators", number)
    context = federation.context(federation.aggregators[number], home)
    return Responder(context, context.round_index(), at_once=at_once)


def flood(federation: SmallFederation, count: int, round_number: int = 1) -> None:
    """Demand the same node of a round's model ``count`` times, from the keeper's account."""
    contract = federation.federation
    for _ in range(count):
        open_ones = contract.window(round_number).open_descents
        bond = federation.terms.demand_bond * (1 + open_ones)
        federation.send(federation.keeper_key, contract.demand(round_number, 1, 0, bond))


# ------------------------------------------------------------------ watchers


def watcher(
    federation: SmallFederation,
    key: LocalSigner | None = None,
    *,
    store: ContentStore | None = None,
    sender: Sender | None = None,
    settings: WatcherSettings | None = None,
    home: str = "0",
) -> Watcher:
    """A watcher. A second call with the same home acts as a restart of its process."""
    context = federation.context(
        key or federation.outsider,
        federation.directory / "watchers" / home,
        sender=sender,
        store=store,
    )
    return Watcher(context, settings or WatcherSettings(secret=b"\5" * 32))


def run_watchers(federation: SmallFederation, *roles: base.Worker, steps: int = 300) -> list[str]:
    """Step these roles in turns until the watchers among them are done; return their actions."""
    done: list[str] = []
    watchers = [role for role in roles if isinstance(role, Watcher)]
    for _ in range(steps):
        taken = [role.step() for role in roles]
        actions = [step.action for step in taken if step.action is not None]
        done += actions
        if actions:
            continue
        if not any(role.busy for role in watchers):
            return done
        later = [step.wait.next_time(federation.chain.now) for step in taken]
        federation.pass_until(min(filter(None, later), default=federation.chain.now + 1))
    raise AssertionError(f"the watchers never came to an end: {done[-10:]}")


def stakes(federation: SmallFederation) -> list[int]:
    """The aggregators' stakes, in wei."""
    return [federation.observe(key).aggregator.stake for key in federation.aggregators]


def balance(federation: SmallFederation, key: LocalSigner) -> int:
    """An account's coin, in wei."""
    return int(federation.chain.web3.eth.get_balance(Web3.to_checksum_address(key.address)))


def events(federation: SmallFederation, name: str) -> list[Any]:
    """The arguments of all events of one kind."""
    contract = federation.chain.web3.eth.contract(
        address=federation.federation.address, abi=load_artifact("Federation").abi
    )
    return [log["args"] for log in contract.events[name].get_logs(from_block=0)]
