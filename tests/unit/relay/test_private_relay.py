"""The relay of a private federation: each of its messages, whole rounds of them, and refusals."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient
from support.federation import signer
from support.observations import SOME_CID
from support.private_federation import SmallPrivateFederation
from support.relays import client_of, drain, open_relay, signed_with

from fl_orchestrator.chain.types import (
    MaskedUpdate,
    Phase,
    Signature,
    SignedClaim,
    SignedMaskedCommit,
)
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.private_digests import (
    Confirmed,
    Held,
    PrivateCommit,
    PrivateResult,
    PrivateReveal,
    Release,
)
from fl_orchestrator.privacy.keys import public_key, secret_of
from fl_orchestrator.relay.box import StoredMailbox
from fl_orchestrator.relay.client import HttpRelay
from fl_orchestrator.relay.private_messages import ALL_FORMS, MAX_RESULT_BYTES, MAX_SEEDS
from fl_orchestrator.relay.service import RelayServer, relay_app
from fl_orchestrator.relay.serving import serving
from fl_orchestrator.roles.masked.relay import PrivateMailbox, SignedPrivateResult
from fl_orchestrator.roles.masked.words import MAX_FILES, SignedWord
from fl_orchestrator.roles.relay import RelayFailed

KEY = public_key(secret_of(b"\7" * 32))
R, VS = b"\1" * 32, b"\2" * 32
RESULT = PrivateResult(1, R, VS, 7, b"\3" * 32, b"\4" * 32, SOME_CID)
MESSAGES = [
    SignedMaskedCommit(signer("party 0").address, 5, KEY, R, VS),
    MaskedUpdate(signer("party 0").address, b"\5" * 32, SOME_CID, R, VS),
    SignedClaim((1 << 88) - 1, R, VS),
    SignedWord(Confirmed(1, b"\6" * 32), Signature(R, VS)),
    SignedWord(Release(1, b"\6" * 32, SOME_CID), Signature(R, VS)),
    SignedPrivateResult(RESULT, b"\7" * 32 * MAX_SEEDS, Signature(R, VS)),
]


def form_of(message: Any, **changes: Any) -> dict[str, Any]:
    """A message as it is posted in round 1."""
    return {**ALL_FORMS[type(message)].of(1, message).model_dump(), **changes}


def refused(response: Any, status: int, words: str) -> None:
    assert response.status_code == status, response.text
    assert words in response.json()["error"]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_is_the_same_after_its_way(tmp_path: Path, message: Any) -> None:
    assert ALL_FORMS[type(message)](**form_of(message)).value() == message
    box = StoredMailbox(tmp_path / "box.sqlite")
    for _ in range(2):
        box.post(1, message)
    box.close()
    again = StoredMailbox(tmp_path / "box.sqlite")
    assert again.waiting(1, type(message)) == [message]
    again.close()


def test_the_largest_result_fits_and_no_larger_one() -> None:
    largest = ALL_FORMS[SignedPrivateResult].of(1, MESSAGES[-1])
    assert len(largest.model_dump_json()) <= MAX_RESULT_BYTES
    for seeds in ("0x", "0x" + "07" * 31, "0x" + "07" * 32 * (MAX_SEEDS + 1), "0x" + "AB" * 32):
        with pytest.raises(ValidationError):
            ALL_FORMS[SignedPrivateResult](**form_of(MESSAGES[-1], seeds=seeds))


# Whole rounds, over HTTP


@contextlib.contextmanager
def relayed(
    private: SmallPrivateFederation, directory: Path, store: LocalStore
) -> Iterator[tuple[str, RelayServer]]:
    relay = open_relay(private, directory, store=store)
    with serving(relay_app(relay), "127.0.0.1", 0) as url:
        private.mailbox = relay.box
        yield url, relay
    relay.box.close()


def test_parties_and_aggregators_complete_a_round_over_http(tmp_path: Path) -> None:
    """The parties have no coin, and nobody shares a store: all goes by the relay."""
    private = SmallPrivateFederation(tmp_path / "federation")
    for key in private.parties:
        drain(private, key)
    store = LocalStore(tmp_path / "keepers store")
    with relayed(private, tmp_path / "relay", store) as (url, relay):
        with private.store.get(private.genesis.cid, 1 << 20) as stream:
            store.put(stream)
        parties = []
        for number in range(5):
            own = LocalStore(tmp_path / f"party {number}")
            with private.store.get(private.genesis.cid, 1 << 20) as stream:
                own.put(stream)
            parties.append(private.party(number, relay=HttpRelay(url), store=own))
        seats = []
        for number in range(4):
            at = (tmp_path / f"aggregator {number}").as_uri()
            private.store = cast(Any, open_store(at, [url]))
            seats.append(private.private_aggregator(number, HttpRelay(url)))
        seen = private.run_round([*parties, *seats])
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
    assert private.included() == {0, 1, 2, 3, 4}
    sent = Counter(receipt.label for receipt in private.receipts)
    relayed_calls = ("commitFor", "reveal", "claim", "attest", "announce", "commit")
    assert [sent[label] for label in relayed_calls] == [1, 1, 1, 1, 0, 0]
    # Five masked updates, and a release of each seat.
    assert len(relay.uploads._retention) == 9


def test_a_relay_that_answers_with_other_messages_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = HttpRelay("http://127.0.0.1:1")
    word = form_of(MESSAGES[3])
    for answer, found in [
        ({"words": [word, {**word, "round": 2}]}, 1),
        ({}, 0),
        ({"words": [{}]}, None),
        ({"words": 5}, None),
        ({"words": [{**word, "round": "1"}]}, None),
    ]:
        monkeypatch.setattr(relay, "_ask", lambda *_, answer=answer: answer)
        if found is None:
            with pytest.raises(RelayFailed, match="other messages"):
                relay.words(1)
        else:
            assert len(relay.words(1)) == found


# What the contract would not take


@pytest.fixture(scope="module")
def committing(tmp_path_factory: pytest.TempPathFactory) -> SmallPrivateFederation:
    private = SmallPrivateFederation(tmp_path_factory.mktemp("committing"), 4, 3)
    private.open_round()
    assert private.party(3).step().action == "commit"
    return private


@pytest.fixture(scope="module")
def revealing(tmp_path_factory: pytest.TempPathFactory) -> SmallPrivateFederation:
    """Parties 0 and 1 have not revealed; the others have."""
    private = SmallPrivateFederation(tmp_path_factory.mktemp("revealing"), 4, 3)
    parties = [private.party(i) for i in range(4)]
    private.run_to(Phase.REVEAL, [*parties, private.keeper(1)], 1)
    assert [parties[i].step().action for i in (2, 3)] == ["reveal"] * 2
    return private


@pytest.fixture(scope="module")
def claiming(tmp_path_factory: pytest.TempPathFactory) -> SmallPrivateFederation:
    private = SmallPrivateFederation(tmp_path_factory.mktemp("claiming"), 4, 3)
    private.run_to(Phase.CLAIM, [*(private.party(i) for i in range(4)), private.keeper(1)], 1)
    assert private.private_aggregator(2).step().action == "claim"
    return private


@pytest.fixture(scope="module")
def attesting(tmp_path_factory: pytest.TempPathFactory) -> SmallPrivateFederation:
    """All is claimed; nothing is confirmed."""
    private = SmallPrivateFederation(tmp_path_factory.mktemp("attesting"), 4, 3)
    parties = [private.party(i) for i in range(4)]
    seats = [private.private_aggregator(i) for i in range(3)]
    private.run_to(Phase.ATTEST, [*parties, *seats, private.keeper(1)], 1)
    return private


@contextlib.contextmanager
def asking(private: SmallPrivateFederation, directory: Path) -> Iterator[TestClient]:
    relay = open_relay(private, directory, store=LocalStore(directory / "keepers store"))
    with client_of(relay) as client:
        yield client


def test_a_commit_is_screened(committing: SmallPrivateFederation, tmp_path: Path) -> None:
    def commit(number: int, weight: int, key: bytes, round_number: int = 1) -> dict[str, Any]:
        party = committing.parties[number] if number >= 0 else committing.outsider
        message = PrivateCommit(round_number, party.address, weight, key)
        signature = committing.contract.sign(party, message)
        return form_of(
            SignedMaskedCommit(party.address, weight, key, signature.r, signature.vs),
            round=round_number,
        )

    right = commit(0, 3, KEY)
    off_curve = next(bytes([0] * 31 + [x]) for x in range(1, 9) if x not in (1, 2, 3, 4, 6, 8))
    with asking(committing, tmp_path) as client:
        for message, status, words in [
            ({**right, "weight": 4}, 403, "not the party's"),
            ({**right, "mask_key": "0x" + "00" * 32}, 403, "not the party's"),
            ({**right, "party": committing.parties[1].address}, 403, "not the party's"),
            (commit(0, 3, off_curve), 403, "not a point"),
            (commit(0, 0, KEY), 403, "weight is zero"),
            (commit(0, 0, bytes(32)), 403, "not marked absent"),
            (commit(3, 3, KEY), 409, "has committed"),
            (commit(-1, 3, KEY), 403, "not a party"),
            (commit(0, 3, KEY, 2), 425, "too early"),
            ({**right, "weight": 256}, 400, "Malformed"),
            ({**right, "commitment": "0x" + "01" * 32}, 400, "Malformed"),
        ]:
            refused(client.post("/v1/commits", json=message), status, words)
        assert client.post("/v1/commits", json=right).json() == {"waiting": True}


def reveal_of(private: SmallPrivateFederation, number: int) -> tuple[MaskedUpdate, bytes]:
    """What a party would post now, and its file."""
    kept: dict[str, bytes] = {}

    class Keeps(PrivateMailbox):
        def put_masked(self, _round: int, _update: MaskedUpdate, file: Path, _: float) -> None:
            kept["file"] = file.read_bytes()

    box = Keeps()
    assert private.party(number, relay=box).step().action == "post reveal"
    (update,) = box.waiting(1, MaskedUpdate)
    return update, kept["file"]


def test_a_masked_update_is_uploaded_and_its_reveal_screened(
    revealing: SmallPrivateFederation, tmp_path: Path
) -> None:
    update, file = reveal_of(revealing, 0)
    right = form_of(update)
    other = PrivateReveal(1, update.party, b"\1" * 32, update.root, update.cid)
    signature = revealing.contract.sign(revealing.parties[0], other)
    of_other_commits = dataclasses.replace(update, r=signature.r, vs=signature.vs)
    late = dataclasses.replace(update, party=revealing.outsider.address)
    with asking(revealing, tmp_path) as client:
        for path in ("/v1/reveals", "/v1/uploads"):
            for message, status, words in [
                (form_of(of_other_commits), 403, "and its commits"),
                ({**right, "root": "0x" + "01" * 32}, 403, "not the party's"),
                ({**right, "cid": str(SOME_CID)}, 403, "not the party's"),
                (form_of(late), 403, "has not committed"),
                ({**right, "round": 2}, 425, "too early"),
                ({**right, "salt": "0x" + "01" * 32}, 400, "Malformed"),
            ]:
                refused(client.post(path, json=message), status, words)
        upload = f"/v1/uploads/{update.cid}"
        refused(client.put(upload, content=file), 404, "not announced")
        announced = client.post("/v1/uploads", json=right).json()
        assert announced["stored"] is False
        assert len(file) <= announced["max_bytes"]
        too_large = file + bytes(announced["max_bytes"])
        refused(client.put(upload, content=too_large), 413, "At most")
        refused(client.put(upload, content=file[:-1]), 422, "are not those")
        assert client.put(upload, content=file).json() == {"stored": True}
        assert client.get(f"/ipfs/{update.cid}").content == file
        assert client.post("/v1/reveals", json=right).json() == {"waiting": True}


def signed_update(private: SmallPrivateFederation, number: int, content: bytes) -> MaskedUpdate:
    """Any file, as a party may sign for it: nothing commits to it."""
    party, claims = private.parties[number], private.seen().claims
    cid = cid_of(io.BytesIO(content))
    message = PrivateReveal(1, party.address, claims.commits_hash, b"\1" * 32, cid)
    signature = private.contract.sign(party, message)
    return MaskedUpdate(party.address, b"\1" * 32, cid, signature.r, signature.vs)


def test_a_party_announces_some_files_and_no_more(
    revealing: SmallPrivateFederation, tmp_path: Path
) -> None:
    with asking(revealing, tmp_path) as client:
        answers = [
            client.post("/v1/uploads", json=form_of(signed_update(revealing, 1, bytes([n]))))
            for n in range(5)
        ]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429]
    refused(answers[4], 429, "has posted 4 updates")


def test_a_claim_is_screened(claiming: SmallPrivateFederation, tmp_path: Path) -> None:
    seen = claiming.seen()

    def claim(number: int, held: int, **changes: Any) -> dict[str, Any]:
        fields = {
            "commits_hash": seen.claims.commits_hash,
            "updates_hash": seen.current.updates_hash,
            **changes,
        }
        key = claiming.aggregators[number] if number >= 0 else claiming.outsider
        signature = claiming.contract.sign(key, Held(round=1, held=held, **fields))
        return form_of(SignedClaim(held, signature.r, signature.vs))

    right = claim(0, 0b1111)
    with asking(claiming, tmp_path) as client:
        for message, status, words in [
            (claim(0, 0b11111), 403, "do not exist"),
            ({**right, "held": "0x7"}, 403, "not an aggregator"),
            (claim(0, 0b1111, commits_hash=b"\1" * 32), 403, "not an aggregator"),
            (claim(0, 0b1111, updates_hash=b"\1" * 32), 403, "not an aggregator"),
            (claim(-1, 0b1111), 403, "not an aggregator"),
            (claim(2, 0b1111), 409, "has claimed"),
            ({**right, "round": 2}, 425, "too early"),
            ({**right, "held": "0x" + "1" * 33}, 400, "Malformed"),
        ]:
            refused(client.post("/v1/claims", json=message), status, words)
        assert client.post("/v1/claims", json=right).json() == {"waiting": True}
        early = SignedWord(Confirmed(1, b"\1" * 32), Signature(R, VS))
        refused(client.post("/v1/words", json=form_of(early)), 425, "too early")


Sign = Callable[[int, Any], SignedWord]


@pytest.fixture
def sign(attesting: SmallPrivateFederation) -> Sign:
    def sign(number: int, message: Any) -> SignedWord:
        key = attesting.aggregators[number] if number >= 0 else attesting.outsider
        return SignedWord(message, attesting.contract.sign(key, message))

    return sign


def test_what_aggregators_tell_each_other_is_screened_and_shown(
    attesting: SmallPrivateFederation, tmp_path: Path, sign: Sign
) -> None:
    right, release = sign(0, Confirmed(1, R)), sign(0, Release(1, R, SOME_CID))
    with asking(attesting, tmp_path) as client:
        for message, status, words in [
            (form_of(right, lock="0x" + "09" * 32), 403, "not an aggregator"),
            (form_of(right, cid=str(SOME_CID)), 403, "not an aggregator"),
            (form_of(release, cid=None), 403, "not an aggregator"),
            (form_of(sign(-1, Confirmed(1, R))), 403, "not an aggregator"),
            (form_of(right, round=2), 425, "too early"),
            (form_of(right, lock=None), 400, "Malformed"),
            (form_of(right, cid="bafy"), 400, "Malformed"),
        ]:
            refused(client.post("/v1/words", json=message), status, words)
        for word in (right, release):
            assert client.post("/v1/words", json=form_of(word)).json() == {"waiting": True}
        words = client.get("/v1/words/1").json()["words"]
        assert words == [form_of(right), form_of(release)]
        assert client.get("/v1/words/2").json() == {"words": []}
        for number in ("x", "-1", "1.0", str(1 << 32), "9" * 5_000):
            refused(client.get(f"/v1/words/{number}"), 422, "round has to be a whole number")


def test_a_release_file_is_uploaded(
    attesting: SmallPrivateFederation, tmp_path: Path, sign: Sign
) -> None:
    content = b"some pieces" * 10
    word = sign(1, Release(1, R, cid_of(io.BytesIO(content))))
    with asking(attesting, tmp_path) as client:
        path = f"/v1/uploads/{cid_of(io.BytesIO(content))}"
        refused(client.post("/v1/uploads", json=form_of(sign(1, Confirmed(1, R)))), 400, "no file")
        refused(client.put(path, content=content), 404, "not announced")
        announced = client.post("/v1/uploads", json=form_of(word)).json()
        refused(client.put(path, content=bytes(announced["max_bytes"] + 1)), 413, "At most")
        assert client.put(path, content=content).json() == {"stored": True}
        assert client.get(f"/ipfs/{cid_of(io.BytesIO(content))}").content == content


def test_a_seat_announces_some_files_and_posts_some_messages_and_no_more(
    attesting: SmallPrivateFederation, tmp_path: Path, sign: Sign
) -> None:
    with asking(attesting, tmp_path) as client:
        files = [
            client.post(
                "/v1/uploads", json=form_of(sign(2, Release(1, R, cid_of(io.BytesIO(bytes([n]))))))
            )
            for n in range(MAX_FILES + 1)
        ]
    assert [f.status_code for f in files] == [200] * MAX_FILES + [429]
    with asking(attesting, tmp_path) as client:
        told = [
            client.post("/v1/words", json=form_of(sign(2, Confirmed(1, bytes([n] * 32)))))
            for n in range(MAX_FILES + 5)
        ]
    assert [t.status_code for t in told] == [200] * (MAX_FILES + 4) + [429]
    # Nor one message with ever other signatures.
    message = Confirmed(1, R)
    digest, key = attesting.contract.digest(message), attesting.aggregators[1]
    words = [SignedWord(message, signed_with(key, digest, n)) for n in range(1, MAX_FILES + 6)]
    with asking(attesting, tmp_path) as client:
        told = [client.post("/v1/words", json=form_of(word)) for word in words]
    assert [t.status_code for t in told] == [200] * (MAX_FILES + 4) + [429]


def test_a_result_is_screened_with_its_seeds(
    attesting: SmallPrivateFederation, tmp_path: Path
) -> None:
    seen, seeds = attesting.seen(), b"\7" * 32 * 4
    base = PrivateResult(
        *(1, seen.current.updates_hash, seen.current.base_root, 0b1111),
        *(keccak256(seeds), b"\4" * 32, SOME_CID),
    )

    def signed(number: int, opened: bytes = seeds, **changes: Any) -> dict[str, Any]:
        result = dataclasses.replace(base, **changes)
        key = attesting.aggregators[number] if number >= 0 else attesting.outsider
        return form_of(SignedPrivateResult(result, opened, attesting.contract.sign(key, result)))

    right = signed(0)
    few, short = b"\7" * 32 * 3, b"\7" * 32 * 2
    with asking(attesting, tmp_path) as client:
        for message, status, words in [
            (signed(0, few), 403, "not the seeds"),
            (signed(0, few, seeds_hash=keccak256(few)), 403, "not the seeds"),
            (signed(0, seeds_hash=b"\1" * 32), 403, "not the seeds"),
            (signed(0, included=0b11111), 403, "not locked"),
            (signed(0, b"\7" * 32 * 6, included=0b11, seeds_hash=R), 403, "not the seeds"),
            (signed(0, updates_hash=R), 409, "other updates"),
            (signed(0, base_root=R), 409, "another base"),
            (signed(-1), 403, "not an aggregator"),
            ({**right, "global_root": "0x" + "01" * 32}, 403, "not an aggregator"),
            ({**right, "round": 2}, 425, "too early"),
            ({**right, "seeds": "0x" + short.hex()[1:]}, 400, "Malformed"),
        ]:
            refused(client.post("/v1/attestations", json=message), status, words)
        two = b"\7" * 32 * 6
        few_included = signed(0, two, included=0b11, seeds_hash=keccak256(two))
        refused(client.post("/v1/attestations", json=few_included), 403, "too few")
        assert client.post("/v1/attestations", json=right).json() == {"waiting": True}


def test_a_private_relay_takes_no_plain_message(
    committing: SmallPrivateFederation, tmp_path: Path
) -> None:
    plain = {"round": 1, "party": committing.parties[0].address, "commitment": "0x" + "07" * 32}
    with asking(committing, tmp_path) as client:
        plain |= {"r": "0x" + "01" * 32, "vs": "0x" + "01" * 32}
        refused(client.post("/v1/commits", json=plain), 400, "Malformed")
