"""The party: trains on its own data, commits to its update, and reveals it afterwards."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.sending.budget import BudgetExceeded
from fl_orchestrator.chain.sending.fees import FeeTooHigh
from fl_orchestrator.chain.sending.send import InsufficientFunds
from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.errors import TrainingError
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.fixed_point import (
    UpdateEncoder,
    UpdateEncoding,
    update_weight,
)
from fl_orchestrator.roles.attempt import attempt
from fl_orchestrator.roles.base import ANY_TIME, Step, Wait, at, in_phase
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.numbers import Finding, SaturationAlert, update_findings
from fl_orchestrator.roles.party.decision import PartyDecision, decide
from fl_orchestrator.roles.party.last_error import keep_error
from fl_orchestrator.roles.party.masked import MaskedSubmission
from fl_orchestrator.roles.party.rehearsal import training_config
from fl_orchestrator.roles.party.site import SiteTrainer
from fl_orchestrator.roles.party.stake_alert import StakeAlert
from fl_orchestrator.roles.party.submission import (
    Blocks,
    Entry,
    Message,
    MustSitOut,
    PlainSubmission,
    Submission,
)
from fl_orchestrator.roles.relay import RELAY_SHARE, RelayFailed
from fl_orchestrator.training.trainer import Handed, Trainer, training_seed

_log = get_logger(__name__)

# A failed relay is asked again after this fraction of the rest of a phase.
_RETRY_SHARE: Final = 0.05
# The contract's errors if a message that was posted to a relay has been sent meanwhile.
_ARRIVED: Final = frozenset(
    {
        ContractError.AlreadyCommitted,
        ContractError.AlreadyRevealed,
        # It is no longer marked absent.
        ContractError.ZeroCommitment,
    }
)
_TAKING_PART: Final = in_phase(Phase.COMMIT, Phase.REVEAL)
_UPLOADING: Final = (Phase.REVEAL, Phase.CLAIM, Phase.ATTEST)
# What the relay has sent may end the phase. The party must see it: only then does it ask again at
# once if a reorg undoes it.
_RELAYED: Final = in_phase(*Phase)


@dataclass(frozen=True, slots=True)
class PartySettings:
    """A party's own settings. ``salt(round)`` must be unpredictable for everybody else.

    ``confirmations``: how many blocks must follow the first block in which the commit phase was
    seen closed, before the update leaves this site. A reorg may open the phase again.
    While it is ``paused`` a party does not commit, but still reveals an update it has committed to.
    ``trusted``: the aggregators that may together read a party's updates in a private federation;
    None for all that the owner admits.
    """

    run_seed: int
    salt: Callable[[int], bytes] = lambda _round: secrets.token_bytes(32)
    confirmations: int = 0
    paused: Callable[[], bool] = lambda: False
    trusted: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class _Posted:
    """The last request to the relay, its deadline in the chain's time, and what it shall send."""

    round: int
    duty: PartyDecision
    until: int
    failed: bool = False
    call: Call | None = None


_NOTHING_POSTED: Final = _Posted(0, PartyDecision.NOTHING, 0)


def _submission(context: Context, settings: PartySettings) -> Submission[Any]:
    if isinstance(context.federation, PrivateFederation):
        return MaskedSubmission(context, settings.salt, settings.trusted)
    return PlainSubmission(context, settings.salt)


