"""A private federation that runs rounds without training, and the cost of disputing its sums."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Final, cast

import numpy as np
from numpy.typing import NDArray

from _gas.disputes import COORDINATE, WEIGHT, Vector
from _gas.federation import AGGREGATORS, PARTIES, PERIOD, Bench, Round, random_bytes
from _gas.floor import (
    CHALLENGE,
    OPEN_FIRST,
    OPEN_SECOND,
    Cost,
    Work,
    attest_work,
    commit_work,
    reveal_work,
)
from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.event_types import MaskedReveal
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import (
    MaskedUpdate,
    PrivateObservation,
    PrivateParams,
    Role,
    SignedClaim,
    SignedMaskedCommit,
)
from fl_orchestrator.content.cid import RAW, Cid
from fl_orchestrator.model.chunk_tree import Tree, chunk, tree_of
from fl_orchestrator.model.digests import challenge_hash
from fl_orchestrator.model.disputes.proof import ChunkProof
from fl_orchestrator.model.fixed_point import next_state
from fl_orchestrator.model.layout import CHUNK_VALUES, MASKED_CHUNK_VALUES, Layout
from fl_orchestrator.model.private_digests import (
    Held,
    PrivateCommit,
    PrivateResult,
    PrivateReveal,
)
from fl_orchestrator.privacy.keys import public_key, secret_of
from fl_orchestrator.privacy.opening import Opening, seeds_hash
from fl_orchestrator.privacy.seal import masked_root
from fl_orchestrator.privacy.unmask import steps, sums

STEP_LIMIT: Final = 32_767
MIN_UPDATES: Final = 3
# Floors are not computed for what only private federations do: `gas.py` leaves them out.
_CLAIM: Final = Work("claim")


class PrivateBench(Bench):
    """A private federation of ``parties``, of which ``dropped`` commit and reveal nothing.

    Masks and seals are random: a round's cost does not depend on what they hide.
    """

    CONTRACT: ClassVar[type[Federation]] = PrivateFederation

    def __init__(
        self, parties: int = PARTIES, aggregators: int = AGGREGATORS, dropped: int = 0, **terms: Any
    ) -> None:
        self.dropped = dropped
        super().__init__(parties, aggregators, min_updates=MIN_UPDATES, **terms)

    @property
    def contract(self) -> PrivateFederation:
        return cast(PrivateFederation, self.federation)

    def private_params(self) -> PrivateParams:
        return PrivateParams(CHUNK_VALUES, STEP_LIMIT, PERIOD, 2, False)

    def registering(self, role: Role, key: LocalSigner, stake: int) -> Call:
        secret = secret_of(random_bytes("encryption", key.address))
        own = public_key(secret) if role is Role.AGGREGATOR else bytes(32)
        return self.contract.register(role, key.address, stake, own)

    def seeds(self, number: int) -> bytes:
        """The seeds that a round's result opens."""
        included = tuple(range(len(self.parties) - self.dropped))
        count = Opening(len(self.parties), included).count
        return b"".join(random_bytes("seed", number, i) for i in range(count))

    def run_masked_round(self) -> Round:
        """Run a round, relayed, to its acceptance."""
        federation = self.contract
        opening = [self.send(self.keeper, federation.open_round(), OPEN_FIRST)]
        self.chain.mine()
        opening.append(self.send(self.keeper, federation.open_round(), OPEN_SECOND))
        number = self._seen().current.round
        commits = [self._commit_of(number, key) for key in self.parties]
        call = federation.commit_masks_for(commits)
        commit = self.send(self.keeper, call, commit_work(len(commits), True, False))
        commits_hash = self._seen().claims.commits_hash
        revealing = self.parties[: len(self.parties) - self.dropped]
        updates = [self._update_of(number, key, commits_hash) for key in revealing]
        call = federation.reveal_masked(commits_hash, updates)
        reveal = self.send(self.keeper, call, reveal_work(len(updates)))
        if self.dropped:
            self.chain.mine(PERIOD)
        claim = self._claim(number, len(updates))
        seen, seeds = self._seen().current, self.seeds(number)
        result = PrivateResult(
            number,
            seen.updates_hash,
            seen.base_root,
            (1 << len(updates)) - 1,
            seeds_hash(seeds),
            self.model_root(number),
            Cid(random_bytes("global cid", number), RAW),
        )
        signatures = [federation.sign(key, result) for key in self.aggregators]
        call = federation.attest_private(result, seeds, signatures)
        attest = self.send(self.keeper, call, attest_work(len(signatures)))
        return Round(result, [], opening, [commit], [reveal, claim], attest)

    def _commit_of(self, number: int, key: LocalSigner) -> SignedMaskedCommit:
        mask_key = public_key(secret_of(random_bytes("mask", number, key.address)))
        message = PrivateCommit(number, key.address, WEIGHT, mask_key)
        signature = self.contract.sign(key, message)
        return SignedMaskedCommit(key.address, WEIGHT, mask_key, signature.r, signature.vs)

    def _update_of(self, number: int, key: LocalSigner, commits_hash: bytes) -> MaskedUpdate:
        root, cid = (
            self.update_root(number, key),
            Cid(random_bytes("cid", number, key.address), RAW),
        )
        message = PrivateReveal(number, key.address, commits_hash, root, cid)
        signature = self.contract.sign(key, message)
        return MaskedUpdate(key.address, root, cid, signature.r, signature.vs)

    def _claim(self, number: int, updates: int) -> Cost:
        seen = self._seen()
        held = (1 << updates) - 1
        message = Held(number, seen.claims.commits_hash, seen.current.updates_hash, held)
        signatures = [self.contract.sign(key, message) for key in self.aggregators]
        claims = [SignedClaim(held, signature.r, signature.vs) for signature in signatures]
        call = self.contract.claim(claims)
        return self.send(self.keeper, call, _CLAIM)

    def _seen(self) -> PrivateObservation:
        return self.contract.observe(self.keeper.address)


