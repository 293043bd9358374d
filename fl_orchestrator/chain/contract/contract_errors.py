"""The custom errors of the contracts by their names, each with a sentence for a person."""

from __future__ import annotations

from enum import Enum, unique
from typing import Final


@unique
class ContractError(Enum):
    """The custom errors of ``Federation`` and of the libraries that it links."""

    AlreadyAnswered = "This demand was already answered."
    AlreadyAttested = "This aggregator has already attested to this result."
    AlreadyCommitted = "This party has already committed in this round."
    AlreadyDistributed = "The rewards of this round were already distributed."
    AlreadyFraudulent = "The result is already proven fraudulent."
    AlreadyRegistered = "This account is already registered in this role."
    AlreadyRevealed = "This update was already revealed."
    AlreadyUnbonding = "This stake is already unbonding."
    AmountTooHigh = "The amount, or the total it adds to, is too large."
    AnswerOverdue = "The time to answer this demand is over."
    BeneficiaryMismatch = "This account has another beneficiary, which cannot be changed."
    BeyondHead = "There is no accepted model at that height."
    BondTooLow = "The payment is below the bond that this demand costs."
    ChallengeNotRegistered = "The challenge was not registered in an earlier block."
    CommitmentMismatch = "The revealed update is not the one that was committed."
    DescentEnded = "The descent continued at another node, reached a chunk, or ran out of time."
    DisputeWindowClosed = "The time to dispute this result is over."
    EmptyBatch = "The batch is empty."
    FederationFull = "The federation has as many parties as it allows."
    FraudulentResult = "The result is proven fraudulent."
    IndexOutOfTree = "The tree has no chunk at that index."
    InvalidBaseProof = "The proof is not of the base model."
    InvalidBitmap = "The result includes updates that do not exist, or too few."
    InvalidCid = "The CID is zero or has a codec that the protocol does not accept."
    InvalidModelProof = "The proof is not of the result's model."
    InvalidParams = "The federation's parameters contradict each other."
    InvalidSignature = "The signature is not a valid signature of this account."
    InvalidUpdateProof = "The proof is not of the update with this index."
    InvalidWeight = "The weight is outside 1..255."
    NoAggregators = "No aggregator has an active stake, so no round can open."
    NoCommitment = "This party has no commitment in this round."
    NoFreeSeat = "All 64 aggregator seats are taken."
    NoSuchNode = "The tree has no such node."
    NotAccountOrBeneficiary = "Only the account itself or its beneficiary may do this."
    NotActive = "This party's stake does not count in this round yet, or is below the minimum."
    NotAdmitted = "The owner has not admitted this account in this role."
    NotAnAggregator = "The signer is not an active aggregator of this federation."
    NotAnswered = "This demand has not been answered."
    NotBelow = "The node is not among those that the answer shows."
    NotDemander = "Only who made the demand may continue its descent."
    NotDrawn = "This party was not drawn in this round."
    NotEnoughParties = "Fewer parties have an active stake than a round needs updates."
    NotFinal = "The round is not final, or not part of the history."
    NotFinalizable = "There is no accepted round whose challenge window is over."
    NotFraud = "The result is correct at this coordinate."
    NotMissing = "This party has not missed three rounds in a row, or a round takes commits now."
    NotOverdue = "The time of this demand is not over."
    NotRegistered = "This account is not registered in this role."
    NotSlashable = "There is nothing to slash this account for."
    NotUnbonding = "The stake is not unbonding."
    NothingAccepted = "Nothing in the batch could be accepted."
    NothingToWithdraw = "There is nothing to withdraw."
    OwnableInvalidOwner = "The zero address cannot own the federation."
    OwnableUnauthorizedAccount = "Only the owner of the federation may do this."
    PaymentFailed = "The beneficiary refused the payment."
    RoundInProgress = "The current round has not ended."
    RoundNotAlive = "The round was not accepted, or was revoked."
    SeedPending = "The block that seeds the draw is not mined yet."
    StakeStillCounts = "The stake still counts in a round that is not final."
    StakeTooLow = "The stake is below the minimum."
    StaleResult = "The result was signed for other updates or for another base model."
    StillUnbonding = "The unbonding time is not over."
    UnknownDemand = "There is no such demand, or its bond is settled."
    UnknownResult = "This result was not accepted, or nobody has signed it."
    UnknownRule = "The contract does not have the federation's aggregation rule."
    UpdatesMismatch = "These are not the updates of the round."
    WrongAnswer = "The answer is not what the result's model has at the demanded node."
    WrongChunkLength = "The chunk has the wrong length."
    WrongPhase = "The round is in another phase."
    WrongProofLength = "The path, or the row of nodes, has the wrong length."
    WrongProofsLength = "The proofs have the wrong length."
    WrongRound = "The call is for another round than the current one."
    ZeroAmount = "The amount is zero."
    ZeroBeneficiary = "The zero address cannot be the beneficiary."
    ZeroCommitment = "The commitment is zero, and the party is not marked absent."
    ZeroRoot = "The root is zero."

    def sentence(self, function: str | None = None) -> str:
        """The meaning of the error when this function of the contract reverts with it."""
        return _OF_FUNCTIONS.get((self, function), self.value)


# Errors whose meaning depends on the function.
_OF_FUNCTIONS: Final[dict[tuple[ContractError, str | None], str]] = {
    (ContractError.WrongRound, "attest"): "The result is for another round.",
    (ContractError.WrongRound, "commit"): "The commit is for another round.",
}
