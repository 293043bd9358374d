"""Records every block of a run's chain on disk, and replays the blocks on a new chain.

``blocks.jsonl`` has the genesis in its first line and one block in each further line. Blocks are
only appended. Blocks after the one that ``history.json`` names belong to an interrupted round.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fl_orchestrator.audit.history import BLOCKS, History, UnreadableRun
from fl_orchestrator.chain.contract.federation import NoFederation
from fl_orchestrator.chain.contract.private import open_federation
from fl_orchestrator.chain.nodes.development import DevelopmentChain, RecordedBlock
from fl_orchestrator.errors import VerificationError
from fl_orchestrator.files import open_regular, write_whole

_MAX_LINE_BYTES: Final = 4 << 20

_Time = Annotated[int, Field(ge=0, lt=1 << 40)]
_Hex = Annotated[str, Field(pattern=r"^0x([0-9a-f]{2})*$")]


class WrongRecord(VerificationError):
    """Recorded or stored data contradicts the replayed chain."""


class _Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Genesis(_Line):
    time: _Time
    balances: dict[str, int]


class _Block(_Line):
    timestamp: _Time
    hash: _Hex
    transactions: Annotated[tuple[_Hex, ...], Field(strict=False)]


class Recorder:
    """Appends the blocks of a chain to the record of a run in ``directory``."""

    def __init__(self, directory: Path, chain: DevelopmentChain) -> None:
        self._path = directory / BLOCKS
        self._chain = chain
        self._next = 1
        genesis = _Genesis(time=chain.genesis_time, balances=chain.balances)
        write_whole(self._path, genesis.model_dump_json() + "\n")

    def save(self) -> None:
        """Append the blocks mined since the last call; they are on disk (fsync) on return."""
        with self._path.open("a", encoding="utf-8") as file:
            for block in self._chain.recorded(self._next):
                file.write(_line_of(block).model_dump_json() + "\n")
                self._next += 1
            file.flush()
            os.fsync(file.fileno())


def replay(directory: Path, history: History) -> DevelopmentChain:
    """Send the recorded transactions to a new chain, up to the block that ``history`` names.

    Raises UnreadableRun when there is no record, and WrongRecord, which names the round, at the
    first block that was changed.
    """
    lines = _lines(directory / BLOCKS)
    first = next(lines, b"")
    try:
        genesis = _Genesis.model_validate_json(first)
        chain = DevelopmentChain(genesis.balances, genesis.time, plain=True)
    except Exception as error:  # py-evm raises many types for a wrong genesis
        raise WrongRecord(
            f"Round 0: the recorded genesis was changed ({_reason(error)})."
        ) from error
    for number, line in enumerate(lines, start=1):
        try:
            block = _block_of(_Block.model_validate_json(line))
            chain.replay(block)
        except Exception as error:  # py-evm raises many types for a wrong transaction
            raise WrongRecord(
                f"Round {_round(chain, history)}: the recorded block {number} was changed; no "
                f"coordinate of a model is concerned ({_reason(error)})."
            ) from error
        if chain.head_hash() != block.hash:
            raise WrongRecord(
                f"Round {_round(chain, history)}: the recorded block {number} was changed; no "
                "coordinate of a model is concerned (it does not have its recorded hash)."
            )
        if "0x" + block.hash.hex() == history.chain_head:
            return chain
    raise WrongRecord(
        f"Round {_round(chain, history)}: no recorded block has the hash {history.chain_head}, "
        "which history.json gives the last one."
    )


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with io.BufferedReader(open_regular(path)) as file:
            while line := file.readline(_MAX_LINE_BYTES):
                yield line
    except OSError as error:
        raise UnreadableRun(f"{path} cannot be read: {error.strerror}.") from error


def _round(chain: DevelopmentChain, history: History) -> int:
    """The round in progress; 0 before the first one."""
    try:
        federation = open_federation(chain.web3, history.federation)
    except (NoFederation, ValueError):
        return 0
    return federation.observe(federation.address).current.round


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return " ".join(map(str, [*first["loc"], first["msg"]]))
    return "it cannot be replayed"


def _line_of(block: RecordedBlock) -> _Block:
    return _Block(
        timestamp=block.timestamp,
        hash="0x" + block.hash.hex(),
        transactions=tuple("0x" + raw.hex() for raw in block.transactions),
    )


def _block_of(line: _Block) -> RecordedBlock:
    transactions = tuple(bytes.fromhex(raw[2:]) for raw in line.transactions)
    return RecordedBlock(line.timestamp, bytes.fromhex(line.hash[2:]), transactions)
