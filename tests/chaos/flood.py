"""A flood of demands: an outsider with coin makes many at once on a model that is correct."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from typing import Final

from chaos.world import World
from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.sending.send import Receipt, Sender
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.units import ETHER

OUTSIDER: Final = LocalSigner.from_secret(hashlib.sha256(b"outsider 0").digest())
_DEMANDS: Final = 100
_COIN: Final = 1_000 * ETHER
_SECONDS: Final = 240.0


def demand_flood(world: World, target: str, seconds: float) -> None:
    """The outsider demands nodes of the newest model; all are answered in time, and a round that
    opens later is signed by all aggregators meanwhile."""
    seen = world.wait(lambda now: now.head.height > 0, _SECONDS, "model")
    made = _demand(world, seen.head.round)
    _wait_for_answers(world, made)
    _wait_for_signatures(world, seen)


def _demand(world: World, round_number: int) -> set[int]:
    """Make the demands; the ids of all demands of the chain that are not answered yet."""
    chain = world.federation.chain
    world.rpc("anvil_setBalance", OUTSIDER.address, hex(_COIN))
    sender, left = Sender(chain.web3, OUTSIDER, chain.reverts), _DEMANDS
    first = world.observe().block_number
    while left:
        calls = itertools.islice(_calls(world, round_number), left)
        done = sender.send_together(calls)
        failed = [one for one in done if not isinstance(one, Receipt)]
        assert not failed, failed
        left -= len(done)
    made = {d.id for d in chain.demands(first) if d.demander == OUTSIDER.address}
    assert len(made) >= _DEMANDS, f"{len(made)} of {_DEMANDS} demands are on the chain"
    return made


def _calls(world: World, round_number: int) -> Iterator[Call]:
    """Demands of one node of the model after the other, each for the bond that is due then."""
    chain, depth = world.federation.chain, world.manifest.depth
    nodes = [(level, at) for level in range(depth + 1) for at in range(1 << (depth - level))]
    bond, descents = chain.params().demand_bond, chain.window(round_number).open_descents
    for number, (level, index) in enumerate(itertools.cycle(nodes), descents + 1):
        yield chain.demand(round_number, level, index, number * bond)


def _wait_for_answers(world: World, made: set[int]) -> None:
    chain = world.federation.chain

    def answered(_: Observation) -> bool:
        demands = {number: chain.demand_by_id(number) for number in made}
        made.difference_update(n for n, d in demands.items() if d is None or d.answerer is not None)
        return not made

    # The contract takes no answer that is late.
    world.wait(answered, min(_SECONDS, chain.params().answer_period), "answers to all demands")


def _wait_for_signatures(world: World, before: Observation) -> None:
    chain, aggregators = world.federation.chain, len(world.federation.local.aggregators)

    def signed(now: Observation) -> bool:
        if now.head.round <= before.current.round:
            return False
        (digest,) = chain.accepted_digests(before.block_number, None, now.head.round).values()
        return chain.attestation(digest).signers.bit_count() == aggregators

    world.wait(signed, _SECONDS, "later round that all aggregators have signed")
