"""A short run of the differential fuzz test, and proof that it detects faults."""

from pathlib import Path

import pytest
from sha3 import keccak_256

from assurance.differential import (
    Aggregation,
    aggregations,
    differences,
    harness_code,
    in_solidity,
)
from fl_orchestrator.model.rules import RuleKind

INTERFACE = "contracts/interfaces/IFederation.sol"
MODEL_RULE = "contracts/libraries/ModelRule.sol"


@pytest.fixture(autouse=True)
def _needs_the_toolchain(checkout: Path) -> None:
    if not (checkout / "node_modules" / ".bin" / "anvil").exists():
        pytest.skip("npm packages are not installed: run npm ci")


def test_solidity_and_python_agree_on_4000_coordinates() -> None:
    with in_solidity(harness_code()) as evaluate:
        assert differences(evaluate, list(aggregations(500, seed=1))) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("momentum * int256(momentumBps), BPS)", "momentum, BPS) * int256(momentumBps)"),
        ("2 * sum + int256(count)", "2 * sum + int256(count) - 1"),
        ("value > type(int32).max", "value > type(int32).max + int256(1)"),
        ("Rounding.Ceil", "Rounding.Floor"),
    ],
    ids=[
        "the momentum is rounded too early",
        "halves are rounded down",
        "a limit is off by one",
        "the norm is rounded down",
    ],
)
def test_a_fault_is_found(right: str, wrong: str) -> None:
    with in_solidity(harness_code({MODEL_RULE: (right, wrong)})) as evaluate:
        assert differences(evaluate, list(aggregations(200, seed=1))) != []


class OfTheNextRule(Aggregation):
    """An aggregation by a rule that exists only in Solidity's enum."""

    def encoded(self) -> tuple[int, int, int, int, int, int, int, list[int], bytes, bytes, bytes]:
        return (len(RuleKind), *super().encoded()[1:])


def test_a_rule_without_a_line_reverts_and_is_never_computed_as_another() -> None:
    code = harness_code({INTERFACE: ("    TrimmedMean\n", "    TrimmedMean,\n    MidRange\n")})
    known = next(aggregations(1, seed=1))
    unknown = OfTheNextRule(
        known.rule,
        known.fraction_bits,
        known.weights,
        known.updates,
        known.base,
        known.momentum,
        known.first,
    )
    error = keccak_256(b"UnknownRule(uint8)").hexdigest()[:8] + f"{len(RuleKind):064x}"
    with in_solidity(code) as evaluate:
        assert differences(evaluate, [known]) == []
        with pytest.raises(RuntimeError, match=error):
            evaluate([unknown])
