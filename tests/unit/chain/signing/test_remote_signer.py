"""Keys that stay in another program: what it returns is used only if it is what was asked for.

The signer here is written after Web3Signer and Clef. With Clef 1.13.15 it was compared by hand; no
test runs the real ones.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rlp  # type: ignore[import-untyped]
from eth_account import Account
from eth_account.messages import encode_typed_data
from support.federation import SmallFederation, signer
from support.http_server import QuietHandler, http_server
from support.rpc import rpc_endpoint
from web3 import Web3

from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.signing import http_signer
from fl_orchestrator.chain.signing.http_signer import SignerUnavailable, WrongSignature
from fl_orchestrator.chain.signing.remote_signer import RemoteSigner
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.errors import InputError
from fl_orchestrator.members.connection import signer_url
from fl_orchestrator.model.digests import Result
from fl_orchestrator.units import ETHER

KEY = signer("remote")
ACCOUNT = Account.from_key(KEY._account.key)
OTHER = Account.from_key(b"\x07" * 32)
TARGET = Web3.to_checksum_address("0x" + "77" * 20)
NOT_FOUND = {"code": -32601, "message": "the method does not exist"}

TYPE_2 = {
    "chainId": 5,
    "nonce": 300,
    "gas": 21_000,
    "to": TARGET,
    "value": 10**18,
    "data": b"\x00\x01\x02",
    "maxFeePerGas": 10**10,
    "maxPriorityFeePerGas": 0,
}
LEGACY = {
    "chainId": 5,
    "nonce": 0,
    "gas": 21_000,
    "value": 0,
    "data": b"\x60\x00",
    "gasPrice": 10**9,
}

DOMAIN = {"name": "Federation", "version": "1", "chainId": 5, "verifyingContract": TARGET}
TYPES = {
    "Thing": [
        {"name": "number", "type": "uint128"},
        {"name": "account", "type": "address"},
        {"name": "part", "type": "Part"},
        {"name": "parts", "type": "Part[]"},
        {"name": "words", "type": "bytes32[]"},
    ],
    "Part": [{"name": "digest", "type": "bytes32"}],
}
MESSAGE = {"number": 1 << 120, "account": TARGET, "part": {"digest": b"\x05" * 32}}
MESSAGE |= {"parts": [{"digest": b"\x06" * 32}], "words": [b"\x07" * 32]}

Answer = Callable[[Any], Any]


class Program:
    """A signer with the methods of a kind of program. ``spoil`` is what makes it a wrong one."""

    def __init__(self, kind: str = "web3signer") -> None:
        clef = kind == "clef"
        self.sign, self.typed = {
            "node": ("eth_signTransaction", "eth_signTypedData_v4"),
            "web3signer": ("eth_signTransaction", "eth_signTypedData"),
            "clef": ("account_signTransaction", "account_signTypedData"),
        }[kind]
        self.wraps = clef or kind == "node"
        self.key = ACCOUNT
        self.spoil_request: Answer = lambda request: request
        self.spoil_answer: Answer = lambda answer: answer
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}#{ACCOUNT.address}"

    def answer(self, method: str, params: Any) -> Any:
        if method == self.sign:
            fields = dict(self.spoil_request(params[0]))
            assert Web3.is_checksum_address(fields.pop("from"))
            raw = "0x" + bytes(self.key.sign_transaction(fields).raw_transaction).hex()
            raw = self.spoil_answer(raw)
            return {"result": {"raw": raw, "tx": {}} if self.wraps else raw}
        if method == self.typed:
            assert params[0] == ACCOUNT.address
            signable = encode_typed_data(full_message=self.spoil_request(params[1]))
            signature = "0x" + bytes(self.key.sign_message(signable).signature).hex()
            return {"result": self.spoil_answer(signature)}
        return {"error": NOT_FOUND}


@contextlib.contextmanager
def running(program: Program) -> Iterator[RemoteSigner]:
    class Handler(QuietHandler):
        def do_POST(self) -> None:
            request = json.loads(self.body())
            answer = program.answer(request["method"], request["params"])
            self.reply(200, json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer}).encode())

    with http_server(Handler) as program.port:
        yield RemoteSigner(program.url)


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
def remote(program: Program) -> Iterator[RemoteSigner]:
    with running(program) as remote:
        yield remote


# ---------------------------------------------------------------------- what is signed


@pytest.mark.parametrize("kind", ["node", "web3signer", "clef"])
def test_it_signs_what_a_key_in_memory_signs(kind: str) -> None:
    with running(Program(kind)) as remote:
        assert remote.address == KEY.address
        for transaction in (TYPE_2, LEGACY):
            assert remote.sign_transaction(transaction) == KEY.sign_transaction(transaction)
        expected = KEY.sign_typed_data(DOMAIN, TYPES, MESSAGE)
        assert remote.sign_typed_data(DOMAIN, TYPES, MESSAGE) == expected


def test_a_signature_may_write_its_parity_in_either_way(
    program: Program, remote: RemoteSigner
) -> None:
    def without_27(signature: str) -> str:
        return signature[:-2] + f"{int(signature[-2:], 16) - 27:02x}"

    expected = KEY.sign_typed_data(DOMAIN, TYPES, MESSAGE)
    program.spoil_answer = without_27
    assert remote.sign_typed_data(DOMAIN, TYPES, MESSAGE) == expected


def test_an_account_that_signs_elsewhere_sends_transactions(remote: RemoteSigner) -> None:
    chain = DevelopmentChain({KEY.address: ETHER})
    sender = Sender(chain.web3, remote, RevertDecoder.of_artifact("Federation"))
    sender.send(Call(TARGET, b"", 5, "transfer"))
    assert chain.web3.eth.get_balance(TARGET) == 5


def test_it_signs_results_and_commits(remote: RemoteSigner, tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path, register=False).federation
    result = Result(7, b"\1" * 32, b"\2" * 32, 1 << 127 | 5, b"\3" * 32, Cid(bytes(32), 0x70))
    for sign in (
        lambda key: federation.sign_result(key, result),
        lambda key: federation.sign_commit(key, 3, b"\5" * 32),
    ):
        assert sign(remote) == sign(KEY)


# ---------------------------------------------------------------------- what is not used


@pytest.mark.parametrize(
    "change",
    [
        {"to": "0x" + "66" * 20},
        {"value": "0x1"},
        {"nonce": "0x1"},
        {"gas": "0xffff"},
        {"data": "0x"},
        {"chainId": "0x1"},
        {"maxFeePerGas": "0xffffffffff"},
        {"maxPriorityFeePerGas": "0x1"},
        {"accessList": [{"address": TARGET, "storageKeys": []}]},
        {"to": None},
    ],
    ids=str,
)
def test_another_transaction_is_not_used(
    program: Program, remote: RemoteSigner, change: dict[str, Any]
) -> None:
    program.spoil_request = lambda request: {
        name: value for name, value in {**request, **change}.items() if value is not None
    }
    with pytest.raises(WrongSignature, match=r"did not return the transaction .* was not used"):
        remote.sign_transaction(TYPE_2)


def test_another_kind_of_transaction_is_not_used(program: Program, remote: RemoteSigner) -> None:
    def as_legacy(request: dict[str, Any]) -> dict[str, Any]:
        price = request.pop("maxFeePerGas")
        del request["maxPriorityFeePerGas"]
        return {**request, "gasPrice": price}

    program.spoil_request = as_legacy
    with pytest.raises(WrongSignature):
        remote.sign_transaction(TYPE_2)


def test_a_legacy_transaction_for_any_chain_is_not_used(
    program: Program, remote: RemoteSigner
) -> None:
    program.spoil_request = lambda request: {k: v for k, v in request.items() if k != "chainId"}
    with pytest.raises(WrongSignature):
        remote.sign_transaction(LEGACY)


def test_another_key_is_noticed(program: Program, remote: RemoteSigner) -> None:
    program.key = OTHER
    for sign in (
        lambda: remote.sign_transaction(TYPE_2),
        lambda: remote.sign_typed_data(DOMAIN, TYPES, MESSAGE),
    ):
        with pytest.raises(WrongSignature, match="Check the signer") as refusal:
            sign()
        assert refusal.value.exit_code == 6


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("message", {"number": "0x1"}),
        ("message", {"account": "0x" + "66" * 20}),
        ("message", {"part": {"digest": "0x" + "06" * 32}}),
        ("domain", {"chainId": 1}),
        ("domain", {"verifyingContract": "0x" + "66" * 20}),
    ],
)
def test_the_signature_of_another_message_is_not_used(
    program: Program, remote: RemoteSigner, part: str, change: dict[str, Any]
) -> None:
    program.spoil_request = lambda request: {**request, part: {**request[part], **change}}
    with pytest.raises(WrongSignature, match="did not return the message"):
        remote.sign_typed_data(DOMAIN, TYPES, MESSAGE)


def high_s(signature: str) -> str:
    """The other signature that every one implies, which the contract refuses."""
    raw = bytes.fromhex(signature[2:])
    order = 2 * 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0 + 1
    s = order - int.from_bytes(raw[32:64])
    return "0x" + (raw[:32] + s.to_bytes(32) + bytes([27 + 28 - raw[64]])).hex()


GARBAGE: list[Any] = [None, "", "0x", "zz", "0xzz", 5, [], {}, "0x" + "00" * 65, "0x" + "ff" * 65]


@pytest.mark.parametrize("answer", [*GARBAGE, "0x02", "0x02c0", "0xc0"], ids=repr)
def test_garbage_is_no_transaction(program: Program, remote: RemoteSigner, answer: Any) -> None:
    program.spoil_answer = lambda _: answer
    for transaction in (TYPE_2, LEGACY):
        with pytest.raises(WrongSignature):
            remote.sign_transaction(transaction)


def named(answer: Any) -> str:
    """The same in every process, unlike the repr of a function."""
    return answer.__name__ if callable(answer) else repr(answer)


@pytest.mark.parametrize("answer", [*GARBAGE, high_s], ids=named)
def test_garbage_is_no_signature(program: Program, remote: RemoteSigner, answer: Any) -> None:
    program.spoil_answer = answer if callable(answer) else lambda _: answer
    with pytest.raises(WrongSignature):
        remote.sign_typed_data(DOMAIN, TYPES, MESSAGE)


def test_a_damaged_signature_is_not_used(program: Program, remote: RemoteSigner) -> None:
    def damaged(raw: str) -> str:
        items = rlp.decode(bytes.fromhex(raw[4:]))
        items[-1] = b"\xff" * 40
        return "0x02" + bytes(rlp.encode(items)).hex()

    program.spoil_answer = damaged
    with pytest.raises(WrongSignature):
        remote.sign_transaction(TYPE_2)


# ---------------------------------------------------------------------- what does not sign


def test_a_signer_that_refuses_is_quoted(program: Program, remote: RemoteSigner) -> None:
    refusal = {"code": -32000, "message": "Request denied\x1b[31m\n" + "x" * 10_000}
    program.answer = lambda *_: {"error": refusal}  # type: ignore[method-assign]
    with pytest.raises(SignerUnavailable, match=r"does not sign with 0x.*: Request denied") as said:
        remote.sign_transaction(TYPE_2)
    assert "\x1b" not in said.value.message
    assert len(said.value.message) < 1000


@pytest.mark.parametrize("error", [NOT_FOUND, "text", [], 5, {"message": None}])
def test_what_has_no_method_to_sign_is_named(
    program: Program, remote: RemoteSigner, error: Any
) -> None:
    program.answer = lambda *_: {"error": error}  # type: ignore[method-assign]
    with pytest.raises(SignerUnavailable, match="does not sign"):
        remote.sign_typed_data(DOMAIN, TYPES, MESSAGE)


def test_a_signer_that_does_not_run_is_named_without_its_secrets() -> None:
    remote = RemoteSigner(f"http://user:hunter2@127.0.0.1:1/KEY1?KEY2#{ACCOUNT.address}")
    with pytest.raises(SignerUnavailable, match=r"http://127\.0\.0\.1:1 does not answer") as said:
        remote.sign_transaction(TYPE_2)
    for text in (str(said.value), repr(remote)):
        assert not [secret for secret in ("hunter2", "KEY1", "KEY2") if secret in text]
    assert said.value.__cause__ is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"5", b"\xff"])
def test_what_is_no_signer_is_named(body: bytes) -> None:
    with rpc_endpoint() as endpoint:
        endpoint.body = body
        with pytest.raises(SignerUnavailable, match="does not speak the JSON-RPC of a signer"):
            RemoteSigner(f"{endpoint.url}#{ACCOUNT.address}").sign_transaction(TYPE_2)


def test_an_endless_answer_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_signer, "_MAX_ANSWER_BYTES", 1 << 16)
    with rpc_endpoint() as endpoint:
        endpoint.endless = b" " * (1 << 14)
        with pytest.raises(SignerUnavailable):
            RemoteSigner(f"{endpoint.url}#{ACCOUNT.address}").sign_transaction(TYPE_2)


# ---------------------------------------------------------------------- what is given as a key


@pytest.mark.parametrize(
    ("key", "url"),
    [
        ("http://127.0.0.1:8550#0xab", "http://127.0.0.1:8550#0xab"),
        ("https://user:pw@host/path?q=1#0xab", "https://user:pw@host/path?q=1#0xab"),
        ("key.json", None),
        ("/home/http/key.json", None),
        ("https.json", None),
    ],
)
def test_a_url_is_told_from_a_file(key: str, url: str | None) -> None:
    assert signer_url(Path(key)) == url


@pytest.mark.parametrize("address", [ACCOUNT.address, ACCOUNT.address.lower()])
def test_the_address_may_be_spelt_with_a_checksum_or_without(address: str) -> None:
    assert RemoteSigner(f"http://127.0.0.1:8550#{address}").address == ACCOUNT.address


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@127.0.0.1:8550",
        "http://user:hunter2@127.0.0.1:8550#",
        "http://user:hunter2@127.0.0.1:8550#0x12",
        "http://user:hunter2@127.0.0.1:8550#" + "11" * 20 + "z",
        "http://user:hunter2@127.0.0.1:8550#" + ACCOUNT.address.swapcase().replace("X", "x"),
        "ftp://user:hunter2@127.0.0.1#" + ACCOUNT.address,
    ],
)
def test_a_url_without_an_account_is_refused(url: str) -> None:
    with pytest.raises(InputError) as refusal:
        RemoteSigner(url)
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.hint is not None
    assert "--key 'http://127.0.0.1:8550#0x" in refusal.value.hint


def test_a_signer_is_shown_by_its_account() -> None:
    assert repr(RemoteSigner(f"http://127.0.0.1:8550#{ACCOUNT.address}")) == (
        f"RemoteSigner({ACCOUNT.address} at http://127.0.0.1:8550)"
    )
