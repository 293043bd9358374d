"""What a contract's custom errors mean, in words."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from eth_abi.abi import decode as decode_abi
from eth_abi.exceptions import DecodingError
from eth_utils.abi import abi_to_signature, function_signature_to_4byte_selector
from web3.exceptions import ContractLogicError, MismatchedABI, Web3Exception

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.nodes.http import shown_text
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.errors import ChainError
from fl_orchestrator.units import ether

_SENTENCES: Final = {
    "AlreadyAnswered": "This demand was already answered.",
    "AlreadyAttested": "This aggregator has already attested to this result.",
    "AlreadyCommitted": "This party has already committed in this round.",
    "AlreadyDistributed": "The rewards of this round were already distributed.",
    "AlreadyFraudulent": "The result is already proven fraudulent.",
    "AlreadyRegistered": "This account is already registered in this role.",
    "AlreadyRevealed": "This update was already revealed.",
    "AlreadyUnbonding": "This stake is already unbonding.",
    "AmountTooHigh": "The amount, or the total it adds to, is too large.",
    "AnswerOverdue": "The time to answer this demand is over.",
    "BeneficiaryMismatch": "This account has another beneficiary, which cannot be changed.",
    "BeyondHead": "There is no accepted model at that height.",
    "BondTooLow": "The payment is below the bond that this demand costs.",
    "ChallengeNotRegistered": "The challenge was not registered in an earlier block.",
    "CommitmentMismatch": "The revealed update is not the one that was committed.",
    "DescentEnded": "The descent went on elsewhere, reached a chunk, or was left for too long.",
    "DisputeWindowClosed": "The time to dispute this result is over.",
    "EmptyBatch": "The batch is empty.",
    "FederationFull": "The federation has as many parties as it allows.",
    "FraudulentResult": "The result is proven fraudulent.",
    "IndexOutOfTree": "The tree has no chunk at that index.",
    "InvalidBaseProof": "The proof is not of the base model.",
    "InvalidBitmap": "The result includes updates that do not exist, or too few.",
    "InvalidCid": "The CID is zero or has a codec that the protocol does not accept.",
    "InvalidModelProof": "The proof is not of the result's model.",
    "InvalidParams": "The federation's parameters contradict each other.",
    "InvalidSignature": "The signature is not a valid one of this account.",
    "InvalidUpdateProof": "The proof is not of the update with this index.",
    "InvalidWeight": "The weight is outside 1..255.",
    "NoAggregators": "No aggregator has an active stake, so no round can open.",
    "NoCommitment": "This party has no commitment in this round.",
    "NoFreeSeat": "All 64 aggregator seats are taken.",
    "NoSuchNode": "The tree has no such node.",
    "NotAccountOrBeneficiary": "Only the account itself or its beneficiary may do this.",
    "NotActive": "This party's stake does not count in this round yet, or is below the minimum.",
    "NotAdmitted": "The owner has not admitted this account in this role.",
    "NotAnAggregator": "The signer is not an active aggregator of this federation.",
    "NotAnswered": "This demand has not been answered.",
    "NotBelow": "The node is not among those that the answer shows.",
    "NotDemander": "Only who made the demand may continue its descent.",
    "NotDrawn": "This party was not drawn in this round.",
    "NotEnoughParties": "Fewer parties have an active stake than a round needs updates.",
    "NotFinal": "The round is not final, or not part of the history.",
    "NotFinalizable": "There is no accepted round whose challenge window is over.",
    "NotFraud": "The result is right at this coordinate.",
    "NotOverdue": "The time of this demand is not over.",
    "NotRegistered": "This account is not registered in this role.",
    "NotSlashable": "There is nothing to slash this account for.",
    "NotUnbonding": "The stake is not unbonding.",
    "NothingAccepted": "Nothing in the batch could be accepted.",
    "NothingToWithdraw": "There is nothing to withdraw.",
    "OwnableInvalidOwner": "The zero address cannot own the federation.",
    "OwnableUnauthorizedAccount": "Only the owner of the federation may do this.",
    "PaymentFailed": "The beneficiary refused the payment.",
    "RoundInProgress": "The current round has not ended.",
    "RoundNotAlive": "The round was not accepted, or was revoked.",
    "SeedPending": "The block that seeds the draw is not there yet.",
    "StakeStillCounts": "The stake still counts in a round that is not final.",
    "StakeTooLow": "The stake is below the minimum.",
    "StaleResult": "The result was signed for other updates or for another base model.",
    "StillUnbonding": "The unbonding time is not over.",
    "UnknownDemand": "There is no such demand, or its bond is settled.",
    "UnknownResult": "This result was not accepted, or nobody has signed it.",
    "UnknownRule": "The contract does not have the federation's aggregation rule.",
    "UpdatesMismatch": "These are not the updates of the round.",
    "WrongAnswer": "The answer is not what the result's model has at the demanded node.",
    "WrongChunkLength": "The chunk does not have its length.",
    "WrongPhase": "The round is in another phase.",
    "WrongProofLength": "The path, or the row of nodes, does not have its length.",
    "WrongProofsLength": "The proofs do not have their length.",
    "WrongRound": "The result is for another round.",
    "ZeroAmount": "The amount is zero.",
    "ZeroBeneficiary": "The zero address cannot be the beneficiary.",
    "ZeroCommitment": "The commitment is zero.",
    "ZeroRoot": "The root is zero.",
}


# Arguments by their names in the contracts: amounts, and times. The others are shown as they are.
_AMOUNTS: Final = frozenset({"amount", "bond", "minimum", "paid", "sent"})
# The last second that has a date with four digits.
_LAST_DATE: Final = 253_402_300_799
_TIMES: Final = frozenset({"deadline", "end", "unbondAt"})


class RequestRefused(ChainError):
    """The node answered a request with an error, or with something else than was asked for."""


class ContractReverted(ChainError):
    """The contract refused a call: ``name`` and ``arguments`` are those of its custom error.

    ``words`` has each argument as it is shown.
    """

    def __init__(
        self,
        name: str,
        arguments: tuple[Any, ...] = (),
        reason: str | None = None,
        words: Sequence[str] = (),
    ) -> None:
        sentence = _SENTENCES.get(name, "The contract refused the call.")
        shown = f"{name}({', '.join(words)})" if words else name
        if reason is not None:
            sentence = f"{sentence} {_SENTENCES.get(reason, '')}".rstrip()
            shown = f"{name}: {reason}"
        super().__init__(f"{sentence} [{shown}]")
        self.name = name
        self.arguments = arguments
        self.reason = reason

    @property
    def cause_name(self) -> str:
        """The innermost error's name: the reason of a batch that was refused as a whole."""
        return self.reason or self.name


