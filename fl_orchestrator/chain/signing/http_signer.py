"""What all signers behind HTTP have in common: a URL with an account, limits, and distrust."""

from __future__ import annotations

from typing import Final
from urllib.parse import urldefrag

import requests
from eth_utils.address import is_checksum_address, is_hex_address, to_checksum_address

from fl_orchestrator.chain.signing.keys import compact
from fl_orchestrator.chain.signing.recovery import recover
from fl_orchestrator.chain.types import Signature
from fl_orchestrator.errors import ChainError, InputError, KeyStoreError
from fl_orchestrator.transport.http import Session, TooMuch, exchange, shown_url

# Long, because a person may have to confirm the request.
_TIMEOUT_SECONDS: Final = 120.0
# A transaction has at most 128 KiB; Clef returns it twice, in hexadecimal.
_MAX_ANSWER_BYTES: Final = 1 << 20


class SignerUnavailable(ChainError):
    """The remote signer does not respond, or refuses to sign."""


class WrongSignature(KeyStoreError):
    """The remote signer signed something else, or with another key."""


class HttpSigner:
    """The account that a URL names in its fragment: ``http://127.0.0.1:8550#0x…``."""

    def __init__(self, url: str, example: str) -> None:
        """Raises InputError with the ``example``, a URL as it should be."""
        self._url, address = urldefrag(url)
        self._shown = shown_url(url)
        hint = f"Example: --key '{example}', with the account's address after #."
        if not self._shown.startswith(("http://", "https://")):
            raise InputError(f"{self._shown} is not an http(s) URL.", hint)
        mixed = address[2:] not in (address[2:].lower(), address[2:].upper())
        if not is_hex_address(address) or (mixed and not is_checksum_address(address)):
            raise InputError(
                f"The URL of the signer at {self._shown} does not end with # and the address of an "
                "account.",
                hint,
            )
        self._address = str(to_checksum_address(address))
        self._session = Session()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address} at {self._shown})"

    @property
    def address(self) -> str:
        return self._address

    def _exchange(self, url: str, body: bytes | None, accept: str) -> tuple[int, bytes]:
        """POST a JSON body, or GET without one; return status and answer.

        Raises SignerUnavailable.
        """
        limits = (_TIMEOUT_SECONDS, _MAX_ANSWER_BYTES)
        try:
            return exchange(self._session, url, body, *limits, accept=accept)
        except (requests.RequestException, ValueError, TooMuch):
            # Hide the cause: its text contains the whole URL.
            raise SignerUnavailable(
                f"The signer at {self._shown} does not answer.", "Start it, or check --key."
            ) from None

    def _signature(self, raw: bytes, digest: bytes, what: str) -> Signature:
        """The compact form of r, s and v, which must be the account's signature of a digest.

        Raises WrongSignature.
        """
        if len(raw) != 65:
            raise self._wrong(what)
        parity = raw[64] - 27 if raw[64] >= 27 else raw[64]
        signature = compact(int.from_bytes(raw[:32]), int.from_bytes(raw[32:64]), parity & 1)
        if parity > 1 or recover(digest, signature) != self._address:
            raise self._wrong(what)
        return signature

    def _wrong(self, what: str) -> WrongSignature:
        return WrongSignature(
            f"The signer at {self._shown} did not return {what} that {self._address} was asked to "
            "sign. The response was not used.",
            "Check the signer, its chain id, and the address after # in --key.",
        )


def bytes_of(text: object) -> bytes:
    """The bytes that a text has in hexadecimal after 0x; empty if it is no such text."""
    if isinstance(text, str) and text.startswith("0x"):
        try:
            return bytes.fromhex(text[2:])
        except ValueError:
            pass
    return b""
