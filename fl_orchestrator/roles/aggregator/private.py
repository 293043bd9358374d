"""The aggregator of a private federation: claims, confirms, releases, and signs the sum's model.

See docs/protocol.md, sections 12.5 to 12.7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, cast

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.types import Phase, PrivateObservation, SignedClaim
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.private_digests import Confirmed, Held, PrivateResult, Release
from fl_orchestrator.privacy.opening import seeds_hash
from fl_orchestrator.roles.aggregator.beside import BesideAnswers
from fl_orchestrator.roles.aggregator.hearing import Hearing
from fl_orchestrator.roles.aggregator.holding import Holding, Holdings
from fl_orchestrator.roles.aggregator.opening import Opened, Opener, OpenLock
from fl_orchestrator.roles.aggregator.posting import Posted, share
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.roles.aggregator.seat_keys import RENEWAL_ROUNDS, SeatKeys
from fl_orchestrator.roles.aggregator.vault import Vault
from fl_orchestrator.roles.attempt import attempt
from fl_orchestrator.roles.base import ANY_TIME, NEVER, NEW_REVEALS, Step, Wait, at, in_phase
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.masked.files import MaskedFiles
from fl_orchestrator.roles.masked.relay import PrivateRelay, SignedPrivateResult
from fl_orchestrator.roles.masked.rounds import MaskedRound, MaskedRounds, Members
from fl_orchestrator.roles.masked.witnesses import EndpointsDisagree, Seen, Witnesses
from fl_orchestrator.roles.masked.words import SignedWord, Words
from fl_orchestrator.roles.numbers import SaturationAlert
from fl_orchestrator.roles.relay import RELAY_SHARE, RelayFailed
from fl_orchestrator.roles.updates import FETCH_SECONDS, RETRY_SHARE
from fl_orchestrator.roles.vectors import VectorFile

_log = get_logger(__name__)

# A claim waits for missing updates for this share of its phase.
_CLAIM_SHARE: Final = 0.5
# What the relay has not sent by this share of a phase, the aggregator sends itself.
_OWN_SHARE: Final = 0.75
_AT_WORK: Final = (Phase.REVEAL, Phase.CLAIM, Phase.ATTEST, Phase.ACCEPTED)
# The contract's errors if another account has sent the message meanwhile.
_ARRIVED: Final = frozenset(
    {ContractError.AlreadyClaimed, ContractError.AlreadyAttested, ContractError.WrongPhase}
)


@dataclass(slots=True)
class _Work:
    """What this process has done in a round, and when it posted what; a restart does it again.

    ``settled`` is a lock, as places, and the block in which it was first seen.
    """

    holding: Holding
    members: Members | None
    settled: tuple[int, int] = (0, 0)
    open: OpenLock | None = None
    result: PrivateResult | None = None
    opened: Opened | None = None
    posted: Posted = field(default_factory=Posted)

    def goes_on(self, current: MaskedRound) -> bool:
        """Whether it is this round that goes on: after a reorg, a place may be another party's."""
        before = self.holding.seen
        same = before.context.ctx == current.context.ctx
        return same and current.reveals[: len(before.reveals)] == before.reveals