def _in_words(name: str, value: Any) -> str:
    """An argument of an error for people."""
    if isinstance(value, str) and not value.startswith("0x"):
        return shown_text(value)
    label = re.sub("([A-Z])", r" \1", name).lower()
    return f"{label} {_value_in_words(name, value)}"


def _exactly(wei: int) -> str:
    """Two amounts that differ by a wei are not shown as the same."""
    if not wei % 10**12:
        return ether(wei)
    whole, part = divmod(wei, 10**18)
    return f"{whole}.{part:018d} ETH" if wei > 10**12 else f"{wei:,} wei"


def _value_in_words(name: str, value: Any) -> str:
    if name in _AMOUNTS:
        return _exactly(value)
    if name in _TIMES and value <= _LAST_DATE:
        moment = datetime.datetime.fromtimestamp(value, datetime.UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    if name == "phase" and value in set(Phase):
        return Phase(value).name.lower()
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


class RevertDecoder:
    """Decodes revert data by the custom errors of an artifact's ABI."""

    def __init__(self, abi: list[dict[str, Any]]) -> None:
        self._errors = {
            bytes(function_signature_to_4byte_selector(abi_to_signature(item))): item  # type: ignore[arg-type]
            for item in abi
            if item["type"] == "error"
        }

    @classmethod
    def of_artifact(cls, name: str) -> RevertDecoder:
        """With the errors of the libraries that it links: what these revert with, it does."""
        artifact = load_artifact(name)
        abis = [load_artifact(library).abi for library in artifact.links]
        return cls([entry for abi in (artifact.abi, *abis) for entry in abi])

    def name(self, selector: bytes) -> str:
        """The name of the error with this selector, or the selector itself in hexadecimal."""
        item = self._errors.get(bytes(selector))
        return str(item["name"]) if item else "0x" + bytes(selector).hex()

    def decode(self, data: bytes) -> ContractReverted:
        """The error that ``data`` (selector and arguments) stands for."""
        item = self._errors.get(data[:4])
        unknown = ContractReverted("Reverted" if not data else "0x" + data.hex())
        if item is None:
            return unknown
        types = [argument["type"] for argument in item["inputs"]]
        try:
            arguments = tuple(decode_abi(types, data[4:]))
        except DecodingError:
            return unknown
        reason = self.name(arguments[0]) if item["name"] == "NothingAccepted" else None
        names = [argument["name"] for argument in item["inputs"]]
        words = [_in_words(*pair) for pair in zip(names, arguments, strict=True)]
        return ContractReverted(item["name"], arguments, reason, words)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn web3's errors into ContractReverted, or RequestRefused for all others."""
        try:
            yield
        except ContractLogicError as error:
            raise self.decode(revert_data(error)) from error
        except MismatchedABI:
            # Wrong arguments never reached the node.
            raise
        except Web3Exception as error:
            raise RequestRefused(
                f"The node refused a request: {_node_message(error)}.",
                "Run the command again, or use another RPC endpoint.",
            ) from error
        except (DecodingError, LookupError, TypeError, ValueError) as error:
            raise RequestRefused(
                "The node answered a request with something else than was asked for.",
                "Use another RPC endpoint.",
            ) from error

    def selector(self, name: str) -> bytes:
        """The selector of a named error; for tests and for reading skip events."""
        return next(s for s, item in self._errors.items() if item["name"] == name)


def revert_data(error: Exception) -> bytes:
    """The raw revert data that a provider attached to an exception; empty when there is none."""
    data = getattr(error, "data", None)
    if isinstance(data, dict):
        data = data.get("data")
    if isinstance(data, str) and data.startswith("0x"):
        with contextlib.suppress(ValueError):
            return bytes.fromhex(data[2:])
    return data if isinstance(data, bytes) else b""


def _node_message(error: Web3Exception) -> str:
    """What the node itself said; web3 wraps it into more."""
    response = getattr(error, "rpc_response", None) or {}
    refusal = response.get("error")
    message = refusal.get("message") if isinstance(refusal, dict) else None
    return shown_text(str(message or error))
