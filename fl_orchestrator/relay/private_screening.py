"""A relay's checks of the messages of a private federation; see `screening`."""

from __future__ import annotations

from typing import Any, Final, cast

from fl_orchestrator.chain.contract.private import NO_MASK_KEY, PrivateFederation
from fl_orchestrator.chain.signing.recovery import recover
from fl_orchestrator.chain.types import (
    MaskedUpdate,
    Observation,
    Phase,
    PrivateObservation,
    Signature,
    SignedClaim,
    SignedMaskedCommit,
)
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.private_digests import Held, PrivateCommit, PrivateReveal, Release
from fl_orchestrator.model.vector_file import VectorKind, max_file_bytes
from fl_orchestrator.model.words import WORD_BYTES
from fl_orchestrator.privacy.keys import is_public_key
from fl_orchestrator.privacy.release import record_bytes
from fl_orchestrator.privacy.sets import MAX_SEATS, MAX_SETS
from fl_orchestrator.relay.private_messages import (
    MAX_RESULT_BYTES,
    ClaimMessage,
    MaskedCommitMessage,
    MaskedRevealMessage,
    PrivateAttestationMessage,
    WordMessage,
)
from fl_orchestrator.relay.screening import (
    ATTESTING,
    MessageKind,
    Refused,
    Screening,
    Upload,
    require_phase,
)
from fl_orchestrator.roles.masked.relay import SignedPrivateResult
from fl_orchestrator.roles.masked.words import MAX_FILES, SignedWord
from fl_orchestrator.roles.relay import MAX_RESULTS

_AFTER_COMMIT: Final = (Phase.REVEAL, Phase.CLAIM, Phase.ATTEST)
# Of each set half of the seats are outside, where there are as many sets as possible.
_MOST_SHARES: Final = MAX_SETS // 2
# A party makes one file; after a reorganisation another.
_MAX_MASKED: Final = 4
# A seat confirms once, and after a reorganisation perhaps another lock.
_MAX_WORDS: Final = MAX_FILES + 4


