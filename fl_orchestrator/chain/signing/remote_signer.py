"""Signs with a key in a remote signer: Clef, Web3Signer, or another one with their JSON-RPC API.

Responses are not trusted. Each must be exactly the requested transaction, or a signature of exactly
the requested message, by the expected account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from pydantic_core import from_json

from fl_orchestrator.chain.signing.http_signer import HttpSigner, SignerUnavailable, bytes_of
from fl_orchestrator.chain.signing.transactions import is_signed
from fl_orchestrator.chain.types import Signature
from fl_orchestrator.json_text import to_json
from fl_orchestrator.transport.http import shown_text

_METHOD_NOT_FOUND: Final = -32601

# The method of nodes and Web3Signer, and that of Clef.
_SIGN_TRANSACTION: Final = ("eth_signTransaction", "account_signTransaction")
_SIGN_TYPED_DATA: Final = ("eth_signTypedData_v4", "eth_signTypedData", "account_signTypedData")

_EXAMPLE: Final = "http://127.0.0.1:8550#0x…"

_DOMAIN_TYPE: Final = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]


class RemoteSigner(HttpSigner):
    """The account that a URL names in its fragment: ``http://127.0.0.1:8550#0x…``.

    Raises InputError.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, _EXAMPLE)

    def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
        """The raw signed transaction. Raises SignerUnavailable and WrongSignature."""
        request = {"from": self._address, **_hexadecimal(transaction)}
        answer = self._ask(_SIGN_TRANSACTION, [request])
        # Clef and nodes return an object with the raw transaction and its fields.
        raw = bytes_of(answer.get("raw") if isinstance(answer, Mapping) else answer)
        if not is_signed(raw, transaction) or _signer_of(raw) != self._address:
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
        raw = bytes_of(self._ask(_SIGN_TYPED_DATA, [self._address, typed_data]))
        signable = encode_typed_data(domain, types, message)
        digest = keccak(b"\x19" + signable.version + signable.header + signable.body)
        return self._signature(raw, digest, "the message")

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
        _, content = self._exchange(self._url, body, "application/json")
        try:
            answer = from_json(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise SignerUnavailable(
                f"{self._shown} does not speak the JSON-RPC of a signer.", "Check --key."
            )
        return answer


def _hexadecimal(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert numbers and bytes to hexadecimal, as JSON-RPC requires."""
    return {name: _in_hexadecimal(value) for name, value in fields.items()}


def _in_hexadecimal(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _hexadecimal(value)
    if isinstance(value, list | tuple):
        return [_in_hexadecimal(item) for item in value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return hex(value) if isinstance(value, int) else value


def _primary_type(types: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    """The EIP-712 type that no field of another type refers to."""
    used = {field["type"].removesuffix("[]") for fields in types.values() for field in fields}
    (primary,) = types.keys() - used
    return primary


def _signer_of(raw: bytes) -> str | None:
    try:
        return str(Account.recover_transaction(raw))
    except Exception:  # the libraries raise many types for a malformed signature
        return None
