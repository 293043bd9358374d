"""A member's answer: what its signature binds, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from fl_orchestrator.chain.signing.keys import LocalSigner
from fl_orchestrator.chain.signing.recovery import recover
from fl_orchestrator.chain.types import Signature
from fl_orchestrator.members.answer import MAX_SHEET_BYTES, Answer, BadAnswer
from fl_orchestrator.members.terms import AgreedTerms, in_words

SIGNER = LocalSigner.from_secret(bytes(range(1, 33)))
OTHER = LocalSigner.from_secret(bytes(range(2, 34)))
TERMS = AgreedTerms(
    31337, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", bytes(range(32)), bytes(range(32, 64))
)
FILE = Path("answer.json")


def answer() -> Answer:
    return Answer.signed("bank-a", "party", TERMS, SIGNER)


def test_what_a_member_signs_is_what_the_owner_checks() -> None:
    signed = answer()
    signature = Signature(bytes.fromhex(signed.r[2:]), bytes.fromhex(signed.vs[2:]))
    assert recover(signed.digest(TERMS), signature) == signed.account == SIGNER.address
    signed.check(TERMS, FILE)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "bank-b"},
        {"role": "aggregator"},
        {"account": OTHER.address},
        {"r": "0x" + "11" * 32},
        {"vs": "0x" + "ff" * 32},
    ],
)
def test_an_answer_that_was_changed_after_its_signature_is_refused(change: dict[str, str]) -> None:
    changed = answer().model_copy(update=change)
    with pytest.raises(BadAnswer, match=r"answer\.json was not signed by"):
        changed.check(TERMS, FILE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chain_id": 1}, "on chain 31337, not for"),
        ({"federation": OTHER.address}, "answers for the federation"),
        ({"manifest_digest": bytes(32)}, "with its manifest digest and genesis root"),
        ({"genesis_root": bytes(32)}, "with its manifest digest and genesis root"),
    ],
)
def test_an_answer_to_other_terms_is_refused(change: dict[str, object], said: str) -> None:
    other = dataclasses.replace(TERMS, **change)  # type: ignore[arg-type]
    with pytest.raises(BadAnswer, match=said):
        answer().check(other, FILE)
    # Naming the right federation does not help: the signature is for the other one.
    relabelled = Answer.signed("bank-a", "party", other, SIGNER).model_copy(
        update={"chain_id": TERMS.chain_id, "federation": TERMS.federation}
    )
    with pytest.raises(BadAnswer, match="was not signed by"):
        relabelled.check(TERMS, FILE)


def test_an_answer_is_read_as_it_was_written_also_after_a_windows_editor(tmp_path: Path) -> None:
    path = tmp_path / "bank-a.json"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text(answer().to_text() + "\r\n", encoding=encoding)
        assert Answer.read(path) == answer()


@pytest.mark.parametrize(
    "change",
    [
        *({"name": "../x"}, {"role": "owner"}, {"account": "0x12"}, {"chain_id": "31337"}),
        *({"chain_id": -1}, {"chain_id": True}, {"version": 2}, {"more": 1}, {"r": "0xAB"}),
    ],
)
def test_a_file_with_any_other_field_or_value_is_no_answer(
    tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(answer().model_dump() | change))
    with pytest.raises(BadAnswer, match=r"answer\.json is not the answer of a member"):
        Answer.read(path)


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    path.write_text(answer().to_text() + " " * MAX_SHEET_BYTES)
    with pytest.raises(BadAnswer, match="too large"):
        Answer.read(path)
    path.write_text("[" * 4000)
    with pytest.raises(BadAnswer, match="is not the answer"):
        Answer.read(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadAnswer, match="is not the answer"):
        Answer.read(path)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    for refused in (link, tmp_path, tmp_path / "none"):
        with pytest.raises(BadAnswer, match="cannot be read"):
            Answer.read(refused)


def test_words_are_those_of_bip_39() -> None:
    # The vectors of the standard for 32 bytes of 0x00 and of 0x7f, without a passphrase.
    assert in_words(bytes(32)) == "abandon " * 23 + "art"
    assert in_words(b"\x7f" * 32) == (
        "legal winner thank year wave sausage worth useful legal winner thank year wave sausage "
        "worth useful legal winner thank year wave sausage worth title"
    )
    assert len(in_words(bytes(20)).split()) == 15


def test_the_words_of_all_terms_change_with_each_of_them() -> None:
    changed = [
        dataclasses.replace(TERMS, chain_id=1),
        dataclasses.replace(TERMS, federation=OTHER.address),
        dataclasses.replace(TERMS, manifest_digest=bytes(32)),
        dataclasses.replace(TERMS, genesis_root=bytes(32)),
    ]
    assert len({terms.rows()[-1][2] for terms in (TERMS, *changed)}) == 5
