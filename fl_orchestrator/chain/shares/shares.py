"""The typed view of one ``RewardShares`` contract: docs/protocol.md, section 7."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.abi import checksummed, to_abi
from fl_orchestrator.chain.contract.contract import Call, Contract
from fl_orchestrator.chain.shares.types import Distribution, Seat, Shares
from fl_orchestrator.chain.types import Signature
from fl_orchestrator.errors import ChainError

if TYPE_CHECKING:
    from web3 import Web3

    from fl_orchestrator.chain.nodes.node import Node
    from fl_orchestrator.chain.signing.keys import Signer

_TYPES: Final = {
    "Shares": [
        {"name": "number", "type": "uint64"},
        {"name": "fromRound", "type": "uint32"},
        {"name": "toRound", "type": "uint32"},
        {"name": "validUntil", "type": "uint64"},
        {"name": "report", "type": "bytes32"},
        {"name": "list", "type": "Share[]"},
    ],
    "Share": [{"name": "account", "type": "address"}, {"name": "amount", "type": "uint96"}],
}


class NoRewardShares(ChainError):
    """The contract at the address has no rewards by shares of this version."""


class RewardShares(Contract):
    """Reads the pot, signs shares, and builds calls to it. It sends nothing by itself."""

    ARTIFACT: Final = "RewardShares"

    def __init__(self, chain: Node | Web3, address: str) -> None:
        artifact = load_artifact(self.ARTIFACT)
        super().__init__(chain, address, artifact)
        if not artifact.runs_as(self.node.code(self.address)):
            raise NoRewardShares(
                f"There are no rewards by shares of this version at {self.address} on chain "
                f"{self.chain_id}.",
                "Check the address and the RPC endpoint.",
            )

    # ------------------------------------------------------------------ state

    def federation(self) -> str:
        """The address of the federation whose aggregators sign."""
        return checksummed(self._read("federation"))

    def pot(self) -> int:
        """What can still be distributed, in wei."""
        return int(self._read("pot"))

    def number(self) -> int:
        """The number of the next distribution."""
        return int(self._read("number"))

    def final_round(self) -> int:
        """The last round of the federation that is final; 0 before there is one."""
        return int(self._read("finalRound"))

    def credit_of(self, account: str) -> int:
        """What an account may withdraw, in wei."""
        return int(self._read("creditOf", account))

    def beneficiary_of(self, account: str) -> str:
        """Who is paid for an account."""
        return checksummed(self._read("beneficiaryOf", account))

    def seats(self) -> list[Seat]:
        """The seats that are not free, and what their signatures count now."""
        found = enumerate(self._read("seats"))
        return [Seat(n, checksummed(who), stake) for n, (who, stake) in found if int(who, 16)]

    def digest(self, shares: Shares) -> bytes:
        """The digest that `sign` signs."""
        return bytes(self._read("sharesDigest", to_abi(shares)))

    def sign(self, signer: Signer, shares: Shares) -> Signature:
        """Sign shares (EIP-712, in the domain of this contract): as one of the aggregators."""
        domain = {
            "name": "RewardShares",
            "version": "1",
            "chainId": self.chain_id,
            "verifyingContract": self.address,
        }
        message = {
            "number": shares.number,
            "fromRound": shares.from_round,
            "toRound": shares.to_round,
            "validUntil": shares.valid_until,
            "report": shares.report,
            "list": [{"account": one.account, "amount": one.amount} for one in shares.parts],
        }
        return signer.sign_typed_data(domain, _TYPES, message)

    # ------------------------------------------------------------------ events

    def distributions(self, first: int, last: int | None = None) -> list[Distribution]:
        """Everything that was distributed, from block ``first`` on, in its order."""
        return self._events("SharesDistributed", first, last, None, _distribution)

    # ------------------------------------------------------------------ calls

    def fund(self, amount: int) -> Call:
        return self._call("fund", value=amount)

    def distribute(self, shares: Shares, signed: dict[int, Signature]) -> Call:
        """``signed`` has the signatures by the number of their seat."""
        seats = sorted(signed)
        bitmap = sum(1 << seat for seat in seats)
        signatures = to_abi([signed[seat] for seat in seats])
        return self._call("distribute", to_abi(shares), bitmap, signatures)

    def withdraw(self, account: str) -> Call:
        return self._call("withdraw", account)


def _distribution(log: Any) -> Distribution:
    args = log["args"]
    return Distribution(
        args["number"],
        args["fromRound"],
        args["toRound"],
        bytes(args["report"]),
        args["credited"],
        tuple(checksummed(signer) for signer in args["signers"]),
        log["blockNumber"],
    )
