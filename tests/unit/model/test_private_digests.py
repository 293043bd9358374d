"""What is signed in private federations, against the golden vectors."""

from typing import Any

import pytest
from support.golden import as_cid, each, unhex

from fl_orchestrator.model.private_digests import (
    Confirmed,
    Held,
    PrivateCommit,
    PrivateResult,
    PrivateReveal,
    Release,
)
from fl_orchestrator.model.words import typed_digest


def check(row: dict[str, Any], struct_hash: bytes) -> None:
    assert struct_hash == unhex(row["structHash"])
    assert typed_digest(row["chainId"], row["federation"], struct_hash) == unhex(row["digest"])


def number(text: str) -> int:
    return int.from_bytes(unhex(text), "big")


@each("privateCommits")
def test_a_commit_has_the_golden_digest(row: dict[str, Any]) -> None:
    commit = PrivateCommit(row["round"], row["party"], row["weight"], unhex(row["maskKey"]))
    check(row, commit.struct_hash())


@each("privateReveals")
def test_a_reveal_has_the_golden_digest(row: dict[str, Any]) -> None:
    hashes = unhex(row["commitsHash"]), unhex(row["root"])
    check(row, PrivateReveal(row["round"], row["party"], *hashes, as_cid(row)).struct_hash())


@each("privateHeld")
def test_a_claim_has_the_golden_digest(row: dict[str, Any]) -> None:
    hashes = unhex(row["commitsHash"]), unhex(row["updatesHash"])
    check(row, Held(row["round"], *hashes, number(row["held"])).struct_hash())


@each("privateConfirmations")
def test_a_confirmation_has_the_golden_digest(row: dict[str, Any]) -> None:
    check(row, Confirmed(row["round"], unhex(row["lock"])).struct_hash())


@each("privateReleases")
def test_a_release_has_the_golden_digest(row: dict[str, Any]) -> None:
    check(row, Release(row["round"], unhex(row["lock"]), as_cid(row)).struct_hash())


@each("privateResults")
def test_a_result_has_the_golden_digest(row: dict[str, Any]) -> None:
    result = PrivateResult(
        row["round"],
        unhex(row["updatesHash"]),
        unhex(row["baseRoot"]),
        number(row["included"]),
        unhex(row["seedsHash"]),
        unhex(row["globalRoot"]),
        as_cid(row),
    )
    check(row, result.struct_hash())


def test_a_field_out_of_range_is_refused() -> None:
    party, word = "0x" + "1" * 40, bytes(32)
    with pytest.raises(ValueError, match="uint8"):
        PrivateCommit(1, party, 256, word).struct_hash()
    with pytest.raises(ValueError, match="uint64"):
        Confirmed(2**64, word).struct_hash()
    with pytest.raises(ValueError, match="uint128"):
        Held(1, word, word, 2**128).struct_hash()
    with pytest.raises(ValueError, match="32 bytes"):
        Confirmed(1, bytes(31)).struct_hash()
