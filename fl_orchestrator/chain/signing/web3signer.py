"""Signs with a key in Web3Signer, by its REST API (``eth1/sign``).

The signer gets the bytes of a transaction or of an EIP-712 message, hashes them with Keccak-256,
and returns r, s and v in hexadecimal. It needs no node behind it, and no chain id. It names a key
by its public key, so the account's is looked for among those that it has.

Written from the text of its API (web3signer.yaml of 23.11.0) and tested against a double of it.
"""

from __future__ import annotations

from typing import Any, Final

from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from pydantic_core import from_json

from fl_orchestrator.chain.signing import transactions
from fl_orchestrator.chain.signing.http_signer import HttpSigner, SignerUnavailable, bytes_of
from fl_orchestrator.chain.types import Signature
from fl_orchestrator.errors import InputError
from fl_orchestrator.json_text import to_json
from fl_orchestrator.transport.http import shown_text

_EXAMPLE: Final = "web3signer+http://127.0.0.1:9000#0x…"
_KEYS: Final = "/api/v1/eth1/publicKeys"
_SIGN: Final = "/api/v1/eth1/sign/"
_PUBLIC_KEY_BYTES: Final = 64
_UNCOMPRESSED: Final = b"\x04"


class Web3Signer(HttpSigner):
    """The account that a URL names in its fragment: ``http://127.0.0.1:9000#0x…``.

    Raises InputError. On the command line, ``web3signer+`` stands before such a URL.
    Every signature is checked: it must be the account's, of exactly what was to be signed.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, _EXAMPLE)
        if "?" in self._url:
            raise InputError(
                f"The URL of the signer at {self._shown} has a query.",
                "Name its server and, behind a proxy, the path; credentials go before the host.",
            )
        self._base = self._url.rstrip("/")
        self._public_key = b""

    def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
        """The raw signed transaction. Raises SignerUnavailable and WrongSignature."""
        signature = self._sign(transactions.unsigned(transaction), "the transaction")
        vs = int.from_bytes(signature.vs)
        r, s = int.from_bytes(signature.r), vs & (1 << 255) - 1
        return transactions.signed(transaction, vs >> 255, r, s)

    def sign_typed_data(
        self, domain: dict[str, Any], types: dict[str, Any], message: dict[str, Any]
    ) -> Signature:
        """The compact EIP-712 signature. Raises SignerUnavailable and WrongSignature."""
        signable = encode_typed_data(domain, types, message)
        data = b"\x19" + signable.version + signable.header + signable.body
        return self._sign(data, "the message")

    def _sign(self, data: bytes, what: str) -> Signature:
        if not self._public_key:
            self._public_key = self._found_key()
        url = f"{self._base}{_SIGN}0x{self._public_key.hex()}"
        body = to_json({"data": "0x" + data.hex()}).encode()
        status, answer = self._exchange(url, body, "text/plain, */*;q=0.1")
        if status == 404:
            # It may have been taken away; the next try looks again.
            self._public_key = b""
            raise self._without_key()
        if status != 200:
            raise self._refused(status, answer)
        text = answer.decode("ascii", "replace").strip()
        return self._signature(bytes_of(text), keccak(data), what)

    def _found_key(self) -> bytes:
        """The account's public key among those of the signer. Raises SignerUnavailable."""
        status, answer = self._exchange(self._base + _KEYS, None, "application/json")
        if status != 200:
            raise self._refused(status, answer)
        try:
            listed = from_json(answer)
        except ValueError:
            listed = None
        if not isinstance(listed, list):
            raise SignerUnavailable(
                f"{self._shown} does not speak the API of Web3Signer for Ethereum accounts.",
                "Check --key, and that it was started with the mode eth1.",
            )
        for text in listed:
            key = bytes_of(text if not isinstance(text, str) or text[:2] == "0x" else "0x" + text)
            if len(key) == _PUBLIC_KEY_BYTES + 1:
                key = key.removeprefix(_UNCOMPRESSED)
            if len(key) == _PUBLIC_KEY_BYTES and keccak(key)[12:] == self._account:
                return key
        raise self._without_key()

    @property
    def _account(self) -> bytes:
        return bytes.fromhex(self._address[2:])

    def _without_key(self) -> SignerUnavailable:
        return SignerUnavailable(
            f"The signer at {self._shown} has no key of {self._address}.",
            "Load it there (and POST /reload), or correct the address after # in --key.",
        )

    def _refused(self, status: int, answer: bytes) -> SignerUnavailable:
        said = shown_text(answer.decode("utf-8", "replace"))
        return SignerUnavailable(
            f"The signer at {self._shown} does not sign with {self._address}: HTTP {status}"
            f"{f', {said}' if said else ''}.",
            "Look at its log.",
        )
