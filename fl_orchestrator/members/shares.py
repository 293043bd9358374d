"""Rewards by shares: opening the contract of a federation, and checking what is to be signed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.deployment.record import DeploymentRecord
from fl_orchestrator.chain.shares.shares import RewardShares
from fl_orchestrator.chain.shares.types import MAX_SHARES, Seat, Shares, ordered
from fl_orchestrator.errors import ChainError, InputError, VerificationError
from fl_orchestrator.model.protocol import MAX_VALID_DAYS

_NO_ACCOUNT: Final = "0x" + "00" * 20
_MAX_VALID_SECONDS: Final = MAX_VALID_DAYS * 86_400


class NoRecordedShares(InputError):
    """No address was given for the rewards by shares, and none is recorded for the chain."""


class OtherFederation(VerificationError):
    """The rewards by shares are those of another federation."""


class ForgedShares(VerificationError):
    """Nothing shows that the rewards by shares began empty, with this package's code."""


class RefusedShares(ChainError):
    """Shares that the contract would refuse, or that pay somebody whom the federation knows not."""


@dataclass(frozen=True, slots=True)
class OpenShares:
    """The rewards by shares of a federation, and the block from which on events are searched.

    ``recorded``: whether the record of deployments has them.
    """

    contract: RewardShares
    from_block: int
    recorded: bool


def open_shares(address: str, deployments: Path, federation: Federation) -> OpenShares:
    """The contract at an address, or the recorded one for an empty text.

    Raises NoRecordedShares, NoRewardShares and OtherFederation.
    """
    recorded = [
        deployment
        for deployment in DeploymentRecord(deployments, federation.chain_id).load().values()
        if deployment.contract == RewardShares.ARTIFACT
    ]
    if not address and not recorded:
        raise NoRecordedShares(
            f"No rewards by shares are recorded for chain {federation.chain_id}.",
            "Name their contract with --rewards, or create it with `flo rewards create`.",
        )
    contract = RewardShares(federation.node, address or recorded[-1].address)
    if contract.federation() != federation.address:
        raise OtherFederation(
            f"The rewards by shares at {contract.address} are those of the federation "
            f"{contract.federation()}, not of {federation.address}.",
            "Name the right ones with --rewards, or the right federation with --federation.",
        )
    blocks = [d.block for d in recorded if d.address.lower() == contract.address.lower()]
    return OpenShares(contract, blocks[0] if blocks else 0, bool(blocks))


def require_genuine(opened: OpenShares, federation: Federation) -> None:
    """Raise ForgedShares unless the contract is recorded, or its deployment is on the chain.

    Its code is no proof: other creation code can leave the same code with credits of its author,
    or with another federation in one place of the code.
    """
    if opened.recorded:
        return
    from fl_orchestrator.chain.deployment.creation import NoOldState, creates

    contract = opened.contract
    artifact = load_artifact(RewardShares.ARTIFACT)
    wanted = artifact.linked({}) + bytes.fromhex(federation.address[2:]).rjust(32, b"\0")
    try:
        genuine = creates(federation.web3, contract.address, wanted)
    except NoOldState as error:
        raise ForgedShares(
            f"It cannot be checked who deployed {contract.address}, and how: the node has no old "
            "states.",
            "Use a node that has them (--rpc), or let the one fund it who created it.",
        ) from error
    if not genuine:
        raise ForgedShares(
            f"{contract.address} was not deployed by `flo rewards create`: whoever did it may take "
            "what is in it.",
            "Do not fund it. Create rewards by shares of your own.",
        )


def require_payable(contract: RewardShares, federation: Federation, shares: Shares) -> None:
    """Raise RefusedShares unless the contract would take these shares with a quorum.

    Every account must be one that has registered in the federation: it may have left. Signatures
    must not be good for longer than anybody remembers them.
    """
    _require_list(shares)
    number, pot, final = contract.number(), contract.pot(), contract.final_round()
    now = federation.read_observation(contract.address).timestamp
    if shares.number != number:
        raise RefusedShares(
            f"The shares have the number {shares.number}, and the next distribution has {number}.",
            "Propose them again: a number is used once.",
        )
    if shares.valid_until < now:
        raise RefusedShares("The time of these shares is over.", "Propose them again.")
    if shares.valid_until > now + _MAX_VALID_SECONDS:
        raise RefusedShares(
            f"The signatures would be good for more than {MAX_VALID_DAYS} days.",
            "Propose the shares again with a shorter --valid.",
        )
    if shares.total > pot:
        raise RefusedShares(
            f"The shares sum to {shares.total} wei, and the pot has {pot}.",
            "Fund it with `flo rewards fund`, or propose less.",
        )
    if not 1 <= shares.from_round <= shares.to_round <= final:
        raise RefusedShares(
            f"The rounds {shares.from_round} to {shares.to_round} are not all final: the last one "
            f"is {final}.",
            "A keeper makes rounds final when their challenge period is over.",
        )
    for share in shares.parts:
        if federation.read_observation(share.account).beneficiary == _NO_ACCOUNT:
            raise RefusedShares(
                f"{share.account} has never registered in the federation.",
                "Shares are for its parties and aggregators; check the address.",
            )


def _require_list(shares: Shares) -> None:
    amounts = {share.account: share.amount for share in shares.parts}
    if not 1 <= len(shares.parts) <= MAX_SHARES or shares.parts != ordered(amounts):
        raise RefusedShares(
            f"The shares are not those of 1 to {MAX_SHARES} different accounts, in ascending "
            "order, each with an amount.",
            "Write them with `flo rewards propose`.",
        )


@dataclass(frozen=True, slots=True)
class Quorum:
    """Which of the seats that count have signed, and which have not."""

    signed: tuple[Seat, ...]
    missing: tuple[Seat, ...]

    @classmethod
    def of(cls, seats: Iterable[Seat], signed: Iterable[int]) -> Quorum:
        """``signed`` are the numbers of the seats whose signatures there are."""
        counting = [seat for seat in seats if seat.stake]
        those = set(signed)
        return cls(
            tuple(seat for seat in counting if seat.number in those),
            tuple(seat for seat in counting if seat.number not in those),
        )

    @property
    def is_reached(self) -> bool:
        """Whether they have more than 2/3 of the stake, and are more than half of the seats."""
        stake, rest = (sum(s.stake for s in seats) for seats in (self.signed, self.missing))
        return stake > 2 * rest and len(self.signed) > len(self.missing)
