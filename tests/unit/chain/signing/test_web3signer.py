"""Keys in Web3Signer, by its own API: a signature is used only if it is what was asked for.

The signer here is a double, written from the text of that API; no test runs the real one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak
from support.federation import SmallFederation, signer
from support.http_server import QuietHandler, http_server
from web3 import Web3

from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.signing import http_signer
from fl_orchestrator.chain.signing.http_signer import SignerUnavailable, WrongSignature
from fl_orchestrator.chain.signing.web3signer import Web3Signer
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.digests import Result
from fl_orchestrator.units import ETHER

KEY = signer("remote")
SECRET = bytes(KEY._account.key)
OTHER = PrivateKey(b"\x07" * 32)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
TARGET = Web3.to_checksum_address("0x" + "77" * 20)
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
    "chainId": 131_277_322_940_537,
    "nonce": 0,
    "gas": 21_000,
    "value": 0,
    "data": b"\x60\x00",
    "gasPrice": 10**9,
}
DOMAIN = {"name": "Federation", "version": "1", "chainId": 5, "verifyingContract": TARGET}
TYPES = {
    "Thing": [{"name": "number", "type": "uint128"}, {"name": "part", "type": "Part"}],
    "Part": [{"name": "digest", "type": "bytes32"}],
}
MESSAGE = {"number": 1 << 120, "part": {"digest": b"\x05" * 32}}


class Program:
    """`POST /api/v1/eth1/sign/{identifier}` and `GET /api/v1/eth1/publicKeys`, as specified.

    It signs the Keccak-256 of the data, and answers r, s and v (27 or 28) as text. What is set
    makes it a wrong one.
    """

    def __init__(self) -> None:
        # eth_keys has no types for its methods.
        self.keys: list[Any] = [OTHER, PrivateKey(SECRET)]
        self.listed: Any = None
        self.status = 200
        self.reason = b""
        self.signing: Any = None
        self.spoil_data: Callable[[bytes], bytes] = lambda data: data
        self.spoil_answer: Callable[[str], str] = lambda answer: answer
        self.requests: list[tuple[str, str]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}#{KEY.address}"

    def public_keys(self) -> Any:
        found = [f"0x{key.public_key.to_bytes().hex()}" for key in self.keys]
        return found if self.listed is None else self.listed

    def sign(self, identifier: str, body: bytes) -> tuple[int, bytes]:
        named = {f"0x{key.public_key.to_bytes().hex()}": key for key in self.keys}
        if identifier not in named:
            return 404, b""
        data = bytes.fromhex(json.loads(body)["data"].removeprefix("0x"))
        key = self.signing or named[identifier]
        found = key.sign_msg_hash(keccak(self.spoil_data(data)))
        raw = found.r.to_bytes(32) + found.s.to_bytes(32) + bytes([found.v + 27])
        return 200, self.spoil_answer("0x" + raw.hex()).encode()


@contextlib.contextmanager
def running(program: Program) -> Iterator[Web3Signer]:
    class Handler(QuietHandler):
        def respond(self, status: int, body: bytes, kind: str) -> None:
            program.requests.append((self.command, self.path))
            if program.status != 200:
                status, body = program.status, program.reason
            self.reply(status, body, kind)

        def do_GET(self) -> None:
            assert self.path == "/api/v1/eth1/publicKeys"
            self.respond(200, json.dumps(program.public_keys()).encode(), "application/json")

        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            place, _, identifier = self.path.rpartition("/")
            assert place == "/api/v1/eth1/sign"
            self.respond(*program.sign(identifier, self.body()), "text/plain; charset=utf-8")

    with http_server(Handler) as program.port:
        yield Web3Signer(program.url)


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
def remote(program: Program) -> Iterator[Web3Signer]:
    with running(program) as remote:
        yield remote


def refused_by(remote: Web3Signer, error: type[Exception], said: str) -> None:
    for transaction in (TYPE_2, LEGACY):
        with pytest.raises(error, match=said):
            remote.sign_transaction(transaction)
    with pytest.raises(error, match=said):
        remote.sign_typed_data(DOMAIN, TYPES, MESSAGE)


# ---------------------------------------------------------------------- what is signed


def test_it_signs_what_a_key_in_memory_signs(program: Program, remote: Web3Signer) -> None:
    assert remote.address == KEY.address
    # Both parities, and short values of r and s, come with many nonces.
    for nonce in range(40):
        for transaction in ({**TYPE_2, "nonce": nonce}, {**LEGACY, "nonce": nonce}):
            assert remote.sign_transaction(transaction) == KEY.sign_transaction(transaction)
    expected = KEY.sign_typed_data(DOMAIN, TYPES, MESSAGE)
    assert remote.sign_typed_data(DOMAIN, TYPES, MESSAGE) == expected
    # The keys are asked for once.
    assert [path for method, path in program.requests if method == "GET"] == [
        "/api/v1/eth1/publicKeys"
    ]


def test_a_signature_may_write_its_parity_in_either_way(
    program: Program, remote: Web3Signer
) -> None:
    program.spoil_answer = lambda answer: answer[:-2] + f"{int(answer[-2:], 16) - 27:02x}\n"
    assert remote.sign_transaction(TYPE_2) == KEY.sign_transaction(TYPE_2)


@pytest.mark.parametrize("form", ["{}", "0x{}", "0x04{}", "04{}", "0X{}"])
def test_a_public_key_is_found_in_any_usual_form(
    program: Program, remote: Web3Signer, form: str
) -> None:
    public = PrivateKey(SECRET).public_key.to_bytes().hex()
    program.listed = ["0x12", 7, None, form.format(public)]
    if form == "0X{}":
        refused_by(remote, SignerUnavailable, "has no key of 0x")
    else:
        assert remote.sign_transaction(TYPE_2) == KEY.sign_transaction(TYPE_2)


def test_a_path_of_a_proxy_is_kept(program: Program) -> None:
    signed = Web3Signer(f"https://sign.example/of/us/#{KEY.address}")
    assert signed._base == "https://sign.example/of/us"


def test_an_account_in_web3signer_takes_part(remote: Web3Signer, tmp_path: Path) -> None:
    chain = DevelopmentChain({KEY.address: ETHER})
    sender = Sender(chain.web3, remote, RevertDecoder.of_artifact("Federation"))
    sender.send(Call(TARGET, b"", 5, "transfer"))
    assert chain.web3.eth.get_balance(TARGET) == 5

    federation = SmallFederation(tmp_path, register=False).federation
    result = Result(7, b"\1" * 32, b"\2" * 32, 1 << 127 | 5, b"\3" * 32, Cid(bytes(32), 0x70))
    for sign in (
        lambda key: federation.sign_result(key, result),
        lambda key: federation.sign_commit(key, 3, b"\5" * 32),
    ):
        assert sign(remote) == sign(KEY)


# ---------------------------------------------------------------------- what is not used


def test_a_signature_of_something_else_is_not_used(program: Program, remote: Web3Signer) -> None:
    program.spoil_data = lambda data: data + b"\0"
    refused_by(remote, WrongSignature, "was not used")


def test_a_signature_with_the_prefix_of_messages_is_not_used(
    program: Program, remote: Web3Signer
) -> None:
    program.spoil_data = lambda data: b"\x19Ethereum Signed Message:\n" + data
    refused_by(remote, WrongSignature, "was not used")


def test_a_signature_by_another_key_is_not_used(program: Program, remote: Web3Signer) -> None:
    program.signing = OTHER
    refused_by(remote, WrongSignature, "did not return")


def high_s(answer: str) -> str:
    """The other signature that every one implies, which the contract refuses."""
    raw = bytes.fromhex(answer[2:])
    s = ORDER - int.from_bytes(raw[32:64])
    return "0x" + (raw[:32] + s.to_bytes(32) + bytes([27 + 28 - raw[64]])).hex()


@pytest.mark.parametrize(
    "answer",
    ["", "0x", "zz", "0xzz", "0x" + "00" * 65, "0x" + "ff" * 65, "0x" + "11" * 64, "\N{SNOWMAN}"],
)
def test_garbage_is_no_signature(program: Program, remote: Web3Signer, answer: str) -> None:
    program.spoil_answer = lambda _: answer
    refused_by(remote, WrongSignature, "was not used")


def test_a_signature_that_the_contract_refuses_is_not_used(
    program: Program, remote: Web3Signer
) -> None:
    program.spoil_answer = high_s
    refused_by(remote, WrongSignature, "was not used")


# ---------------------------------------------------------------------- what does not sign


def test_a_signer_without_the_key_is_named_and_asked_again_later(
    program: Program, remote: Web3Signer
) -> None:
    held = program.keys
    program.keys = [OTHER]
    refused_by(remote, SignerUnavailable, f"has no key of {KEY.address}")
    program.keys = held
    assert remote.sign_transaction(TYPE_2) == KEY.sign_transaction(TYPE_2)
    # It was taken away after it had been found.
    program.keys = [OTHER]
    refused_by(remote, SignerUnavailable, f"has no key of {KEY.address}")
    program.keys = held
    assert remote.sign_transaction(TYPE_2) == KEY.sign_transaction(TYPE_2)


@pytest.mark.parametrize("listed", [{}, {"keys": []}, "text", 5])
def test_what_lists_no_keys_is_named(program: Program, remote: Web3Signer, listed: Any) -> None:
    program.listed = listed
    refused_by(remote, SignerUnavailable, "does not speak the API of Web3Signer")


@pytest.mark.parametrize("status", [400, 401, 500, 302])
def test_a_refusal_is_quoted_without_control_characters(
    program: Program, remote: Web3Signer, status: int
) -> None:
    assert remote.sign_transaction(TYPE_2)
    program.status, program.reason = status, b"no\x1b[31m way" + b"x" * 10_000
    with pytest.raises(SignerUnavailable, match=f"HTTP {status}, no") as said:
        remote.sign_transaction(TYPE_2)
    assert "\x1b" not in said.value.message
    assert len(said.value.message) < 1_000


def test_an_answer_is_limited(
    program: Program, remote: Web3Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_signer, "_MAX_ANSWER_BYTES", 1 << 12)
    program.listed = ["0x" + "00" * 64] * 100
    refused_by(remote, SignerUnavailable, "does not answer")


def test_no_message_has_the_secrets_of_the_url() -> None:
    remote = Web3Signer(f"http://user:hunter2@127.0.0.1:1/SECRET#{KEY.address}")
    with pytest.raises(SignerUnavailable) as said:
        remote.sign_transaction(TYPE_2)
    assert "hunter2" not in said.value.message + repr(remote)
    assert "SECRET" not in said.value.message


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000",
        "http://127.0.0.1:9000#0x12",
        f"ftp://a#{KEY.address}",
        f"http://127.0.0.1:9000/?token=KEY2#{KEY.address}",
    ],
)
def test_a_url_that_is_no_account_at_a_signer_is_refused(url: str) -> None:
    with pytest.raises(InputError) as refusal:
        Web3Signer(url)
    assert refusal.value.hint
    assert "KEY2" not in refusal.value.message


def test_a_mistyped_address_is_refused() -> None:
    wrong = Account.from_key(SECRET).address.swapcase().replace("0X", "0x")
    with pytest.raises(InputError):
        Web3Signer(f"http://127.0.0.1:9000#{wrong}")
