"""Answers that contradict each other, without a list of members."""

from __future__ import annotations

from pathlib import Path

import pytest

from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.cli.consortium.admission import checked_answers
from fl_orchestrator.members.answer import Answer, BadAnswer
from fl_orchestrator.members.terms import AgreedTerms

TERMS = AgreedTerms(31337, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", b"\1" * 32, b"\2" * 32)


def put(folder: Path, name: str, number: int) -> str:
    signer = LocalSigner.from_secret(bytes([number]) * 32)
    (folder / f"{number}.json").write_text(Answer.signed(name, "party", TERMS, signer).to_text())
    return signer.address


def test_a_name_that_differs_by_capital_letters_is_no_other_member(tmp_path: Path) -> None:
    accounts = {put(tmp_path, "bank-a", 1), put(tmp_path, "bank-b", 2)}
    assert {a.account for a in checked_answers([tmp_path], TERMS, None)} == accounts
    put(tmp_path, "Bank-a", 3)
    with pytest.raises(BadAnswer, match=r"3\.json is of Bank-a, and another answer of bank-a"):
        checked_answers([tmp_path], TERMS, None)
