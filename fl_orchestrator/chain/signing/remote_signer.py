"""Signs with a key in a remote signer: Clef, Web3Signer, or another one with their JSON-RPC API.

Responses are not trusted. Each must be exactly the requested transaction, or a signature of exactly
the requested message, by the expected account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urldefrag

import requests
import rlp  # type: ignore[import-untyped]
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.address import is_checksum_address, is_hex_address, to_checksum_address
from eth_utils.crypto import keccak
from pydantic_core import from_json

from fl_orchestrator.chain.signing.keys import compact
from fl_orchestrator.chain.signing.recovery import recover
from fl_orchestrator.chain.types import Signature
from fl_orchestrator.errors import ChainError, InputError, KeyStoreError
from fl_orchestrator.json_text import to_json
from fl_orchestrator.transport.http import Session, TooMuch, post, shown_text, shown_url

# Long, because a person may have to confirm the request.
_TIMEOUT_SECONDS: Final = 120.0
# A transaction has at most 128 KiB; Clef returns it twice, in hexadecimal.
_MAX_ANSWER_BYTES: Final = 1 << 20
_METHOD_NOT_FOUND: Final = -32601

# The method of nodes and Web3Signer, and that of Clef.
_SIGN_TRANSACTION: Final = ("eth_signTransaction", "account_signTransaction")
_SIGN_TYPED_DATA: Final = ("eth_signTypedData_v4", "eth_signTypedData", "account_signTypedData")

_HINT: Final = "Example: --key 'http://127.0.0.1:8550#0x…', with the account's address after #."

_DOMAIN_TYPE: Final = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]
_LEGACY_FIELDS: Final = ("nonce", "gasPrice", "gas", "to", "value", "data")
_TYPE_2_FIELDS: Final = (
    *("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas"),
    *("gas", "to", "value", "data"),
)


class SignerUnavailable(ChainError):
    """The remote signer does not respond, or refuses to sign."""


class WrongSignature(KeyStoreError):
    """The remote signer signed something else, or with another key."""


class RemoteSigner:
    """The account that a URL names in its fragment: ``http://127.0.0.1:8550#0x…``.

    Raises InputError.
    """

    def __init__(self, url: str) -> None:
        self._url, address = urldefrag(url)
        self._shown = shown_url(url)
        if not self._shown.startswith(("http://", "https://")):
            raise InputError(f"{self._shown} is not an http(s) URL.", _HINT)
        mixed = address[2:] not in (address[2:].lower(), address[2:].upper())
        if not is_hex_address(address) or (mixed and not is_checksum_address(address)):
            raise InputError(
                f"The URL of the signer at {self._shown} does not end with # and the address of an "
                "account.",
                _HINT,
            )
        self._address = str(to_checksum_address(address))
        self._session = Session()

    def __repr__(self) -> str:
        return f"RemoteSigner({self._address} at {self._shown})"

    @property
    def address(self) -> str:
        return self._address

    def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
        """The raw signed transaction. Raises SignerUnavailable and WrongSignature."""
        request = {"from": self._address, **_hexadecimal(transaction)}
        answer = self._ask(_SIGN_TRANSACTION, [request])
        # Clef and nodes return an object with the raw transaction and its fields.
        raw = _bytes_of(answer.get("raw") if isinstance(answer, Mapping) else answer)
        if not _is_signed(raw, transaction) or _signer_of(raw) != self._address:
            raise self._wrong("the transaction")
        return raw

    def sign_typed_data(
        self, domain: dict[str, Any], types: dict[str, Any], message: dict[str, Any]
    ) -> Signature:
        """The compact EIP-712 signature. Raises SignerUnavailable and WrongSignature."""
        typed_data = {
            "types": {"EIP712Domain": _DOMAIN_TYPE, **types},
            "primaryType": _primary_type(types),
            "domain": domain,
            "message": _hexadecimal(message),
        }
        raw = _bytes_of(self._ask(_SIGN_TYPED_DATA, [self._address, typed_data]))
        if len(raw) != 65:
            raise self._wrong("the message")
        parity = raw[64] - 27 if raw[64] >= 27 else raw[64]
        signature = compact(int.from_bytes(raw[:32]), int.from_bytes(raw[32:64]), parity & 1)
        signable = encode_typed_data(domain, types, message)
        digest = keccak(b"\x19" + signable.version + signable.header + signable.body)
        if parity > 1 or recover(digest, signature) != self._address:
            raise self._wrong("the message")
        return signature

    def _ask(self, methods: Sequence[str], params: list[Any]) -> Any:
        """Call the first of these methods that the signer supports; return its result."""
        for method in methods:
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            answer = self._post(to_json(body).encode())
            error = answer.get("error")
            if error is None:
                return answer.get("result")
            known = isinstance(error, Mapping)
            said = shown_text(str(error.get("message") if known else error))
            if not known or error.get("code") != _METHOD_NOT_FOUND:
                break
        raise SignerUnavailable(
            f"The signer at {self._shown} does not sign with {self._address}: {said}.",
            "Look at what the signer says, and whether it has this account's key.",
        )

    def _post(self, body: bytes) -> dict[str, Any]:
        try:
            _, content = post(self._session, self._url, body, _TIMEOUT_SECONDS, _MAX_ANSWER_BYTES)
        except (requests.RequestException, ValueError, TooMuch):
            # Hide the cause: its text contains the whole URL.
            raise SignerUnavailable(
                f"The signer at {self._shown} does not answer.", "Start it, or check --key."
            ) from None
        try:
            answer = from_json(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise SignerUnavailable(
                f"{self._shown} does not speak the JSON-RPC of a signer.", "Check --key."
            )
        return answer

    def _wrong(self, what: str) -> WrongSignature:
        return WrongSignature(
            f"The signer at {self._shown} did not return {what} that {self._address} was asked to "
            "sign. The response was not used.",
            "Check the signer, its chain id, and the address after # in --key.",
        )


def _hexadecimal(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert numbers and bytes to hexadecimal, as JSON-RPC requires."""
    written: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            written[name] = _hexadecimal(value)
        elif isinstance(value, bytes):
            written[name] = "0x" + value.hex()
        else:
            written[name] = hex(value) if isinstance(value, int) else value
    return written