class MaskedVector:
    """A masked update of one chunk of a state, in a tree of any depth."""

    def __init__(self, depth: int, *name: object) -> None:
        generator = np.random.default_rng(list(random_bytes(*name)))
        self._layout = Layout.of([("w", [CHUNK_VALUES], 0)], depth=depth, packed=True)
        self.values: NDArray[np.uint32] = generator.integers(
            0, 1 << 32, CHUNK_VALUES, np.uint32, endpoint=False
        )
        self._seal_hash = random_bytes("seal", *name)
        self._tree: Tree = tree_of(self._layout, self.values)

    @property
    def root(self) -> bytes:
        return masked_root(self._tree.root, self._seal_hash)

    def proof(self) -> bytes:
        index = COORDINATE // MASKED_CHUNK_VALUES
        leaf = chunk(self._layout, self.values, index)
        return ChunkProof(index, leaf, self._tree.proof(index)).packed() + self._seal_hash


class DisputedSum(PrivateBench):
    """A private federation whose aggregators sign a model that is wrong by one unit."""

    def __init__(self, parties: int, dropped: int, depth: int) -> None:
        self.genesis = Vector.random(depth, np.int32, "genesis")
        self._updates = [MaskedVector(depth, "masked", i) for i in range(parties - dropped)]
        super().__init__(parties, dropped=dropped, depth=depth, genesis_root=self.genesis.tree.root)
        self.done: Round = self.run_masked_round()

    def update_root(self, _number: int, key: LocalSigner) -> bytes:
        return self._updates[self.parties.index(key)].root

    def model_root(self, _number: int) -> bytes:
        return self.wrong.tree.root

    @cached_property
    def wrong(self) -> Vector:
        """The model that all aggregators sign."""
        opening = Opening(len(self.parties), tuple(range(len(self._updates))))
        vectors = [iter([update.values.copy()]) for update in self._updates]
        total = sums(vectors, opening.masks(self.seeds(1)), CHUNK_VALUES)
        (moved,) = steps(total, WEIGHT * len(self._updates), STEP_LIMIT)
        state = next_state(self.genesis.values, moved, self.params.update_fraction_bits)
        state[COORDINATE] += 1 if state[COORDINATE] < 0 else -1
        return Vector.of(self.params.depth, state)

    def challenge(self) -> Cost:
        """Prove the fraud; return what that costs."""
        federation, result = self.contract, self.done.result
        salt, watcher = random_bytes("challenge"), self.keeper
        digest = federation.digest(result)
        hidden = challenge_hash(watcher.address, result.round, digest, COORDINATE, salt)
        self.send(watcher, federation.register_challenge(hidden), CHALLENGE)
        updates = [
            MaskedReveal(result.round, key.address, i, WEIGHT, update.root, Cid(bytes(32), RAW), i)
            for i, (key, update) in enumerate(zip(self.parties, self._updates, strict=False))
        ]
        masked = [update.proof() for update in self._updates]
        proofs = b"".join([*masked, self.genesis.proof(), self.wrong.proof()])
        call = federation.challenge_private(
            result, updates, COORDINATE, self.seeds(result.round), proofs, salt
        )
        cost = self.send(watcher, call, CHALLENGE)
        if federation.window(result.round).canonical:
            raise RuntimeError("the wrong model is still part of the history")
        return Cost(cost.gas, 0, None, cost.size)
