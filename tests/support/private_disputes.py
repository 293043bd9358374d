"""A private round up to its opened seeds, and results that all aggregators sign without a check."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from web3 import Web3

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.types import Phase, PrivateObservation, SignedClaim
from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.model.private_digests import Held, PrivateResult
from fl_orchestrator.model.vector_file import in_blocks
from fl_orchestrator.privacy.opening import seeds_hash
from fl_orchestrator.roles import base
from fl_orchestrator.roles.aggregator.opening import Opened
from fl_orchestrator.roles.aggregator.private import PrivateAggregator
from fl_orchestrator.roles.party.party import Party
from fl_orchestrator.roles.vectors import VectorFile
from support.disputes import Lie
from support.private_federation import SmallPrivateFederation

SeedLie = Callable[[bytes], bytes]


class Accomplice(PrivateAggregator):
    """Takes part in a round until its seeds are open, and then signs nothing by itself."""

    ready: tuple[PrivateObservation, Any, Opened] | None = None

    def _attest(self, seen: PrivateObservation, work: Any, opened: Opened) -> base.Step:
        first, self.ready = self.ready is None, (seen, work, opened)
        # An action: else the time would go on, to the end of the phase.
        return base.Step("opened" if first else None, base.NEVER)


@dataclasses.dataclass(slots=True)
class OpenedRound:
    """A private round whose seeds are open, and which no aggregator has signed yet."""

    private: SmallPrivateFederation
    accomplice: Accomplice

    @property
    def _ready(self) -> tuple[PrivateObservation, Any, Opened]:
        assert self.accomplice.ready is not None
        return self.accomplice.ready

    @property
    def seeds(self) -> bytes:
        return self._ready[2].seeds

    @property
    def right(self) -> PrivateResult:
        """What honest aggregators would sign."""
        result: PrivateResult = self._ready[1].result
        return result

    def file(self, result: PrivateResult) -> VectorFile:
        role = self.accomplice
        held = role._vectors.held(result.global_root, role._origin.state(result.round))
        assert held is not None
        return held

    def wrong_model(self, lie: Lie, *, withhold: bool = False) -> PrivateResult:
        """The right result with another model, whose file is in the store or not."""
        vectors = self.accomplice._vectors
        right = self.file(self.right)
        wrong = vectors.write(right.meta, in_blocks(lie(vectors.load(right))))
        with wrong.path.open("rb") as stream:
            cid = cid_of(stream)
        if not withhold:
            with wrong.path.open("rb") as stream:
                self.private.store.put(stream)
        return dataclasses.replace(self.right, global_root=wrong.root, global_cid=cid)

    def of_seeds(self, seeds: bytes) -> PrivateResult:
        """The result of these seeds, which is right but for them."""
        seen, work, opened = self._ready
        return self.accomplice._compute(seen, work, Opened(opened.included, seeds))

    def accept(self, result: PrivateResult, seeds: bytes | None = None) -> None:
        """Let all aggregators sign a result, without checking it."""
        contract, keys = self.private.contract, self.private.aggregators
        assert seeds_hash(seeds or self.seeds) == result.seeds_hash
        signatures = [contract.sign(key, result) for key in keys]
        call = contract.attest_private(result, seeds or self.seeds, signatures)
        self.private.send(self.private.keeper_key, call)
        assert self.private.seen().current.phase is Phase.ACCEPTED


def open_seeds(
    private: SmallPrivateFederation, round_number: int = 1, *, drop_out: bool = False
) -> OpenedRound:
    """Run a round until its seeds are open; with ``drop_out``, one that commits reveals nothing."""
    seats = [
        Accomplice(private.context(key, private.home("aggregators", number)), private.vault(number))
        for number, key in enumerate(private.aggregators)
    ]
    parties: list[Party] = [private.party(i) for i in range(len(private.parties))]
    seen = private.open_round()
    assert seen.current.round == round_number
    if drop_out:
        assert parties.pop().step().action == "commit"
    private.run(
        [*parties, *seats, private.keeper(round_number)], lambda _: seats[0].ready is not None
    )
    return OpenedRound(private, seats[0])


def claim_all(
    private: SmallPrivateFederation, parties: Sequence[base.Worker]
) -> PrivateObservation:
    """Run a round of these parties, and let all aggregators claim all updates, unseen."""
    private.open_round()
    private.run([*parties, private.keeper(1)], lambda o: o.current.phase is Phase.CLAIM)
    seen = private.seen()
    held = (1 << seen.current.reveals) - 1
    message = Held(seen.current.round, seen.claims.commits_hash, seen.current.updates_hash, held)
    signed = [private.contract.sign(key, message) for key in private.aggregators]
    claims = [SignedClaim(held, signature.r, signature.vs) for signature in signed]
    private.send(private.keeper_key, private.contract.claim(claims))
    seen = private.seen()
    assert (seen.current.phase, seen.claims.locked) == (Phase.ATTEST, held)
    return seen


def with_wrong_seed(seeds: bytes, number: int) -> bytes:
    """Seeds of which one is another."""
    changed = bytearray(seeds)
    changed[32 * number] ^= 1
    return bytes(changed)


def private_events(private: SmallPrivateFederation, name: str) -> list[Any]:
    """The arguments of all events of one kind."""
    contract = private.chain.web3.eth.contract(
        address=Web3.to_checksum_address(private.contract.address),
        abi=load_artifact("PrivateFederation").abi,
    )
    return [log["args"] for log in contract.events[name].get_logs(from_block=0)]


__all__ = ["OpenedRound", "open_seeds", "private_events", "with_wrong_seed"]