class PrivateAggregator:
    """One aggregator of one private federation; see `Aggregator` for ``responder``.

    ``confirmations``: so many blocks must follow the first one in which the lock was seen. After
    ``renewal`` rounds it makes a new encryption key: whoever steals one opens the rounds it served.
    """

    def __init__(
        self,
        context: Context,
        vault: Vault,
        responder: Responder | None = None,
        confirmations: int = 0,
        renewal: int = RENEWAL_ROUNDS,
    ) -> None:
        federation = context.federation
        if not isinstance(federation, PrivateFederation):
            raise TypeError("only a private federation has claims and locks")
        self._federation = federation
        self._sender = context.sender
        self._store = context.store
        self._relay = cast(PrivateRelay | None, context.relay)
        self._origin = context.origin
        self._retention = context.retention
        self._keys = SeatKeys(context, vault, renewal)
        self._vault = vault
        self._confirmations = confirmations
        self._private = federation.private_params()
        self._vectors = context.vectors()
        self._files = MaskedFiles(self._vectors, context.manifest, context.origin)
        # Noise on sums is for updates that weigh the same.
        self._weight = None if context.manifest.noise is None else 1
        self._index = PrivateRoundIndex(federation, context.deployed_at)
        self._rounds = MaskedRounds(federation, self._index)
        self._holdings = Holdings(self._files, self._store)
        self._witnesses = Witnesses(context.endpoints, self.address, context.deployed_at)
        self._hearing = Hearing(self._relay, self._index, self.address)
        self._words = Words(federation, [self._hearing.relayed, self._hearing.announced])
        self._opening = Opener(
            vault, self._words, self._store, self._private.relock, self._note_release
        )
        self._saturation = SaturationAlert(context.monitor)
        self._turns = BesideAnswers(self._round_step, responder)
        self._work: _Work | None = None

    @property
    def address(self) -> str:
        return self._sender.address

    def step(self) -> Step:
        return self._turns.step()

    def _round_step(self) -> Step:
        seen = self._federation.observe(self.address)
        if self._retention is not None:
            self._retention.release(seen)
        self._index.search_to(seen.block_number)
        if changed := self._keys.keep(seen, self._index):
            return Step(changed)
        idle, phase = in_phase(*_AT_WORK) | NEW_REVEALS, seen.current.phase
        if phase not in _AT_WORK or not seen.aggregator.frozen_stake or not seen.current.reveals:
            return Step(wait=idle)
        work = self._work_on(seen)
        if work is None:
            return Step(wait=idle)
        self._fetch(seen, work)
        # What is on its way is looked for in every second.
        idle |= at(work.holding.retry_at, seen.timestamp + work.holding.fetching)
        if phase is Phase.CLAIM:
            return self._claim(seen, work, idle)
        if phase in (Phase.ATTEST, Phase.ACCEPTED) and seen.timestamp < seen.current.attest_end:
            return self._open(seen, work)
        return Step(wait=idle)

    # ------------------------------------------------------------------ the round

    def _work_on(self, seen: PrivateObservation) -> _Work | None:
        current = self._rounds.current(seen)
        if self._work is not None and self._work.goes_on(current):
            self._work.holding.seen = current
            return self._work
        position = current.position_of(self.address)
        if position is None:
            return None
        self._holdings.abandon_before(current.number)
        self._words.forget_before(current.number)
        void = range(seen.head.round + 1, current.number)
        self._vectors.forget_rounds_before(
            min(seen.current.base, self._first_disputable(seen)), void
        )
        key = current.context.seats[position].key
        secret = self._vault.secret(key, current.number)
        if secret is None:
            _log.error("the key of this round is not here", round=current.number)
        members = None
        if not self._private.relock:
            members = self._vault.list_of(current.base_root) or self._rounds.list_on(
                current.base_root, current.number
            )
        self._work = _Work(Holding(current, position, secret), members)
        return self._work

    def _first_disputable(self, seen: PrivateObservation) -> int:
        height = min(seen.final_height + 1, seen.head.height)
        return self._federation.model(height).round

    def _fetch(self, seen: PrivateObservation, work: _Work) -> None:
        if work.holding.complete:
            return
        period = max(1, seen.claims.claim_end - seen.current.reveal_end)
        seconds = 0.0 if work.holding.fetching else min(FETCH_SECONDS, period / 4)
        self._holdings.fetch(work.holding, seen.timestamp, int(period * RETRY_SHARE), seconds)

    def _claim(self, seen: PrivateObservation, work: _Work, idle: Wait) -> Step:
        current, claims = seen.current, seen.claims
        midway = share(current.reveal_end, claims.claim_end, _CLAIM_SHARE)
        if claims.claimed:
            return Step(wait=idle)
        if not work.holding.complete and seen.timestamp < midway:
            return Step(wait=idle | at(midway))
        misdealers = self._vault.misdealers()
        held = work.holding.claimable(work.members, misdealers, self._weight)
        message = Held(current.round, claims.commits_hash, current.updates_hash, held)
        own_at = share(current.reveal_end, claims.claim_end, _OWN_SHARE)

        def signed() -> SignedClaim:
            self._vault.note_claim(current.round)
            signature = self._federation.sign(self._sender.signer, message)
            return SignedClaim(held, signature.r, signature.vs)

        if self._relay is not None and seen.timestamp < own_at:
            again_at = work.posted.again_at(message, current.reveal_end, own_at)
            if seen.timestamp < again_at:
                return Step(wait=in_phase(*_AT_WORK) | at(own_at, again_at))
            if self._posted(seen, work, message, lambda r: r.post_claim(current.round, signed())):
                return Step("post claim", in_phase(*_AT_WORK) | at(seen.timestamp + 1))
        return self._send(seen, "claim", self._federation.claim([signed()]))

    # ------------------------------------------------------------------ from the lock to the result

    def _open(self, seen: PrivateObservation, work: _Work) -> Step:
        # By then, what the relay hides from the others is announced.
        wait = in_phase(*_AT_WORK) | ANY_TIME | at(_announced_at(seen))
        if not self._is_settled(seen, work):
            return Step(wait=at(seen.timestamp + 1))
        if work.open is None or work.open.locked != seen.claims.locked:
            work.open = self._opening.begin(work.holding, seen.claims.locked, work.members)
        if work.open is None or not self._agreed(work.open):
            return Step(wait=wait)
        self._hearing.listen(seen.current.round)
        if step := self._say(seen, work, work.open):
            return step
        opened = self._opening.gather(work.holding, work.open, seen.timestamp)
        # Who was expelled just now has made one more file necessary.
        if step := self._say(seen, work, work.open):
            return step
        if opened is None or opened.included.bit_count() < self._federation.params().min_updates:
            return Step(wait=wait)
        if work.opened != opened:
            work.opened, work.result = opened, self._compute(seen, work, opened)
        return self._attest(seen, work, opened)

    def _say(self, seen: PrivateObservation, work: _Work, open_: OpenLock) -> Step | None:
        """Tell the others what this seat confirms, and where its pieces are; None if they know."""
        confirmed = self._opening.confirm(work.holding, open_)
        words = [confirmed, *self._opening.release(work.holding, open_)]
        steps = (self._tell(seen, work, word) for word in words if word is not None)
        return next(filter(None, steps), None)

    def _agreed(self, open_: OpenLock) -> bool:
        """Whether two endpoints show this lock; with one endpoint, that one is trusted."""

        def ask(other: Seen) -> object:
            found = other.rounds.current(other.observation)
            return found.lock(other.observation.claims.locked)

        try:
            self._witnesses.require("the lock", open_.lock.word, ask)
        except EndpointsDisagree as error:
            _log.error("alert: confirms nothing", round=open_.lock.round, reason=error.message)
            return False
        return True

    def _is_settled(self, seen: PrivateObservation, work: _Work) -> bool:
        """Whether the Claim phase has closed with this lock, as its confirmations say."""
        locked, block = work.settled
        if locked != seen.claims.locked or seen.block_number < block:
            block = seen.block_number
            work.settled = (seen.claims.locked, block)
        return seen.block_number >= block + self._confirmations

    def _tell(
        self, seen: PrivateObservation, work: _Work, message: Confirmed | Release
    ) -> Step | None:
        """Tell the others by the relay; if it fails, and late in the phase, by an announcement too.

        A relay may show a message to its author, and withhold it from the others.
        """
        holding, number = work.holding, seen.current.round
        files = {} if work.open is None else work.open.files

        def told(words: Iterable[SignedWord]) -> bool:
            return self._words.told(holding.seen, holding.position, message, words)

        relayed = self._relay is not None
        if relayed and message not in work.posted and not told(self._hearing.relayed(number)):
            word = SignedWord(message, self._federation.sign(self._sender.signer, message))
            data = files.get(message.cid) if isinstance(message, Release) else None
            seconds = (seen.current.attest_end - seen.timestamp) * RELAY_SHARE

            def post(relay: PrivateRelay) -> None:
                if data is not None:
                    relay.put_release(word, data, seconds)
                relay.post_word(word)

            if self._posted(seen, work, message, post):
                return Step("post word")
        late = not relayed or self._hearing.relay_fails or seen.timestamp >= _announced_at(seen)
        if (
            late
            and seen.current.phase is Phase.ATTEST
            and not told(self._hearing.announced(number))
        ):
            word = SignedWord(message, self._federation.sign(self._sender.signer, message))
            return self._send(seen, "announce", self._federation.announce(word.to_bytes()))
        return None

    def _compute(self, seen: PrivateObservation, work: _Work, opened: Opened) -> PrivateResult:
        current, base = seen.current, self._base(seen)
        file = self._files.combine(
            work.holding.seen,
            base,
            opened.included,
            work.holding.files,
            opened.seeds,
            self._private.step_limit,
            self._origin.state(current.round),
        )
        self._saturation.look(current.round, file.saturated)
        cid = self._store.put_file(file.path)
        return PrivateResult(
            current.round,
            current.updates_hash,
            current.base_root,
            opened.included,
            seeds_hash(opened.seeds),
            file.root,
            cid,
        )

    def _base(self, seen: PrivateObservation) -> VectorFile:
        base = seen.current.base_model()
        return self._vectors.fetch(self._store, *base, self._origin.state(seen.current.base))

    def _attest(self, seen: PrivateObservation, work: _Work, opened: Opened) -> Step:
        result = work.result
        if result is None:
            return Step(wait=NEVER)
        counted = self._federation.attestation(self._federation.digest(result))
        others_won = seen.current.phase is Phase.ACCEPTED and not counted.accepted
        if others_won or counted.signers >> seen.aggregator.seat & 1:
            return Step(wait=in_phase(*_AT_WORK))
        if self._retention is not None:
            self._keep(seen, work, result)
        midway = share(seen.claims.claim_end, seen.current.attest_end, _CLAIM_SHARE)
        by_relay = self._relay is not None and seen.timestamp < midway
        again_at = work.posted.again_at(result, seen.claims.claim_end, midway)
        if by_relay and seen.timestamp < again_at:
            return Step(wait=in_phase(*_AT_WORK) | at(midway, again_at) | ANY_TIME)
        signature = self._federation.sign(self._sender.signer, result)
        if by_relay:
            signed = SignedPrivateResult(result, opened.seeds, signature)
            if self._posted(seen, work, result, lambda r: r.post_private_attestation(signed)):
                return Step("post attestation")
        call = self._federation.attest_private(result, opened.seeds, [signature])
        return self._send(seen, "attest", call)

    def _note_release(self, cid: Cid, round_number: int) -> None:
        if self._retention is not None:
            self._retention.note([(cid, self._origin.masked(round_number))])

    def _keep(self, seen: PrivateObservation, work: _Work, result: PrivateResult) -> None:
        model = self._vectors.fetch(
            self._store, result.global_cid, result.global_root, self._origin.state(result.round)
        )
        vectors = [(held.reveal.cid, held.file) for held in work.holding.files.values()]
        vectors += [(seen.current.base_model()[0], self._base(seen)), (result.global_cid, model)]
        if self._retention is not None:
            self._retention.keep(vectors)

    # ------------------------------------------------------------------ messages

    def _posted(
        self,
        seen: PrivateObservation,
        work: _Work,
        message: object,
        post: Callable[[PrivateRelay], None],
    ) -> bool:
        if self._relay is None:
            return False
        try:
            post(self._relay)
        except RelayFailed as error:
            self._hearing.note_failure(error)
            return False
        work.posted.note(message, seen.timestamp)
        return True

    def _send(self, seen: PrivateObservation, action: str, call: Call) -> Step:
        if attempt(self._sender, call, _ARRIVED):
            return Step(action)
        return Step(wait=at(seen.timestamp + 1))


def _announced_at(seen: PrivateObservation) -> int:
    """When an aggregator no longer relies on the relay to tell the others, in the chain's time."""
    return share(seen.claims.claim_end, seen.current.attest_end, 1 - _CLAIM_SHARE)
