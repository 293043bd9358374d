"""Writes golden.json: the numbers that pin the Python and the Solidity code to one another.

Everything is computed as docs/protocol.md, section 10, says it, with Python's integers and
fractions and with libraries that the product does not use for it; nothing is imported from
fl_orchestrator. From the checkout:

    PYTHONPATH=tests python -m vectors.generate

The JSON suits Foundry's vm.parseJson: every group is an array of objects with the same keys, sorted
(parseJson decodes struct fields in alphabetical order); hashes, addresses and bytes are 0x-hex;
numbers below 2^63 are JSON numbers, larger ones 32-byte hex words (stake, totalStake, included,
coordinate) or decimal strings (the round of a file); no array is empty.
"""

import json
from pathlib import Path

from vectors import hashes, models, trees
from vectors.encoding import Json

GOLDEN = Path(__file__).with_name("golden.json")


def golden() -> dict[str, list[Json]]:
    return {
        "challenges": hashes.challenges(),
        "commitments": hashes.commitments(),
        "commits": hashes.commits(),
        "conversions": models.conversions(),
        "draws": hashes.draws(),
        "files": models.files(),
        "manifests": models.manifests(),
        "nodes": trees.nodes(),
        "proofs": trees.proofs(),
        "results": hashes.results(),
        "rollingHashes": hashes.rolling_hashes(),
        "rules": models.rules(),
        "sampleWeights": models.sample_weights(),
        "seeds": hashes.seeds(),
        "vectors": trees.vectors(),
        "zeroNodes": trees.zero_nodes(),
    }


def to_text() -> str:
    """One row per line, so that a change of the vectors can be read in a diff."""
    groups = (
        f"{json.dumps(name)}: [\n"
        + ",\n".join(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)
        + "\n]"
        for name, rows in golden().items()
    )
    return "{\n" + ",\n".join(groups) + "\n}\n"


if __name__ == "__main__":
    GOLDEN.write_text(to_text(), encoding="utf-8")
