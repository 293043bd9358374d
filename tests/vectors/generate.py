"""Writes golden.json: test vectors that the Python code and the Solidity code must both reproduce.

Everything is computed as specified in docs/protocol.md, section 10, with Python's integers and
fractions, and with libraries that the product does not use for this purpose. Nothing is imported
from fl_orchestrator. Run it in the checkout:

    PYTHONPATH=tests python -m vectors.generate

The JSON suits Foundry's vm.parseJson: every group is an array of objects with the same keys, sorted
(parseJson decodes struct fields in alphabetical order); hashes, addresses and bytes are 0x-hex;
numbers below 2^63 are JSON numbers, larger ones 32-byte hex words (stake, totalStake, included,
held, locked, coordinate) or decimal strings (the round of a file); no array is empty.
"""

import json
from pathlib import Path

from vectors import hashes, masking, models, rounds, trees
from vectors.encoding import Json

GOLDEN = Path(__file__).with_name("golden.json")


def golden() -> dict[str, list[Json]]:
    return {
        "challenges": hashes.challenges(),
        "clips": models.clips(),
        "commitments": hashes.commitments(),
        "commits": hashes.commits(),
        "conversions": models.conversions(),
        "draws": hashes.draws(),
        "files": models.files(),
        "manifests": models.manifests(),
        "maskedFiles": models.masked_files(),
        "maskedProofs": trees.masked_proofs(),
        "maskedVectors": trees.masked_vectors(),
        "nodes": trees.nodes(),
        "proofs": trees.proofs(),
        "privateCommitLists": rounds.commit_lists(),
        "privateCommits": rounds.signed("Commit"),
        "privateConfirmations": rounds.signed("Confirmed"),
        "privateContexts": rounds.contexts(),
        "privateHeld": rounds.signed("Held"),
        "privateLabels": rounds.labels(),
        "privatePieces": masking.pieces(),
        "privatePublicKeys": rounds.public_keys(),
        "privateReleaseFiles": masking.release_files(),
        "privateReleases": rounds.signed("Release"),
        "privateResults": rounds.signed("Result"),
        "privateReveals": rounds.signed("Reveal"),
        "privateRounds": masking.rounds(),
        "privateSeals": masking.seals(),
        "privateSeatTables": rounds.seat_tables(),
        "privateSecrets": rounds.secrets(),
        "privateSets": rounds.sets(),
        "privateSteps": masking.steps(),
        "privateStreams": masking.streams(),
        "privateSums": masking.sums(),
        "results": hashes.results(),
        "rollingHashes": hashes.rolling_hashes(),
        "rules": models.rules(),
        "sampleWeights": models.sample_weights(),
        "seeds": hashes.seeds(),
        "serverSteps": models.server_steps(),
        "vectors": trees.vectors(),
        "zeroNodes": trees.zero_nodes(),
    }


def to_text() -> str:
    """Write one row per line, so that a diff shows which vectors changed."""
    groups = (
        f"{json.dumps(name)}: [\n"
        + ",\n".join(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)
        + "\n]"
        for name, rows in golden().items()
    )
    return "{\n" + ",\n".join(groups) + "\n}\n"


if __name__ == "__main__":
    GOLDEN.write_text(to_text(), encoding="utf-8")
