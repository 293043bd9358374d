"""A transaction's gas is estimated before others, in the same block, change what it takes."""

from hexbytes import HexBytes
from support.federation import Build


def test_two_signatures_in_one_block_both_have_gas_enough(build: Build) -> None:
    federation = build(parties=2, aggregators=2)
    federation.run_round(federation.everybody())
    first, second = (r for r in federation.receipts if r.label == "attest")
    sent = federation.chain.web3.eth.get_transaction(HexBytes(first.transaction))
    # The second one accepts the result. Sent at the time of the first, it would have been given
    # what the first was given.
    assert first.gas_used < second.gas_used <= sent["gas"]
