"""A federation whose accepted model is wrong, and the cost of disputing it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from _gas.federation import AGGREGATORS, Bench, Round, random_bytes
from _gas.floor import (
    ANSWER,
    CHALLENGE,
    DEMAND,
    REGISTER_CHALLENGE,
    SLASH,
    Cost,
)
from fl_orchestrator.aggregation.clipping import clipped
from fl_orchestrator.aggregation.rules import rule_for
from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.model.chunk_tree import Tree, chunk, tree_of
from fl_orchestrator.model.digests import challenge_hash, result_digest
from fl_orchestrator.model.disputes.answers import levels_shown, nodes_below, path_above
from fl_orchestrator.model.disputes.proof import ChunkProof
from fl_orchestrator.model.fixed_point import next_state, next_with_momentum
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout
from fl_orchestrator.model.manifest import RuleSpec
from fl_orchestrator.model.rules import RuleKind, ServerStep

WEIGHT: Final = 200
COORDINATE: Final = 77


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector of one chunk in a tree of any depth; the rest is padding.

    With momentum, a state has a second chunk, that of the momentum.
    """

    layout: Layout
    values: NDArray[Any]
    tree: Tree

    @classmethod
    def of(cls, depth: int, values: NDArray[Any], *, momentum: bool = False) -> Vector:
        layout = Layout.of([("w", [CHUNK_VALUES], 0)], depth=depth, momentum=momentum)
        return cls(layout, values, tree_of(layout, values))

    @classmethod
    def random(
        cls, depth: int, dtype: type[np.integer[Any]], *name: object, momentum: bool = False
    ) -> Vector:
        generator = np.random.default_rng(list(random_bytes(*name)))
        info = np.iinfo(dtype)
        size = 2 * CHUNK_VALUES if momentum else CHUNK_VALUES
        values = generator.integers(info.min, info.max, size, dtype, True)
        return cls.of(depth, values, momentum=momentum)

    def proof(self, index: int = 0) -> bytes:
        data = chunk(self.layout, self.values, index)
        return ChunkProof(index, data, self.tree.proof(index)).packed()


class Disputed(Bench):
    """A federation whose aggregators sign a model that is wrong by one unit in one coordinate.

    Its vectors are random, so that almost no byte of a proof is zero; zero bytes cost less gas. In
    trained updates, 15 to 30 % of the bytes are zero.
    """

    def __init__(
        self,
        parties: int,
        depth: int,
        rule: RuleKind = RuleKind.WEIGHTED_MEAN,
        server: ServerStep = ServerStep(),  # noqa: B008
        norm_limit: int = 0,
    ) -> None:
        self.server = server
        self.genesis = Vector.random(depth, np.int32, "genesis", momentum=server.has_momentum)
        self._updates = [Vector.random(depth, np.int16, "update", i) for i in range(parties)]
        super().__init__(
            parties,
            AGGREGATORS,
            depth=depth,
            rule=rule,
            server_learning_rate_bps=server.learning_rate_bps,
            server_momentum_bps=server.momentum_bps,
            chunk_norm_limit=norm_limit,
            genesis_root=self.genesis.tree.root,
        )
        self.watcher = self.keeper
        self.done: Round = self.run_round(relayed=True)
        self.digest = result_digest(
            self.federation.chain_id, self.federation.address, self.done.result
        )

    @cached_property
    def wrong(self) -> Vector:
        """The model that all aggregators sign."""
        rule = rule_for(RuleSpec(kind=self.params.rule, trim_bps=self.params.trim_bps))
        limit = self.params.chunk_norm_limit
        updates = [clipped([update.values], update.layout, limit) for update in self._updates]
        (step,) = rule.aggregate(updates, [WEIGHT] * len(updates))
        bits, moves = self.params.update_fraction_bits, self.server.has_momentum
        base, momentum = np.split(self.genesis.values, [CHUNK_VALUES])
        if moves:
            state = np.concatenate(next_with_momentum(base, momentum, step, bits, self.server))
        else:
            state = next_state(base, step, bits, self.server)
        # Change towards zero, because the coordinate may be at a limit of int32.
        state[COORDINATE] += 1 if state[COORDINATE] < 0 else -1
        return Vector.of(self.params.depth, state, momentum=moves)

    def update_root(self, _number: int, key: LocalSigner) -> bytes:
        return self._updates[self.parties.index(key)].tree.root

    def model_root(self, _number: int) -> bytes:
        return self.wrong.tree.root

    # ------------------------------------------------------------------ disputes

    def challenge(self) -> tuple[Cost, Cost]:
        """Register a challenge and prove the fraud; return both costs."""
        federation, result = self.federation, self.done.result
        salt = random_bytes("challenge")
        registered = challenge_hash(
            self.watcher.address, result.round, self.digest, COORDINATE, salt
        )
        call = federation.register_challenge(registered)
        registration = self.send(self.watcher, call, REGISTER_CHALLENGE)
        updates = [
            RevealedUpdate(result.round, u.party, i, u.weight, u.root, u.cid)
            for i, u in enumerate(self.done.updates)
        ]
        bases = [self.genesis.proof(index) for index in self.genesis.layout.base_chunks(0)]
        proofs = b"".join([*(u.proof() for u in self._updates), *bases, self.wrong.proof()])
        call = federation.challenge(result, updates, COORDINATE, proofs, salt)
        proof = self.send(self.watcher, call, CHALLENGE)
        if federation.window(result.round).canonical:
            raise RuntimeError("the wrong model is still part of the history")
        return registration, proof

    def slash(self) -> list[Cost]:
        """Slash every signer of the challenged result."""
        calls = [
            self.federation.slash_signer(self.digest, seat) for seat in range(len(self.aggregators))
        ]
        return [self.send(self.watcher, call, SLASH) for call in calls]

    def descend(self) -> Iterator[tuple[Cost, Cost]]:
        """Demand and answer from the root to the chunk; yield both costs of each step."""
        federation, tree = self.federation, self.wrong.tree
        level, bond = self.params.state_depth, self.params.demand_bond
        call = federation.demand(self.done.result.round, level, 0, bond)
        demand = self.send(self.watcher, call, DEMAND)
        for number in range(1, self.params.state_depth):
            content = nodes_below(tree, level, 0) if level else self._model_chunk()
            call = federation.answer(number, content, path_above(tree, level, 0))
            yield demand, self.send(self.keeper, call, ANSWER)
            if level == 0:
                return
            level -= levels_shown(level)
            demand = self.send(self.watcher, federation.descend(number, 0, bond), DEMAND)

    def _model_chunk(self) -> bytes:
        return chunk(self.wrong.layout, self.wrong.values, 0)
