"""The protocol's constants are the same in Python and in the contracts."""

import ast
import json
import re
from pathlib import Path

from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.chain.mirror.types import ATTEMPT_BITS
from fl_orchestrator.chain.shares.types import MAX_SHARES
from fl_orchestrator.content.cid import DAG_PB, RAW
from fl_orchestrator.model.disputes.answers import LEVELS_PER_ANSWER
from fl_orchestrator.model.layout import CHUNK_VALUES, MASKED_CHUNK_VALUES, MAX_DEPTH
from fl_orchestrator.model.manifest import STATE_FRACTION_BITS
from fl_orchestrator.model.protocol import (
    BPS,
    CHUNK_NORM_LIMIT,
    COMMITMENT_BYTES,
    MAX_AGGREGATORS,
    MAX_UPDATES,
    MAX_WEIGHT,
    PRIVATE_UPDATES_LIMIT,
    PRIVATE_UPDATES_MINIMUM,
    UPDATE_MAX,
)
from fl_orchestrator.model.rules import LEARNING_RATE
from fl_orchestrator.privacy.masks import SEED_BYTES
from fl_orchestrator.privacy.sets import MAX_SEATS

IN_PYTHON = {
    "ATTEMPT_BITS": ATTEMPT_BITS,
    "BPS": BPS,
    "CHUNK_NORM_LIMIT": CHUNK_NORM_LIMIT,
    "CHUNK_VALUES": CHUNK_VALUES,
    "CODEC_DAG_PB": DAG_PB,
    "CODEC_RAW": RAW,
    "DEPTH_LIMIT": MAX_DEPTH,
    "FRACTION_BITS_LIMIT": STATE_FRACTION_BITS,
    "LEARNING_RATE_LIMIT": LEARNING_RATE.most,
    "LEAF_BYTES": 4 * MASKED_CHUNK_VALUES,
    "LEAF_LEVELS": (CHUNK_VALUES // MASKED_CHUNK_VALUES).bit_length() - 1,
    "LEAF_VALUES": MASKED_CHUNK_VALUES,
    "LEVELS_PER_ANSWER": LEVELS_PER_ANSWER,
    "MAX_WEIGHT": MAX_WEIGHT,
    "PRIVATE_SEATS": MAX_SEATS,
    "PRIVATE_UPDATES_LIMIT": PRIVATE_UPDATES_LIMIT,
    "PRIVATE_UPDATES_MINIMUM": PRIVATE_UPDATES_MINIMUM,
    "SEED_BYTES": SEED_BYTES,
    "SEATS": MAX_AGGREGATORS,
    "SHARES_LIMIT": MAX_SHARES,
    "STATE_FRACTION_BITS": STATE_FRACTION_BITS,
    "STEP_LIMIT": UPDATE_MAX,
    "UPDATES_LIMIT": MAX_UPDATES,
}
# Nothing in Python depends on them: the contract refuses a longer period, says who is missing, and
# unpacks its slots.
ONLY_IN_SOLIDITY = {
    *("PERIOD_LIMIT", "MISSED_ROUNDS", "ABSENT", "REVEALED", "PRIME", "ANNOUNCEMENT_BYTES"),
}
# What may have one name and one value in several modules: each attack's own scene.
OF_A_SCENE = {"AGGREGATORS", "PARTIES", "ROUNDS"}


def solidity_constants(checkout: Path) -> dict[str, set[int]]:
    """The numbers that the contracts name; a name stands in more than one file where files are
    compiled alone.
    """
    found: dict[str, set[int]] = {}
    declaration = r"\buint\d+ (?:\w+ )?constant (\w+) = ([\w *]+);"
    for path in (checkout / "contracts").rglob("*.sol"):
        for name, value in re.findall(declaration, path.read_text()):
            tree = ast.parse(value, mode="eval")
            found.setdefault(name, set()).add(eval(compile(tree, path.name, "eval"), {}))
    return found


def test_a_number_of_the_protocol_is_the_same_in_both_languages(checkout: Path) -> None:
    found = solidity_constants(checkout)
    assert {n: v for n, v in found.items() if n not in ONLY_IN_SOLIDITY} == {
        name: {value} for name, value in IN_PYTHON.items()
    }
    assert found.keys() >= ONLY_IN_SOLIDITY


def test_a_commitment_is_kept_by_the_contract_with_as_many_bytes_as_python_compares() -> None:
    abi = json.dumps(load_artifact("Federation").abi)
    kept = re.findall(r'"name": "commitment", "type": "bytes(\d+)"', abi)
    assert {int(size) for size in kept} == {32, COMMITMENT_BYTES}


def constants_of(path: Path) -> dict[str, str]:
    """The constants of a module, without a leading underscore, and their values as they stand."""
    found: dict[str, str] = {}
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        if re.fullmatch(r"_?[A-Z][A-Z0-9_]+", name):
            found[name.lstrip("_")] = ast.unparse(value)
    return found


def test_a_constant_is_defined_once(checkout: Path) -> None:
    places: dict[tuple[str, str], list[str]] = {}
    for path in sorted((checkout / "fl_orchestrator").rglob("*.py")):
        for constant in constants_of(path).items():
            places.setdefault(constant, []).append(str(path.relative_to(checkout)))
    assert len(places) > 300
    twice = {name: found for (name, _), found in places.items() if len(found) > 1}
    assert {name: found for name, found in twice.items() if name not in OF_A_SCENE} == {}
