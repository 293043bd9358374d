"""Recovers the signer of a compact signature by the same rules as the contract."""

from __future__ import annotations

from typing import Final

from eth_keys import datatypes
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError

from fl_orchestrator.chain.types import Signature

# Half of secp256k1's order. Each signature has a second valid form with s above it, which the
# contract refuses.
_MAX_S: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def recover(digest: bytes, signature: Signature) -> str | None:
    """The address that signed a digest; None if it is no low-s signature (ERC-2098, EIP-2)."""
    vs = int.from_bytes(signature.vs, "big")
    parity, s = vs >> 255, vs & (1 << 255) - 1
    if s > _MAX_S:
        return None
    try:
        signed = datatypes.Signature(vrs=(parity, int.from_bytes(signature.r, "big"), s))
        return str(signed.recover_public_key_from_msg_hash(digest).to_checksum_address())
    except (BadSignature, ValidationError):
        return None
