"""A dispute on a chain of validators that runs, at its own price of calldata.

    python -m network ~/bft --engine istanbul --fund ADDRESS
    cd benchmarks; python -m _gas.network [--url URL --parties 10]

Without a URL it prints the ADDRESS that pays for everything. The keys are those of the benchmarks,
which everybody knows: use a chain for trials. Prints the gas and the bytes of a challenge as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Final

from web3 import Web3

from _gas.disputes import Disputed
from _gas.federation import LONGEST_SECONDS, Chain, signers
from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.cli.logs import silence
from fl_orchestrator.units import ETHER

DEPTH: Final = 17
_COIN: Final = 100 * ETHER
_POLL_SECONDS: Final = 0.2


class LiveChain:
    """A chain whose validators make the blocks."""

    def __init__(self, url: str) -> None:
        self.web3 = connect([url])

    def mine(self, seconds: int = 1) -> None:
        """Wait for a block that is so much later. Raises TimeoutError."""
        began = self.web3.eth.get_block("latest")["timestamp"]
        deadline = time.monotonic() + seconds + LONGEST_SECONDS
        while self.web3.eth.get_block("latest")["timestamp"] < began + seconds:
            if time.monotonic() > deadline:
                raise TimeoutError(f"there is no block {seconds} s later")
            time.sleep(_POLL_SECONDS)


class DisputedOnNetwork(Disputed):
    """A federation on the chain at ``url``, whose owner pays for all accounts."""

    # geth refuses to relay what could cost more than one coin.
    max_fee = 50 * 10**9

    def __init__(self, url: str, parties: int) -> None:
        self._url = url
        super().__init__(parties, DEPTH)

    def open_chain(self, balances: dict[str, int]) -> Chain:
        chain = LiveChain(self._url)
        self.chain = chain
        self.chain_id = chain.web3.eth.chain_id
        for address in balances:  # an earlier dispute may have used them
            known = chain.web3.eth.get_transaction_count(Web3.to_checksum_address(address))
            self.nonces[address] = known
        others = [address for address in balances if address != self.owner.address]
        calls = [Call(Web3.to_checksum_address(to), b"", _COIN, "fund") for to in others]
        for sent in [self.hand_over(self.owner, call) for call in calls]:
            self.receipt(*sent)
        return chain


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url")
    parser.add_argument("--parties", type=int, default=10)
    options = parser.parse_args()
    if options.url is None:
        print(signers("owner", 1)[0].address)
        return
    silence()
    # It fails unless the fraud is proved and the model is undone.
    _, challenge = DisputedOnNetwork(options.url, options.parties).challenge()
    print(json.dumps({"gas": challenge.gas, "bytes": challenge.size}))


if __name__ == "__main__":
    main()
