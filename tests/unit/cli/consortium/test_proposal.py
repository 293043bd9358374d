"""Amounts of shares: proportional, rounded down, and never more than what is divided."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.shares.shares import RewardShares
from fl_orchestrator.chain.shares.types import Share, Shares
from fl_orchestrator.cli.consortium.rewards.proposal import (
    BadSharesFile,
    BadSource,
    Proposal,
    divided,
    read_source,
)
from fl_orchestrator.errors import InputError
from fl_orchestrator.units import ETHER

HOME, POT = "0x" + "12" * 20, "0x" + "34" * 20
ONE, TWO, THREE = (f"0x{number:040x}" for number in (1, 2, 3))
MEASURED = {
    "measure": "loss",
    "lessIsBetter": True,
    "rows": 9,
    "dataDigest": None,
    "seed": 1 << 200,
    "permutations": 100,
}
FEDERATION = cast(Federation, SimpleNamespace(chain_id=7, address=HOME))
CONTRACT = cast(RewardShares, SimpleNamespace(chain_id=7, address=POT))


def report(**changes: Any) -> dict[str, Any]:
    """A report on two rounds: the third party does harm, and misses the second one."""
    values = ({ONE: 0.5, TWO: 0.25, THREE: -0.5}, {ONE: -0.25, TWO: 0.5})
    rounds = [
        {"round": n, "parties": [{"party": p, "shapley": v} for p, v in one.items()]}
        for n, one in enumerate(values, 1)
    ]
    found = {
        "federation": {"chainId": 7, "address": HOME},
        "contributions": {**MEASURED, "rounds": rounds, "leftOut": []},
    }
    return {**found, **changes}


def written(tmp_path: Path, value: Any) -> Path:
    path = tmp_path / "source"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-1e9, 1e9), min_size=1),
    st.integers(0, 1 << 96),
)
def test_parts_are_proportional_and_sum_to_no_more(values: dict[str, float], amount: int) -> None:
    exact = {party: Fraction(value) for party, value in values.items()}
    if not any(value > 0 for value in exact.values()):
        return
    parts = divided(exact, amount)
    total = sum(value for value in exact.values() if value > 0)
    assert amount - len(parts) < sum(parts.values()) <= amount
    for party, value in exact.items():
        assert parts[party] <= amount * max(value, Fraction(0)) / total < parts[party] + 1


def test_values_are_summed_over_the_rounds_that_are_paid_for(tmp_path: Path) -> None:
    source = read_source(written(tmp_path, report()), FEDERATION)
    assert source.last_round == 2
    assert source.shares(1, 2, 100) == (Share(ONE, 25), Share(TWO, 75))
    assert source.shares(1, 1, 100) == (Share(ONE, 66), Share(TWO, 33))
    assert source.shares(2, 2, 100) == (Share(TWO, 100),)
    with pytest.raises(BadSource, match="no party has contributed"):
        source.shares(3, 9, 100)


def test_everybody_with_the_same_data_has_the_same_digest(tmp_path: Path) -> None:
    source = read_source(written(tmp_path, report()), FEDERATION)
    one, both = source.digest(1, 1), source.digest(1, 2)
    assert one != both
    # Another member's report has another block, and one round more.
    later = report(version="9")
    third = {"round": 3, "parties": [{"party": ONE, "shapley": 1.0}]}
    later["contributions"]["rounds"].append(third)
    again = read_source(written(tmp_path, later), FEDERATION)
    assert (again.digest(1, 1), again.digest(1, 2)) == (one, both)
    assert again.shares(1, 2, 100) == source.shares(1, 2, 100)
    # Other data, another seed or another figure is something else.
    for change in ({"dataDigest": "12"}, {"seed": 2}, {"measure": "accuracy"}):
        other = report()
        other["contributions"] |= change
        assert read_source(written(tmp_path, other), FEDERATION).digest(1, 1) != one
    figure = json.dumps(report()).replace("0.25", "0.26")
    assert read_source(written(tmp_path, figure), FEDERATION).digest(1, 1) != one


def test_a_round_that_was_not_measured_is_not_paid_for(tmp_path: Path) -> None:
    found = report()
    found["contributions"]["leftOut"] = [{"round": 2, "reason": "an update is gone"}]
    source = read_source(written(tmp_path, found), FEDERATION)
    with pytest.raises(BadSource, match="left out rounds of 1 to 2"):
        source.shares(1, 2, 100)
    assert source.shares(1, 1, 3) == (Share(ONE, 2), Share(TWO, 1))
    # However many rounds are asked for: this takes no time and no memory.
    with pytest.raises(BadSource, match="left out rounds"):
        source.shares(1, 1 << 62, 100)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (report(federation={"chainId": 8, "address": HOME}), "another federation"),
        (report(contributions=None), "has no contributions"),
        ({}, "has no contributions"),
        (3, "has no contributions"),
        ([1], "lists no accounts"),
        ([], "gives nothing"),
        ("", "not the columns"),
        ("name,amount\nx,1\n", "not the columns"),
        ("account,amount\nx\n", "without an account and an amount"),
        (f"account,amount\n{ONE},0\n", "gives nothing"),
        (f"account,amount\n{ONE},1\n{ONE},2\n", "twice"),
        (f"account,amount\n{ONE},-1\n", "cannot be paid"),
        ("account,amount\n0x12,1\n", "not an address"),
        ("[" * 100_000, "not the columns"),
        (json.dumps(report()).replace("0.25", "NaN"), "has no contributions"),
        (json.dumps(report()).replace("0.25", "1e999"), "has no contributions"),
        (json.dumps(report()).replace("0.25", "true"), "has no contributions"),
        (json.dumps(report()).replace('"round": 1', '"round": "1"'), "has no contributions"),
        (json.dumps(report()).replace('"round": 1', '"round": true'), "has no contributions"),
        (json.dumps(report()).replace('"round": 1', '"round": 1.5'), "has no contributions"),
        (json.dumps(report()).replace('"leftOut": []', '"leftOut": [{"round": "1"}]'), "has no"),
    ],
)
def test_a_source_without_amounts_is_refused(tmp_path: Path, value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_source(written(tmp_path, value), FEDERATION)


def test_a_list_has_its_own_amounts(tmp_path: Path) -> None:
    mine = f"account,amount\n{TWO},0.5\n{ONE},1\n"
    for text in (mine, "\ufeff" + mine.replace(",", ";").replace("account", "Account")):
        source = read_source(written(tmp_path, text), FEDERATION)
        assert source.last_round is None
        assert source.digest(1, 9) == hashlib.sha256(source.path.read_bytes()).digest()
        assert source.shares(1, 1, None) == (Share(ONE, ETHER), Share(TWO, ETHER // 2))
        with pytest.raises(BadSource, match=r"sum to 1\.5 ETH"):
            source.shares(1, 1, ETHER)


def proposal() -> Proposal:
    shares = Shares(3, 1, 2, 1 << 33, b"\7" * 32, (Share(ONE, 25), Share(TWO, 75)))
    return Proposal(shares, 100)


def test_a_file_of_shares_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "shares.json"
    proposal().write(path, CONTRACT)
    assert Proposal.read(path, CONTRACT) == proposal()
    other = cast(RewardShares, SimpleNamespace(chain_id=8, address=POT))
    with pytest.raises(BadSharesFile, match="on chain 7, not for"):
        Proposal.read(path, other)
    with pytest.raises(BadSharesFile, match="cannot be written"):
        proposal().write(tmp_path / "nowhere" / "shares.json", CONTRACT)
    with pytest.raises(BadSharesFile, match="cannot be read"):
        Proposal.read(tmp_path / "nowhere", CONTRACT)


@pytest.mark.parametrize(
    "change",
    [
        {"number": -1},
        {"number": True},
        {"number": 1.0},
        {"toRound": 1 << 32},
        {"report": "0x12"},
        {"rewards": "0x12"},
        {"shares": [{"account": ONE}]},
        {"shares": [{"account": ONE, "wei": str(1 << 96)}]},
        {"shares": 5},
        {"divided": None},
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "shares.json"
    proposal().write(path, CONTRACT)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadSharesFile, match="no shares that can be read"):
        Proposal.read(path, CONTRACT)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "shares.json"
    path.write_text(" " * ((1 << 20) + 1))
    with pytest.raises(BadSharesFile, match="bytes"):
        Proposal.read(path, CONTRACT)


def test_shares_follow_from_their_source_alone(tmp_path: Path) -> None:
    source = read_source(written(tmp_path, report()), FEDERATION)
    made = Shares(3, 1, 2, 1 << 33, source.digest(1, 2), source.shares(1, 2, 100))
    Proposal(made, 100).require_from(source)
    for wrong in (
        Proposal(made, 104),
        Proposal(Shares(3, 1, 1, 1 << 33, source.digest(1, 1), made.parts), 100),
        Proposal(Shares(3, 1, 2, 1 << 33, b"\7" * 32, made.parts), 100),
    ):
        with pytest.raises(BadSharesFile, match="not those that follow"):
            wrong.require_from(source)