class Party:
    """One party of one federation; the context's ``home`` is private."""

    def __init__(
        self,
        context: Context,
        trainer: Trainer,
        settings: PartySettings,
    ) -> None:
        self._federation = context.federation
        self._sender = context.sender
        self._store = context.store
        self._manifest = context.manifest
        self.submission = _submission(context, settings)
        self._site = SiteTrainer(context, trainer)
        self._settings = settings
        self._relay = context.relay
        self._retention = context.retention
        self._origin = context.origin
        self._vectors = context.vectors()
        self._home = context.home
        self._posted = _NOTHING_POSTED
        # A round, and the block in which its commit phase was first seen closed.
        self._closed = (0, 0)
        self._failed_in = self._lost_in = self._uploaded_in = 0
        self._sat_out = 0
        self._monitor = context.monitor
        self._saturation = SaturationAlert(context.monitor)
        minimum = context.federation.params().min_party_stake
        self._stake = StakeAlert(context.sender.address, minimum)
        self._found: tuple[Finding, ...] = ()
        self.clipped = 0.0
        """The fraction of the last update's values that were clipped."""

    @property
    def address(self) -> str:
        return self._sender.address

    def has_prepared(self, round_number: int) -> bool:
        """Whether an update of this round is in the journal, committed or not."""
        return self.submission.entry(round_number) is not None

    def step(self) -> Step:
        seen = self._federation.observe(self.address)
        if self._retention is not None:
            self._retention.release(seen)
        self._forget_what_is_done(seen)
        self._stake.look(seen)
        entry = self.submission.entry(seen.current.round)
        decision = decide(seen, entry, self._settings.paused())
        if decision is PartyDecision.TRAIN:
            # Before it trains: the others may be faster, and no longer wait for it.
            if seen.committed.absent and not self._waits(seen, PartyDecision.COME_BACK):
                return self._come_back(seen)
            entry = self._train_once(seen)
            # A commit does not name its round, and training takes time: it must not land in the
            # next one, where it could not be revealed.
            seen = self._federation.observe(self.address)
            if entry is not None and entry.round != seen.current.round:
                return Step("train")
            decision = decide(seen, entry, self._settings.paused())
        if decision is PartyDecision.COMMIT and entry is not None:
            return self._commit(seen, entry)
        if decision is PartyDecision.REVEAL and entry is not None:
            return self._reveal(seen, entry)
        if decision is PartyDecision.LOST:
            self._note_loss(seen.current.round)
        if entry is not None and self._owes_upload(seen, entry):
            return self._upload(seen, entry)
        return Step(wait=self._nothing_before(seen))

    def _nothing_before(self, seen: Observation) -> Wait:
        if self._settings.paused():
            # A person may end that at any time.
            return ANY_TIME
        committed = seen.committed.round == seen.current.round
        return _TAKING_PART if committed else in_phase(Phase.COMMIT)

    def _note_loss(self, round_number: int) -> None:
        """Log it once per round: the party itself cannot recover from it."""
        if self._lost_in != round_number:
            self._lost_in = round_number
            _log.error(
                "journal lost",
                party=self.address,
                round=round_number,
                advice="restore the home from its backup before the reveal period ends",
            )

    def _train_once(self, seen: Observation) -> Entry | None:
        """Train, or sit the round out if that fails: there is no update to make of NaN, say."""
        if self._failed_in == seen.current.round:
            return None
        try:
            self.submission.permit(seen, None)
            return self._train(seen)
        except (TrainingError, MustSitOut) as error:
            self._failed_in = seen.current.round
            self._sat_out += 1
            self._monitor.sat_out(self._sat_out, error.for_log)
            reason = keep_error(self._home, error)
            _log.error(
                "sits out",
                party=self.address,
                round=seen.current.round,
                in_a_row=self._sat_out,
                reason=reason,
            )
            return None

    def _train(self, seen: Observation) -> Entry:
        """Train from the head's model; the update and its preimage are on disk on return."""
        round_number = seen.current.round
        # A reorg may make the last round current again, before its reveal.
        self._site.keep_states(seen, round_number - 1)
        self.submission.forget_before(round_number - 1)
        self._vectors.forget_rounds_before(seen.current.base)
        base = self._vectors.fetch(
            self._store, *seen.current.base_model(), self._origin.state(seen.current.base)
        )
        self._saturation.look(seen.current.base, self._vectors.saturated_tensors(base))
        # The base is read again for the update: in memory are the weights of the trainer alone.
        weights, samples, metrics, kept = self._site.train(
            seen, Handed(self._vectors.weights(base)), self._training_config(round_number)
        )
        layout, bits = self._manifest.layout, self._manifest.update_fraction_bits
        encoder = UpdateEncoder(layout, bits, weights)
        self.submission.permit(seen, update_weight(self._manifest, samples))
        entry = self.prepare(round_number, self._vectors.encoded(base, encoder), samples, kept)
        encoded = encoder.encoding()
        self._note(round_number, encoded, samples)
        _log.info(
            "trained",
            party=self.address,
            round=round_number,
            clipped=encoded.clipped,
            metrics=metrics,
        )
        return entry

    def _note(self, round_number: int, encoded: UpdateEncoding, samples: int) -> None:
        """Log what is wrong with an update, but not again in every round."""
        self.clipped, self._sat_out = encoded.clipped, 0
        self._monitor.sat_out(0)
        self._monitor.trained(encoded.clipped, encoded.coarse)
        found = update_findings(self._manifest, encoded, samples)
        for finding in found:
            if finding not in self._found:
                log = _log.error if finding.serious else _log.warning
                log(
                    "alert: an update's numbers",
                    party=self.address,
                    round=round_number,
                    reason=finding.message,
                )
        self._found = found

    def _training_config(self, round_number: int) -> dict[str, Any]:
        seed = training_seed(self._settings.run_seed, self.address, round_number)
        return training_config(self._manifest, seed, round_number)

    def prepare(
        self, round_number: int, blocks: Blocks, samples: int, state: bytes | None = None
    ) -> Entry:
        """Write an encoded update and its preimage to the journal, before anything is sent."""
        weight = update_weight(self._manifest, samples)
        entry: Entry = self.submission.prepare(round_number, blocks, weight, state)
        return entry

    def _come_back(self, seen: Observation) -> Step:
        """Wish to be waited for again, having been marked absent."""
        round_number = seen.current.round
        _log.warning("was marked absent: comes back", party=self.address, round=round_number)
        wish = self.submission.come_back(round_number)
        return self._deliver(seen, PartyDecision.COME_BACK, seen.current.commit_end, wish)

    def _commit(self, seen: Observation, entry: Entry) -> Step:
        # Again: it may have been prepared by an earlier process, or before a reorganisation.
        self.submission.permit(seen, entry.weight)
        commit = self.submission.commit(entry)
        return self._deliver(seen, PartyDecision.COMMIT, seen.current.commit_end, commit)

    def _reveal(self, seen: Observation, entry: Entry) -> Step:
        """Store, then reveal. Only from now on may the bytes leave this party's directory."""
        if not self._is_settled(seen):
            return Step(wait=at(seen.timestamp + 1))
        reveal = self.submission.reveal(seen, entry, False)
        if self._posted.call not in (None, reveal.call):
            # A reorg has changed the commits, which the reveal of a masked update names.
            self._posted, self._uploaded_in = _NOTHING_POSTED, 0
        if not self._waits(seen, PartyDecision.REVEAL):
            reveal = self.submission.reveal(seen, entry, True)
        return self._deliver(seen, PartyDecision.REVEAL, seen.current.reveal_end, reveal)

    def _is_settled(self, seen: Observation) -> bool:
        """Whether the commit phase has closed, as its confirmations say.

        If a reorg opened it again after the reveal, everybody could copy the update.
        """
        if self._closed[0] != seen.current.round or seen.block_number < self._closed[1]:
            self._closed = (seen.current.round, seen.block_number)
        return seen.block_number >= self._closed[1] + self._settings.confirmations

    # ------------------------------------------------------------------ by the relay, or directly

    def _deliver(
        self, seen: Observation, duty: PartyDecision, phase_end: int, message: Message
    ) -> Step:
        """Use the relay first; send directly if it fails, or has not sent the message in time.

        A reveal is sent directly only when the relay has failed twice: an update that only this
        site has is left out, so a relay that restarts gets a moment to take it. A party without
        coin retries the relay until the phase ends.
        """
        if self._relay is None:
            return self._send(seen, message.call)
        if self._waits(seen, duty):
            return Step(wait=_RELAYED | at(self._posted.until))
        asked = (self._posted.round, self._posted.duty) == (seen.current.round, duty)
        ignored = asked and not self._posted.failed
        if ignored and (sent := self._send_if_paid(seen, message.call)):
            return sent
        began = time.monotonic()
        try:
            message.post(self._relay)
        except RelayFailed as error:
            _log.warning("relay failed", party=self.address, duty=duty.name, reason=str(error))
            directly = not ignored and (asked or duty is not PartyDecision.REVEAL)
            if directly and (sent := self._send_if_paid(seen, message.call)):
                return sent
            return self._retry(seen, duty, phase_end)
        if duty is PartyDecision.REVEAL:
            self._uploaded_in = seen.current.round
        # The keeper's time starts only after the upload.
        now = seen.timestamp + int(time.monotonic() - began)
        until = now + max(1, int((phase_end - now) * RELAY_SHARE))
        self._posted = _Posted(seen.current.round, duty, until, call=message.call)
        return Step(f"post {duty.name.lower()}", _RELAYED | at(until))

    def _retry(self, seen: Observation, duty: PartyDecision, phase_end: int) -> Step:
        until = seen.timestamp + max(1, int((phase_end - seen.timestamp) * _RETRY_SHARE))
        self._posted = _Posted(seen.current.round, duty, until, failed=True)
        return Step(wait=_RELAYED | at(until))

    def _owes_upload(self, seen: Observation, entry: Entry) -> bool:
        """Whether the update was revealed without the relay, which may still take its file."""
        slot, current = seen.committed, seen.current
        taken = self._relay is None or self._uploaded_in == current.round
        revealed = slot.round == current.round and slot.revealed and entry.opens(slot)
        return revealed and not taken and current.phase in _UPLOADING

    def _upload(self, seen: Observation, entry: Entry) -> Step:
        """Upload an update that is revealed: one that nobody can get is left out."""
        upload, round_number = self.submission.upload(seen, entry), seen.current.round
        if self._relay is None or upload is None:
            return Step(wait=self._nothing_before(seen))
        if self._waits(seen, PartyDecision.UPLOAD):
            return Step(wait=_TAKING_PART | at(self._posted.until))
        try:
            upload(self._relay)
        except RelayFailed as error:
            _log.warning("relay failed", party=self.address, duty="UPLOAD", reason=str(error))
            return self._retry(seen, PartyDecision.UPLOAD, seen.current.attest_end)
        self._uploaded_in = round_number
        return Step("upload", _TAKING_PART)

    def _send(self, seen: Observation, call: Call) -> Step:
        if attempt(self._sender, call, _ARRIVED):
            return Step(call.label, _TAKING_PART)
        return Step(wait=at(seen.timestamp + 1))

    def _send_if_paid(self, seen: Observation, call: Call) -> Step | None:
        """Send a call that the relay has not sent; None if the account cannot pay for gas."""
        try:
            return self._send(seen, call)
        except (InsufficientFunds, BudgetExceeded, FeeTooHigh) as error:
            _log.error("cannot pay: asks the relay", party=self.address, reason=str(error))
            return None

    def _forget_what_is_done(self, seen: Observation) -> None:
        """Forget requests that the relay has done, so that they are repeated after a reorg.

        If a reorg opens the commit phase again, its confirmations are counted from the start.
        """
        if seen.current.phase is Phase.COMMIT:
            self._closed = (0, 0)
        slot, posted = seen.committed, self._posted
        done = posted.duty is PartyDecision.COMMIT or slot.revealed
        if slot.round == posted.round and done and posted.duty is not PartyDecision.UPLOAD:
            self._posted = _NOTHING_POSTED

    def _waits(self, seen: Observation, duty: PartyDecision) -> bool:
        """Whether the relay was asked and still has time."""
        asked = (self._posted.round, self._posted.duty) == (seen.current.round, duty)
        return asked and seen.timestamp < self._posted.until