class PrivateScreening(Screening):
    """Checks messages against the state of a private federation's contract."""

    @property
    def kinds(self) -> tuple[MessageKind, ...]:
        return (
            MessageKind("commits", MaskedCommitMessage, self.masked_commit),
            MessageKind("reveals", MaskedRevealMessage, self.masked_reveal, self.masked_upload),
            MessageKind("claims", ClaimMessage, self.claim),
            MessageKind("words", WordMessage, self.word, self.release_upload),
            MessageKind(
                "attestations",
                PrivateAttestationMessage,
                self.private_attestation,
                max_bytes=MAX_RESULT_BYTES,
            ),
        )

    @property
    def max_update_bytes(self) -> int:
        return self._max_masked_bytes(self._federation.params().max_updates)

    @property
    def max_upload_bytes(self) -> int:
        updates = self._federation.params().max_updates
        return max(self.max_update_bytes, _max_release_bytes(updates, (updates + 1) // 2))

    @property
    def _private(self) -> PrivateFederation:
        return cast(PrivateFederation, self._federation)

    # ------------------------------------------------------------------ parties

    def masked_commit(self, round_number: int, commit: SignedMaskedCommit) -> str:
        self._require(round_number, "commit", Phase.COMMIT)
        signed = PrivateCommit(round_number, commit.party, commit.weight, commit.mask_key)
        self._require_signed(commit.party, signed, Signature(commit.r, commit.vs))
        seen = self._require_drawn(round_number, commit.party)
        if commit.weight == 0 and commit.mask_key == NO_MASK_KEY:
            # The wish of a party that is marked absent.
            if not seen.committed.absent:
                raise Refused(403, f"{commit.party} is not marked absent.")
        elif commit.weight == 0 or not is_public_key(commit.mask_key):
            raise Refused(403, "The weight is zero, or the mask key is not a point of the curve.")
        return commit.party

    def masked_reveal(self, round_number: int, update: MaskedUpdate) -> str:
        seen = self._require_update(round_number, update, "reveal", Phase.REVEAL)
        if seen.committed.revealed:
            raise Refused(409, f"{update.party} has revealed in this round.")
        return update.party

    def masked_upload(self, round_number: int, update: MaskedUpdate) -> Upload:
        """Check that a masked update's bytes may be uploaded, which is after the commit phase."""
        seen = self._require_update(round_number, update, "upload", *_AFTER_COMMIT)
        self._count(round_number, update.party, "updates", update.cid, _MAX_MASKED)
        limit = self._max_masked_bytes(seen.current.commits)
        return Upload(seen, update.party, update.cid, self._origin.masked(round_number), limit)

    def _require_update(
        self, round_number: int, update: MaskedUpdate, what: str, *phases: Phase
    ) -> Observation:
        """Require a reveal that is signed for the commits that the contract counted."""
        self._require(round_number, what, *phases)
        seen = cast(PrivateObservation, self._observe(update.party))
        require_phase(seen.current, round_number, what, *phases)
        if seen.committed.round != round_number:
            raise Refused(403, f"{update.party} has not committed in this round.")
        commits_hash = seen.claims.commits_hash
        signed = PrivateReveal(round_number, update.party, commits_hash, update.root, update.cid)
        self._require_signed(update.party, signed, Signature(update.r, update.vs))
        if not any(update.root):
            raise Refused(403, "The root is zero.")
        return seen

    def _max_masked_bytes(self, commits: int) -> int:
        words = 2 * commits + 1 + MAX_SETS + MAX_SEATS * _MOST_SHARES
        return max_file_bytes(self._layout, VectorKind.MASKED, WORD_BYTES * words)

    def _require_signed(self, party: str, message: Any, signature: Signature) -> None:
        if recover(self._private.digest(message), signature) != party:
            raise Refused(403, "The signature is not the party's for this round and its commits.")

    # ------------------------------------------------------------------ aggregators

    def claim(self, round_number: int, claim: SignedClaim) -> str:
        seen = cast(PrivateObservation, self._require(round_number, "claim", Phase.CLAIM))
        current, claims = seen.current, seen.claims
        if claim.held >> current.reveals:
            raise Refused(403, "The claim has updates that do not exist.")
        held = Held(round_number, claims.commits_hash, current.updates_hash, claim.held)
        signature = Signature(claim.r, claim.vs)
        signer, seat = self._require_seat(self._private.digest(held), signature)
        if claims.claimed_seats >> seat.seat & 1:
            raise Refused(409, f"{signer} has claimed in this round.")
        self._count(round_number, signer, "claims", claim, MAX_RESULTS)
        return signer

    def word(self, round_number: int, word: SignedWord) -> str:
        self._require(round_number, "message", *ATTESTING)
        signer, _ = self._require_seat(self._private.digest(word.message), word.signature)
        # With its signature: one message can be signed in many ways, and each would be kept.
        self._count(round_number, signer, "messages", word, _MAX_WORDS)
        return signer

    def release_upload(self, round_number: int, word: SignedWord) -> Upload:
        """Check that the file of a release may be uploaded."""
        message = word.message
        if not isinstance(message, Release):
            raise Refused(400, "This message names no file.")
        seen = cast(PrivateObservation, self._require(round_number, "upload", *ATTESTING))
        signer, _ = self._require_seat(self._private.digest(message), word.signature)
        self._count(round_number, signer, "files", message.cid, MAX_FILES)
        limit = _max_release_bytes(seen.current.commits, seen.claims.locked.bit_count())
        return Upload(seen, signer, message.cid, self._origin.masked(round_number), limit)

    def private_attestation(self, round_number: int, signed: SignedPrivateResult) -> str:
        seen = cast(PrivateObservation, self._require(round_number, "attestation", *ATTESTING))
        result, seeds = signed.result, signed.seeds
        if result.included & ~seen.claims.locked:
            raise Refused(403, "The result includes updates that are not locked.")
        included = result.included.bit_count()
        number = included * (1 + seen.current.commits - included)
        if len(seeds) != WORD_BYTES * number or keccak256(seeds) != result.seeds_hash:
            raise Refused(403, "These are not the seeds of the result, or too few or too many.")
        return self._require_result(seen.current, signed, self._private.digest(result))


def _max_release_bytes(commits: int, locked: int) -> int:
    """The largest release file of any seat, whatever the stakes of the seats are."""
    labels = locked * (1 + commits - locked)
    return labels * _MOST_SHARES * record_bytes(max(1, commits))
