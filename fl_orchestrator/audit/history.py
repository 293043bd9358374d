"""The record of a run for people and scripts: ``history.json``.

It is replaced atomically after every round, so that an interrupted run leaves a readable record.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError

from fl_orchestrator.errors import InputError, VerificationError
from fl_orchestrator.files import open_regular, read_regular, write_whole
from fl_orchestrator.json_text import NOT_FINITE, to_json
from fl_orchestrator.model.parts.part import Part

HISTORY: Final = "history.json"
BLOCKS: Final = "blocks.jsonl"
STORE: Final = "store"
SAFETENSORS: Final = "model.safetensors"
KERAS: Final = "model.keras"
#: The partition of a run whose trainers brought their data. Nothing but weights is known of it.
OWN_DATA: Final = "own"
_MAX_HISTORY_BYTES: Final = 64 << 20

# The loss of a model that diverged is null in JSON.
Measure = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


class UnreadableRun(InputError):
    """The directory does not hold the record of a run."""


class DamagedRun(VerificationError):
    """The record of a run is damaged or was changed."""


class _Record(Part):
    # Explains to people why a number is null; see json_text. It is computed on each write.
    not_finite: dict[str, str] = Field(default={}, alias=NOT_FINITE, exclude=True)


class RoundEntry(_Record):
    """One round. ``root`` and ``cid`` are those of the head after this round.

    ``clipped`` is the largest fraction of an update's values that were out of range.
    """

    round: int
    accepted: bool
    drawn: int
    committed: int
    included: int
    accuracy: Measure
    loss: Measure
    # What was evaluated besides.
    metrics: dict[str, Measure] = Field(default={})
    clipped: float
    gas: int
    gas_by_call: dict[str, int]
    root: str
    cid: str


class Comparison(_Record):
    """Accuracy on the same test set, of models trained for the same number of local steps."""

    accuracy: Measure
    accuracy_alone_mean: Measure
    accuracy_pooled: Measure


class History(_Record):
    """A run of `flo demo` or of `simulate`."""

    version: Literal[1] = 1
    # Whether the updates are masked.
    private: bool = False
    dataset: str
    partition: str
    rule: str
    seed: int
    parties: int
    aggregators: int
    participants: int
    chain_id: int
    federation: str
    chain_head: str
    genesis_root: str
    genesis_cid: str
    manifest_cid: str
    rounds: tuple[RoundEntry, ...] = Field(default=(), strict=False)
    comparison: Comparison | None = None
    gas_total: int = 0
    # The updates of earlier rounds, and their models, were dropped to save disk.
    first_kept: int = 1
    # The sha256 of each file that was exported from the head, by file name.
    exports: dict[str, str] = Field(default={})
    complete: bool = False

    def save(self, directory: Path) -> None:
        write_whole(directory / HISTORY, to_json(self.model_dump(), indent=2) + "\n")

    @property
    def exported(self) -> frozenset[str]:
        """The names of the models that a complete run of this kind exports."""
        return frozenset({SAFETENSORS} if self.partition == OWN_DATA else {SAFETENSORS, KERAS})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the record in a directory. Its content is not verified: the auditor does that.

        Raises UnreadableRun if there is none, and DamagedRun.
        """
        path = directory / HISTORY
        try:
            data = read_regular(path, _MAX_HISTORY_BYTES)
            if len(data) > _MAX_HISTORY_BYTES:
                raise DamagedRun(f"{path} is too large to be the record of a run.")
            return cls.model_validate_json(data)
        except OSError as error:
            raise UnreadableRun(
                f"{path} cannot be read: {error.strerror}.", "Give the --out directory of a run."
            ) from error
        except ValidationError as error:
            raise DamagedRun(f"{path} is not the record of a run: {_explain(error)}.") from error


def file_sha256(path: Path, max_bytes: int | None = None) -> str:
    """The sha256 of a regular file, in hexadecimal with 0x.

    Raises OSError, also if the file is larger than ``max_bytes``.
    """
    with open_regular(path) as file:
        if max_bytes is not None and os.fstat(file.fileno()).st_size > max_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        return "0x" + hashlib.file_digest(file, "sha256").hexdigest()


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    match first["loc"]:
        case ("rounds", int(index), *rest):
            where = f"round {index + 1}: {'.'.join(map(str, rest))}"
        case parts:
            where = ".".join(map(str, parts)) or "the file"
    return f"{where}: {first['msg']}"
