"""The bytes of real updates and models on their way to and from a relay, beside today's bytes.

    python benchmarks/transfers/packing.py [--json] [--rounds 10] [--data mnist,ai4i]

Federations train on the data of the examples (MNIST as in `benchmarks/mnist.py`, the others as in
`flo demo`), and every file of theirs is packed and unpacked again. *sent* is what a round sends
through a relay: each update there once and to the aggregator once, and the model to each party
drawn and to the aggregator. The speed is the time of packing, and of unpacking, over that of one
pass of sha-256, which every reader of a file makes, measured in turns.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from fl_orchestrator.cli.logs import silence
from fl_orchestrator.simulation.experiment import Experiment
from fl_orchestrator.simulation.options import Options
from fl_orchestrator.transport.packing import BLOCK_BYTES, Unpacker, packed

GOAL: Final = 0.6
DATA: Final[dict[str, dict[str, Any]]] = {
    "mnist": {"parties": 100, "participants": 10, "partition": "iid"},
    "digits": {},
    "ai4i": {},
    "credit-german": {},
    "heart-disease": {"parties": 4},
}
SPEED_BYTES: Final = 50_000_000
REPEATS: Final = 5


@dataclass(frozen=True, slots=True)
class Sizes:
    """The bytes of some files, and packed."""

    files: int
    plain: int
    packed: int

    @property
    def ratio(self) -> float:
        return self.packed / self.plain


def pack(data: bytes) -> bytes:
    blocks = (data[i : i + BLOCK_BYTES] for i in range(0, len(data), BLOCK_BYTES))
    return b"".join(packed(blocks))


def unpack(data: bytes) -> bytes:
    unpacker = Unpacker()
    return b"".join(
        block
        for i in range(0, len(data), BLOCK_BYTES)
        for block in unpacker.unpacked(data[i : i + BLOCK_BYTES])
    )


def kind_of(data: bytes) -> str:
    """The kind of a vector file; of another file, none."""
    length = int.from_bytes(data[:8], "little")
    try:
        found = json.loads(data[8 : 8 + length])["__metadata__"]["kind"]
    except (ValueError, LookupError, TypeError):
        return ""
    return str(found)


def trained(name: str, rounds: int) -> dict[str, list[bytes]]:
    """The files of a federation on this data, by their kind."""
    files: dict[str, list[bytes]] = {"update": [], "global": []}
    options = Options(dataset=name, aggregators=1, rounds=rounds, **DATA[name])
    with tempfile.TemporaryDirectory() as directory:
        experiment = Experiment(options, Path(directory))
        for _ in range(rounds):
            experiment.run_round()
        for path in (Path(directory) / "store").rglob("b*"):
            data = path.read_bytes()
            if (kind := kind_of(data)) in files:
                files[kind].append(data)
    return files


def sizes_of(files: Sequence[bytes]) -> Sizes:
    after = []
    for data in files:
        smaller = pack(data)
        if unpack(smaller) != data:
            raise RuntimeError("a file came back as another one")
        # What does not become smaller is sent as it is.
        after.append(min(len(smaller), len(data)))
    return Sizes(len(files), sum(map(len, files)), sum(after))


def measure(name: str, rounds: int) -> dict[str, Any]:
    files = trained(name, rounds)
    updates, models = sizes_of(files["update"]), sizes_of(files["global"])

    def sent(pick: Callable[[Sizes], int]) -> float:
        readers = updates.files / rounds + 1
        return 2 * pick(updates) / rounds + readers * pick(models) / models.files

    ratio = sent(lambda s: s.packed) / sent(lambda s: s.plain)
    return {"updates": updates, "models": models, "sent": ratio}


def speed() -> dict[str, float]:
    """Times over that of sha-256 on the same bytes."""
    numbers = np.random.default_rng(0).standard_normal(SPEED_BYTES // 2) * 60
    data = numbers.astype(np.int16).tobytes()
    smaller = pack(data)
    ways: dict[str, Callable[[], Any]] = {
        "sha256": lambda: hashlib.sha256(data).digest(),
        "pack": lambda: pack(data),
        "unpack": lambda: unpack(smaller),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append(time.process_time() - start)
    middle = {name: statistics.median(values) for name, values in times.items()}
    return {name: middle[name] / middle["sha256"] for name in ("pack", "unpack")}


def show(found: dict[str, Any]) -> None:
    table = Table(title="Bytes on their way, over those of the files")
    for heading in ("data", "bytes of an update", "updates", "models", "sent", f"≤ {GOAL}"):
        table.add_column(heading, justify="left" if heading == "data" else "right")
    for name, row in found["data"].items():
        each = row["updates"].plain // row["updates"].files
        met = "yes" if row["updates"].ratio <= GOAL else "NO"
        ratios = (f"{row[key].ratio:.2f}" for key in ("updates", "models"))
        table.add_row(name, f"{each:,}", *ratios, f"{row['sent']:.2f}", met)
    console = Console()
    console.print(table)
    times = found["speed"]
    console.print(
        f"Of the time of sha-256: packing {times['pack']:.2f}, unpacking {times['unpack']:.2f}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--data", default=",".join(DATA))
    options = parser.parse_args()
    silence()
    data = {n: measure(n, options.rounds) for n in options.data.split(",")}
    found = {"data": data, "speed": speed()}
    if options.json:
        plain = {
            name: {**row, "updates": asdict(row["updates"]), "models": asdict(row["models"])}
            for name, row in data.items()
        }
        print(json.dumps({**found, "data": plain}, indent=2))
    else:
        show(found)


if __name__ == "__main__":
    main()
