"""The files in which members pass on their signatures, until somebody sends them together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fl_orchestrator.errors import InputError
from fl_orchestrator.files import write_whole
from fl_orchestrator.json_text import to_json

if TYPE_CHECKING:
    from fl_orchestrator.chain.types import Signature

#: More than any file of signatures, or of what is signed, has.
LARGEST_FILE: Final = 1 << 20


class BadSignatureFile(InputError):
    """A file is not what a command has written for what is to be sent."""


def write_signature(path: Path, digest: bytes, signer: str, signed: Signature) -> None:
    """Write a signature into a file. Raises BadSignatureFile."""
    parts = {"r": "0x" + signed.r.hex(), "vs": "0x" + signed.vs.hex()}
    found = {"digest": "0x" + digest.hex(), "signer": signer, **parts}
    try:
        write_whole(path, to_json(found) + "\n")
    except OSError as error:
        raise BadSignatureFile(
            f"{path} cannot be written: {error.strerror}.", "Give another --output."
        ) from error


def read_signature(
    path: Path, digest: bytes, seats: Mapping[str, int], written_by: str, same: str
) -> tuple[int, Signature]:
    """A signature of a digest from a file, and the number of its account among ``seats``.

    ``written_by`` is the command that writes such files, ``same`` a sentence on what all have to
    sign. Raises BadSignatureFile.
    """
    # It refuses what is nested too deeply, where the standard library's may crash.
    from pydantic_core import from_json

    from fl_orchestrator.chain.signing.recovery import recover
    from fl_orchestrator.chain.types import Signature

    try:
        with path.open("rb") as stream:
            found = from_json(stream.read(LARGEST_FILE))
        signed = Signature(bytes.fromhex(found["r"][2:]), bytes.fromhex(found["vs"][2:]))
        account = recover(digest, signed)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadSignatureFile(
            f"{path} has no signature that can be read.", f"Write it with `{written_by}`."
        ) from error
    if account is None or account not in seats:
        raise BadSignatureFile(f"{path} has no signature of a present seat for this.", same)
    return seats[account], signed
