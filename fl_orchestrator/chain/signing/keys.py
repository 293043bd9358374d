"""Keys: encrypted keystore files (Web3 Secret Storage, version 3), and signers that use them."""

from __future__ import annotations

import functools
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from pydantic_core import from_json

from fl_orchestrator.chain.abi import checksummed
from fl_orchestrator.chain.types import Signature
from fl_orchestrator.errors import KeyStoreError
from fl_orchestrator.files import decoded
from fl_orchestrator.json_text import to_json
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.protocol import ADDRESS

if TYPE_CHECKING:
    from coincurve import PrivateKey
    from eth_account.signers.local import LocalAccount

MAX_KEYSTORE_BYTES: Final = 65_536

# geth names a file UTC--2026-01-31T12-00-00.000000000Z--<address>; others append .json.
_ADDRESS_AT_END: Final = re.compile(
    r"(?:^|[^0-9a-z])((?:0x)?[0-9a-f]{40})(?:\.json)?$", re.IGNORECASE
)


class Signer(Protocol):
    """An account that signs, with a key in memory or in a remote signer."""

    @property
    def address(self) -> str: ...

    def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
        """The raw signed transaction."""
        ...

    def sign_typed_data(
        self, domain: dict[str, Any], types: dict[str, Any], message: dict[str, Any]
    ) -> Signature:
        """The compact EIP-712 signature."""
        ...


class LocalSigner:
    """Signs with a key in memory."""

    def __init__(self, account: LocalAccount) -> None:
        self._account = account

    @functools.cached_property
    def _key(self) -> PrivateKey:
        """The key as libsecp256k1 has it. eth-account computes the public key at each signature."""
        from coincurve import PrivateKey

        return PrivateKey(bytes(self._account.key))

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"

    @classmethod
    def from_secret(cls, secret: bytes) -> LocalSigner:
        """A signer with this 32-byte private key; only for development chains with public keys."""
        from eth_account import Account

        return cls(Account.from_key(secret))

    @property
    def address(self) -> str:
        return str(self._account.address)

    def sign_transaction(self, transaction: dict[str, Any]) -> bytes:
        return bytes(self._account.sign_transaction(transaction).raw_transaction)

    def sign_typed_data(
        self, domain: dict[str, Any], types: dict[str, Any], message: dict[str, Any]
    ) -> Signature:
        from eth_account.messages import encode_typed_data

        signable = encode_typed_data(domain, types, message)
        digest = keccak256(b"\x19" + signable.version + signable.header + signable.body)
        signed = self._key.sign_recoverable(digest, hasher=None)
        return compact(int.from_bytes(signed[:32]), int.from_bytes(signed[32:64]), signed[64])


def compact(r: int, s: int, parity: int) -> Signature:
    """Encode by ERC-2098: the parity is stored in the highest bit of s, which is 0 in a low s."""
    return Signature(r.to_bytes(32), (s | parity << 255).to_bytes(32))


def load_keystore(path: Path, password: str) -> LocalSigner:
    """Decrypt a keystore file.

    Raises KeyStoreError when the file is missing or malformed, or the password is wrong.
    """
    from eth_account import Account

    keystore = _read_keystore(path)
    try:
        signer = LocalSigner(Account.from_key(Account.decrypt(keystore, password)))
        # Compare the address: the format's checksum does not cover the initialisation vector, and
        # a changed one decrypts to another key.
        named = keystore.get("address")
        if named in (None, "") or int(named, 16) == int(signer.address, 16):
            return signer
    except Exception as error:  # eth-keyfile raises many types for a damaged field
        if "MAC mismatch" in str(error):
            raise KeyStoreError(
                f"The password does not open the key file {path}.",
                "Nothing was sent; try again with the right password.",
            ) from error
        raise KeyStoreError(f"{path} is a damaged keystore file.") from error
    raise KeyStoreError(f"{path} is a damaged keystore file: its key has another address.")


def keystore_address(path: Path) -> str:
    """The account of a keystore file, from its content or else its name; needs no password.

    Raises KeyStoreError when the file is missing or malformed, or has no address in either.
    """
    address = _read_keystore(path).get("address")
    if address in (None, ""):
        # Wallets that leave the address out of the file put it into the file's name.
        named = _ADDRESS_AT_END.search(path.name)
        address = named and named[1]
    digits = address.lower().removeprefix("0x") if isinstance(address, str) else ""
    if not ADDRESS.fullmatch(f"0x{digits}"):
        raise KeyStoreError(
            f"The keystore file {path} does not say whose key it has.",
            'Add "address" to it, or end the file\'s name with the address.',
        )
    return checksummed(f"0x{digits}")


def _read_keystore(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_KEYSTORE_BYTES + 1)
    except OSError as error:
        raise KeyStoreError(
            f"The key file {path} cannot be read: {error.strerror}.", "Check --key."
        ) from error
    if len(raw) > MAX_KEYSTORE_BYTES:
        raise KeyStoreError(f"The key file {path} is too large to be a keystore file.")
    try:
        # Some wallets write "Crypto", and the version as text.
        keystore = {name.lower(): value for name, value in from_json(decoded(raw)).items()}
        if keystore.get("version") in ("3", "3.0"):
            keystore["version"] = 3
        if keystore.get("version") != 3 or "crypto" not in keystore:
            raise KeyStoreError(f"{path} is not a Web3 Secret Storage file of version 3.")
    except (ValueError, AttributeError) as error:
        raise KeyStoreError(f"{path} is not a Web3 Secret Storage file.") from error
    return keystore


def save_keystore(path: Path, secret: bytes, password: str, *, stretch: bool = True) -> str:
    """Encrypt a private key into a new file that only its owner can read; return its address.

    ``stretch`` uses a slow key derivation, so that opening the file takes a second. A random
    password of 128 bits or more does not need it. Raises KeyStoreError when the file exists or
    cannot be written.
    """
    from eth_account import Account

    require_absent(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".key-") as file:
            if stretch:
                keystore = Account.encrypt(secret, password)
            else:
                keystore = Account.encrypt(secret, password, kdf="pbkdf2", iterations=1)
            file.write(to_json(keystore))
            file.flush()
            os.fsync(file.fileno())
            # Use link, not rename: link fails if the file exists, rename would overwrite a key.
            os.link(file.name, path)
    except OSError as error:
        require_absent(path)
        raise KeyStoreError(f"{path} cannot be written: {error.strerror}.") from error
    return str(Account.from_key(secret).address)


def require_absent(path: Path) -> None:
    """Raise KeyStoreError if something has this name."""
    if os.path.lexists(path):
        raise KeyStoreError(f"{path} exists already.", "A key file is never overwritten.")
