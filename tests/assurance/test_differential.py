"""The short form of the differential fuzz, and that it can fail."""

from pathlib import Path

import pytest

from assurance.differential import aggregations, differences, harness_code, in_solidity

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
        ("2 * sum + int256(count)", "2 * sum + int256(count) - 1"),
        ("next > type(int32).max", "next > type(int32).max + int256(1)"),
    ],
    ids=["halves are rounded down", "a limit is off by one"],
)
def test_a_fault_is_found(right: str, wrong: str) -> None:
    with in_solidity(harness_code({MODEL_RULE: (right, wrong)})) as evaluate:
        assert differences(evaluate, list(aggregations(200, seed=1))) != []
