"""A relay's HTTP service for a small federation, and the messages that roles send to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from eth_keys.backends.native.jacobian import fast_multiply
from eth_keys.constants import SECPK1_G, SECPK1_N
from starlette.testclient import TestClient

from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.types import Signature, Update
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.model.digests import Result
from fl_orchestrator.relay.box import StoredMailbox
from fl_orchestrator.relay.service import RelayServer, relay_app
from fl_orchestrator.relay.throttle import Throttle
from fl_orchestrator.roles.party.journal import OpenCommitment
from fl_orchestrator.roles.relay import Mailbox, SignedResult
from support.accounts import balance_of
from support.federation import SmallFederation

#: A clock by which every cached observation of the chain is too old.
HASTY: Callable[[], float] = itertools.count(0.0, 100.0).__next__


def open_relay(
    federation: SmallFederation,
    directory: Path,
    *,
    store: ContentStore | None = None,
    throttle: Throttle | None = None,
    clock: Callable[[], float] = HASTY,
) -> RelayServer:
    """A relay with its files in a directory; a second call acts as a restart."""
    return RelayServer.of(
        federation.federation,
        store or federation.store,
        federation.manifest,
        StoredMailbox(directory / "box.sqlite"),
        directory,
        throttle=throttle,
        clock=clock,
    )


def client_of(relay: RelayServer, host: str = "192.0.2.1") -> TestClient:
    """A client with this IP address."""
    return TestClient(relay_app(relay), client=(host, 50_000))


def entry_of(federation: SmallFederation, number: int, round_number: int = 1) -> OpenCommitment:
    """A party's open commitment."""
    entry = federation.party(number).submission.entry(round_number)
    assert isinstance(entry, OpenCommitment)
    return entry


class RecordingRelay(Mailbox):
    """Accepts messages like a mailbox, and records the requests."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def put_update(self, round_number: int, update: Update, file: Path, seconds: float) -> None:
        self.asked.append("update")

    def post_reveal(self, round_number: int, update: Update) -> None:
        self.asked.append("reveal")
        super().post_reveal(round_number, update)


def signed_result(federation: SmallFederation, number: int = 0) -> SignedResult:
    """The result that an aggregator signs in the current round, with its signature."""
    mailbox = Mailbox()
    assert federation.aggregator(number, relay=mailbox).step().action == "post attestation"
    (signed,) = mailbox.waiting(federation.observe().current.round, SignedResult)
    return signed


def sign(federation: SmallFederation, result: Result, number: int = 0) -> Signature:
    return federation.federation.sign_result(federation.aggregators[number], result)


def drain(federation: SmallFederation, key: LocalSigner) -> None:
    """Take all coin from an account, so that it cannot send transactions."""
    web3 = federation.chain.web3
    address = web3.to_checksum_address(federation.owner.address)
    fee = 2 * web3.eth.get_block("latest")["baseFeePerGas"] + web3.eth.max_priority_fee
    value = balance_of(web3, key.address) - 50_000 * fee
    federation.send(key, Call(address, b"", value, "transfer"))
    assert balance_of(web3, key.address) < 50_000 * fee


def signed_with(key: LocalSigner, digest: bytes, nonce: int) -> Signature:
    """The signature of a digest that this nonce makes; all of them are valid."""
    x, y = fast_multiply(SECPK1_G, nonce)
    message, secret = int.from_bytes(digest, "big"), int.from_bytes(key._account.key, "big")
    s, parity = pow(nonce, -1, SECPK1_N) * (message + x * secret) % SECPK1_N, y & 1
    if s > SECPK1_N // 2:
        s, parity = SECPK1_N - s, 1 - parity
    return Signature(x.to_bytes(32, "big"), (parity << 255 | s).to_bytes(32, "big"))