def _primary_type(types: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """The EIP-712 type that no field of another type refers to."""
    used = {field["type"] for fields in types.values() for field in fields}
    (primary,) = types.keys() - used
    return primary


def _is_signed(raw: bytes, transaction: Mapping[str, Any]) -> bool:
    """Whether these bytes are this transaction with any signature, and nothing else."""
    legacy = "gasPrice" in transaction
    names = _LEGACY_FIELDS if legacy else _TYPE_2_FIELDS
    wanted: list[Any] = [_rlp_item(transaction.get(name, b"")) for name in names]
    if not legacy:
        # An empty access list.
        wanted.append([])
    try:
        items = rlp.decode(raw if legacy else raw.removeprefix(b"\x02"))
    except rlp.DecodingError:
        return False
    if not isinstance(items, list) or len(items) != len(wanted) + 3 or items[:-3] != wanted:
        return False
    if not legacy:
        return raw[:1] == b"\x02"
    # EIP-155: with another v, the transaction is for another chain, or valid on every chain.
    chain_id = transaction["chainId"]
    return int.from_bytes(items[-3]) in (2 * chain_id + 35, 2 * chain_id + 36)


def _rlp_item(value: Any) -> bytes:
    if isinstance(value, str):
        return bytes.fromhex(value[2:])
    return value.to_bytes((value.bit_length() + 7) // 8) if isinstance(value, int) else bytes(value)


def _signer_of(raw: bytes) -> str | None:
    try:
        return str(Account.recover_transaction(raw))
    except Exception:  # the libraries raise many types for a malformed signature
        return None


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, str) and value.startswith("0x"):
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            pass
    return b""
