"""The relay's HTTP service: it takes what the contract would take now, and nothing else."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.federation import SmallFederation, signer
from support.relays import client_of, entry_of, open_relay, sign, signed_result, signed_with
from web3.exceptions import Web3Exception

from fl_orchestrator.chain.types import Phase, SignedCommit, Update
from fl_orchestrator.content.cid import RAW, Cid, cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import StoreUnavailable
from fl_orchestrator.model.digests import result_digest
from fl_orchestrator.model.vector_file import VectorMeta
from fl_orchestrator.relay import screening
from fl_orchestrator.relay.messages import (
    MAX_MESSAGE_BYTES,
    AttestationMessage,
    CommitMessage,
    RevealMessage,
)
from fl_orchestrator.relay.screening import Upload
from fl_orchestrator.relay.service import RelayServer, relay_app
from fl_orchestrator.relay.throttle import Throttle
from fl_orchestrator.roles.relay import MAX_RESULTS, SignedResult
from fl_orchestrator.transport import packing

COMMITMENT = b"\7" * 32


@pytest.fixture(scope="module")
def committing(tmp_path_factory: pytest.TempPathFactory) -> SmallFederation:
    """Round 1 is in its commit phase; party 2 has committed."""
    federation = SmallFederation(tmp_path_factory.mktemp("committing"))
    federation.open_round()
    assert federation.party(2).step().action == "commit"
    return federation


@pytest.fixture(scope="module")
def revealing(tmp_path_factory: pytest.TempPathFactory) -> SmallFederation:
    """Round 1 is in its reveal phase; parties 0 and 1 have not revealed, party 2 has."""
    federation = SmallFederation(tmp_path_factory.mktemp("revealing"))
    parties = [federation.party(i) for i in range(3)]
    federation.run_to(Phase.REVEAL, [*parties, federation.keeper(1)], 1)
    assert parties[2].step().action == "reveal"
    return federation


@pytest.fixture(scope="module")
def attesting(tmp_path_factory: pytest.TempPathFactory) -> SmallFederation:
    """Round 1 is in its attest phase, with two updates; nobody has attested."""
    federation = SmallFederation(tmp_path_factory.mktemp("attesting"), parties=2, aggregators=4)
    parties = [federation.party(i) for i in range(2)]
    federation.run_to(Phase.ATTEST, [*parties, federation.keeper(1)], 1)
    return federation


def committed(federation: SmallFederation, number: int, round_number: int = 1) -> dict[str, Any]:
    """A party's signed commitment as it is posted."""
    key = federation.parties[number]
    commit = federation.federation.sign_commit(key, round_number, COMMITMENT)
    return CommitMessage.of(round_number, commit).model_dump()


def preimage(update: Update, round_number: int = 1, **changes: Any) -> dict[str, Any]:
    return {**RevealMessage.of(round_number, update).model_dump(), **changes}


def refused(response: Any, status: int, words: str) -> None:
    assert response.status_code == status, response.text
    assert words in response.json()["error"]


# Commits


def test_a_signed_commit_waits_for_the_keeper(committing: SmallFederation, tmp_path: Path) -> None:
    relay = open_relay(committing, tmp_path)
    with client_of(relay) as client:
        for _ in range(2):
            answer = client.post("/v1/commits", json=committed(committing, 0))
            assert (answer.status_code, answer.json()) == (200, {"waiting": True})
    (commit,) = relay.box.waiting(1, SignedCommit)
    assert (commit.party, commit.commitment) == (committing.parties[0].address, COMMITMENT)
    committing.sender(committing.keeper_key).check(committing.federation.commit_for([commit]))


def test_a_commit_that_the_contract_would_not_take_is_refused(
    committing: SmallFederation, tmp_path: Path
) -> None:
    relay = open_relay(committing, tmp_path)
    right = committed(committing, 0)
    outsider = committing.federation.sign_commit(committing.outsider, 1, COMMITMENT)
    stranger = CommitMessage.of(1, outsider).model_dump()
    flipped = f"0x{int(right['vs'], 16) ^ 1 << 255:064x}"
    with client_of(relay) as client:
        for message, status, words in [
            ({**right, "party": committing.parties[1].address}, 403, "not the party's"),
            ({**right, "commitment": "0x" + "08" * 32}, 403, "not the party's"),
            ({**right, "vs": flipped}, 403, "not the party's"),
            ({**right, "vs": "0x" + "7f" + "ff" * 31}, 403, "not the party's"),
            (committed(committing, 0, 2) | {"round": 1}, 403, "not the party's"),
            (stranger, 403, "not a party"),
            (committed(committing, 2), 409, "has committed"),
            (committed(committing, 0, 2), 425, "too early"),
            (committed(committing, 0, (1 << 32) - 1), 425, "too early"),
        ]:
            refused(client.post("/v1/commits", json=message), status, words)
    assert relay.box.waiting(1, SignedCommit) == []


@pytest.mark.parametrize(
    "change",
    [
        {"round": 0},
        {"round": 1 << 32},
        {"round": "1"},
        {"round": True},
        {"round": None},
        {"party": "0x12"},
        {"party": 5},
        {"commitment": "07" * 32},
        {"commitment": "0x" + "AB" * 32},
        {"commitment": "0x" + "07" * 33},
        {"commitment": "0x" + "٠" * 64},
        {"r": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_malformed_message_is_refused(
    committing: SmallFederation, tmp_path: Path, change: dict[str, Any]
) -> None:
    with client_of(open_relay(committing, tmp_path)) as client:
        message = committed(committing, 0) | change
        refused(client.post("/v1/commits", json=message), 400, "Malformed message")


def test_a_body_that_is_no_message_is_refused(committing: SmallFederation, tmp_path: Path) -> None:
    with client_of(open_relay(committing, tmp_path)) as client:
        for body in (b"", b"[]", b"{", b"\xff", b"[" * MAX_MESSAGE_BYTES, b"null"):
            refused(client.post("/v1/commits", content=body), 400, "Malformed message")
        refused(client.post("/v1/commits", content=b" " * (MAX_MESSAGE_BYTES + 1)), 413, "At most")
        refused(client.get("/v1/commits"), 405, "Not Allowed")
        assert client.head("/v1/status").status_code == 405
        refused(client.get("/docs"), 404, "Not Found")


def test_no_request_says_where_another_is_redirected(
    committing: SmallFederation, tmp_path: Path
) -> None:
    with client_of(open_relay(committing, tmp_path)) as client:
        for method, path in [("GET", "/v1/status/"), ("POST", "/v1/commits/"), ("GET", "/ipfs/a/")]:
            answer = client.request(
                method, path, headers={"host": "evil.example"}, follow_redirects=False
            )
            refused(answer, 404, "Not Found")
            assert "evil.example" not in str(answer.headers)


def test_a_defect_is_told_as_a_refusal_is_and_without_its_words(
    committing: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object) -> None:
        raise KeyError("a path of this machine")

    relay = open_relay(committing, tmp_path)
    monkeypatch.setattr(relay.screen, "current", defect)
    answer = TestClient(relay_app(relay), raise_server_exceptions=False).get("/healthz")
    refused(answer, 500, "A defect")
    assert "machine" not in answer.text


def test_what_was_posted_before_a_restart_is_carried_after_it(
    committing: SmallFederation, tmp_path: Path
) -> None:
    with client_of(open_relay(committing, tmp_path)) as client:
        assert client.post("/v1/commits", json=committed(committing, 1)).status_code == 200
    again = open_relay(committing, tmp_path)
    assert [c.party for c in again.box.waiting(1, SignedCommit)] == [committing.parties[1].address]


# Nothing of an open commit phase


def test_no_update_comes_in_or_goes_out_before_the_commit_phase_has_closed(
    committing: SmallFederation, tmp_path: Path
) -> None:
    entry = entry_of(committing, 2)
    with client_of(open_relay(committing, tmp_path)) as client:
        announced = client.post("/v1/uploads", json=preimage(entry.update))
        refused(announced, 425, "too early for this upload")
        uploaded = client.put(f"/v1/uploads/{entry.update.cid}", content=entry.path.read_bytes())
        refused(uploaded, 404, "was not announced")
        refused(client.post("/v1/reveals", json=preimage(entry.update)), 425, "too early")
        refused(client.get(f"/ipfs/{entry.update.cid}"), 404, "does not have")
    assert not committing.store.has(entry.update.cid)


# Updates


@pytest.fixture
def keepers_store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "keepers store")


@pytest.fixture
def relay(revealing: SmallFederation, tmp_path: Path, keepers_store: LocalStore) -> RelayServer:
    """A relay in the reveal phase, with a store of its own."""
    return open_relay(revealing, tmp_path, store=keepers_store)


@pytest.fixture
def client(relay: RelayServer) -> Iterator[TestClient]:
    with client_of(relay) as client:
        yield client


def test_an_update_is_uploaded_kept_and_given_to_others(
    revealing: SmallFederation, tmp_path: Path, relay: RelayServer, client: TestClient
) -> None:
    entry = entry_of(revealing, 0)
    path, content = f"/v1/uploads/{entry.update.cid}", entry.path.read_bytes()
    announced = client.post("/v1/uploads", json=preimage(entry.update)).json()
    codings = [packing.CODING] if packing.is_available() else []
    limits = {"max_bytes": relay.uploads.max_bytes, "codings": codings}
    assert announced == {"stored": False, **limits}
    assert len(content) <= relay.uploads.max_bytes
    assert client.put(path, content=content).json() == {"stored": True}
    assert (tmp_path / "keepers store" / "pinned" / str(entry.update.cid)).read_bytes() == content
    served = client.get(f"/ipfs/{entry.update.cid}")
    assert served.content == content
    assert served.headers["x-content-type-options"] == "nosniff"
    size = len(content)
    rest = client.get(f"/ipfs/{entry.update.cid}", headers={"Range": "bytes=100-"})
    assert (rest.status_code, rest.content) == (206, content[100:])
    assert rest.headers["content-range"] == f"bytes 100-{size - 1}/{size}"
    for whole in ("bytes=0-", "bytes=-5", "bytes=1-2", "lines=3-"):
        again = client.get(f"/ipfs/{entry.update.cid}", headers={"Range": whole})
        assert (again.status_code, again.content) == (200, content)
    after = client.get(f"/ipfs/{entry.update.cid}", headers={"Range": f"bytes={size}-"})
    refused(after, 416, "ends before this range")
    assert len(relay.uploads._retention) == 1
    # Once more, by whoever did not hear the answer.
    assert client.post("/v1/uploads", json=preimage(entry.update)).json()["stored"] is True
    assert client.put(path, content=content).json() == {"stored": True}
    assert len(relay.uploads._retention) == 1


def test_bytes_are_welcome_when_the_update_is_revealed_already(
    revealing: SmallFederation, client: TestClient
) -> None:
    update = entry_of(revealing, 2).update
    assert client.post("/v1/uploads", json=preimage(update)).status_code == 200
    refused(client.post("/v1/reveals", json=preimage(update)), 409, "has revealed")


def test_what_was_not_committed_to_is_refused(
    revealing: SmallFederation, client: TestClient
) -> None:
    update, other = entry_of(revealing, 0).update, entry_of(revealing, 1).update
    stranger = signer("stranger").address
    changes: list[tuple[dict[str, Any], str]] = [
        ({"salt": "0x" + "00" * 32}, "not what"),
        ({"weight": update.weight + 1}, "not what"),
        ({"cid": str(other.cid)}, "not what"),
        ({"party": other.party}, "not what"),
        ({"party": stranger}, "has not committed"),
    ]
    for change, words in changes:
        for path in ("/v1/uploads", "/v1/reveals"):
            refused(client.post(path, json=preimage(update, **change)), 403, words)
    refused(client.post("/v1/uploads", json=preimage(update, 2)), 425, "too early")


def test_other_bytes_than_announced_are_refused(
    revealing: SmallFederation, keepers_store: LocalStore, relay: RelayServer, client: TestClient
) -> None:
    entry = entry_of(revealing, 0)
    content = entry.path.read_bytes()
    path = f"/v1/uploads/{entry.update.cid}"
    client.post("/v1/uploads", json=preimage(entry.update))
    for wrong in (content[:-1], content + b"\0", b"", bytes(len(content))):
        answer = client.put(path, content=wrong)
        refused(answer, 422, "are not those")
        other = cid_of(io.BytesIO(wrong))
        assert not keepers_store.has(entry.update.cid)
        assert not keepers_store.has(other)
        refused(client.put(f"/v1/uploads/{other}", content=wrong), 404, "was not announced")
    assert len(relay.uploads._retention) == 0
    assert client.put(path, content=content).status_code == 200


def test_an_upload_that_is_too_large_is_cut_while_it_is_read(
    revealing: SmallFederation, relay: RelayServer, client: TestClient
) -> None:
    entry = entry_of(revealing, 0)
    path, limit = f"/v1/uploads/{entry.update.cid}", relay.uploads.max_bytes
    client.post("/v1/uploads", json=preimage(entry.update))
    refused(client.put(path, content=bytes(limit + 1)), 413, str(limit))

    def endless() -> Iterator[bytes]:
        for _ in range(limit):
            yield bytes(64)

    # Without a length it counts what comes.
    refused(client.put(path, content=endless()), 413, str(limit))
    assert client.put(path, content=entry.path.read_bytes()).status_code == 200


def test_uploads_end_where_the_relays_room_ends(
    revealing: SmallFederation, relay: RelayServer, client: TestClient
) -> None:
    relay.uploads._max_stored_bytes = 2 * relay.uploads.max_bytes - 1
    first, second = (entry_of(revealing, i) for i in (0, 1))
    assert client.post("/v1/uploads", json=preimage(first.update)).status_code == 200
    refused(client.post("/v1/uploads", json=preimage(second.update)), 507, "no room")


def test_the_pin_of_what_others_have_stored_is_never_taken(
    revealing: SmallFederation, keepers_store: LocalStore, relay: RelayServer
) -> None:
    """A party has committed to the CID of a model, as if that were its update."""
    genesis = revealing.genesis.cid
    with revealing.store.get(genesis, 1 << 20) as stream:
        keepers_store.put(stream)
    party, meta = revealing.parties[0].address, VectorMeta.genesis()
    assert relay.uploads.expect(Upload(revealing.observe(), party, genesis, meta, 1 << 20))
    assert len(relay.uploads._retention) == 0


def test_an_update_that_a_crash_has_left_unpinned_is_pinned_when_it_is_announced_again(
    revealing: SmallFederation, tmp_path: Path, keepers_store: LocalStore, client: TestClient
) -> None:
    entry = entry_of(revealing, 0)
    cid = entry.update.cid
    client.post("/v1/uploads", json=preimage(entry.update))
    assert client.put(f"/v1/uploads/{cid}", content=entry.path.read_bytes()).status_code == 200
    keepers_store.unpin(cid)
    assert client.post("/v1/uploads", json=preimage(entry.update)).json()["stored"] is True
    assert (tmp_path / "keepers store" / "pinned" / str(cid)).exists()


def test_a_reveal_waits_for_the_keeper(
    revealing: SmallFederation, relay: RelayServer, client: TestClient
) -> None:
    update = entry_of(revealing, 0).update
    assert client.post("/v1/reveals", json=preimage(update)).status_code == 200
    assert relay.box.waiting(1, Update) == [update]
    revealing.sender(revealing.keeper_key).check(revealing.federation.reveal([update]))


def test_a_commit_is_too_late_in_the_reveal_phase(
    revealing: SmallFederation, client: TestClient
) -> None:
    refused(client.post("/v1/commits", json=committed(revealing, 0)), 409, "too late")


# Attestations


@pytest.fixture(scope="module")
def right(attesting: SmallFederation) -> SignedResult:
    return signed_result(attesting)


def attestation(signed: SignedResult, **changes: Any) -> dict[str, Any]:
    return {**AttestationMessage.of(signed.result.round, signed).model_dump(), **changes}


def test_an_attestation_waits_for_the_keeper(
    attesting: SmallFederation, right: SignedResult, tmp_path: Path
) -> None:
    relay = open_relay(attesting, tmp_path)
    with client_of(relay) as client:
        assert client.post("/v1/attestations", json=attestation(right)).status_code == 200
    assert relay.box.waiting(1, SignedResult) == [right]
    call = attesting.federation.attest(right.result, [right.signature])
    attesting.sender(attesting.keeper_key).check(call)


def test_an_attestation_that_the_contract_would_not_take_is_refused(
    attesting: SmallFederation, right: SignedResult, tmp_path: Path
) -> None:
    by_party = attesting.federation.sign_result(attesting.parties[0], right.result)
    with client_of(open_relay(attesting, tmp_path)) as client:
        for message, status, words in [
            (attestation(SignedResult(right.result, by_party)), 403, "not an aggregator"),
            (attestation(right, global_root="0x" + "09" * 32), 403, "not an aggregator"),
            (attestation(right, updates_hash="0x" + "09" * 32), 409, "other updates"),
            (attestation(right, base_root="0x" + "09" * 32), 409, "other updates"),
            (attestation(right, included="0x7"), 403, "do not exist"),
            (attestation(right, included="0x0"), 403, "too few"),
            (attestation(right, round=2), 425, "too early"),
            (attestation(right, included="0x" + "f" * 33), 400, "included"),
            (attestation(right, included="0x03"), 400, "included"),
            (attestation(right, global_cid="../../etc/passwd"), 400, "global_cid"),
            (attestation(right, global_cid=str(Cid(bytes(32), RAW))), 400, "global_cid"),
        ]:
            refused(client.post("/v1/attestations", json=message), status, words)


def test_one_aggregator_cannot_fill_the_box_with_results(
    attesting: SmallFederation, right: SignedResult, tmp_path: Path
) -> None:
    relay = open_relay(attesting, tmp_path)
    with client_of(relay) as client:
        for number in range(MAX_RESULTS + 1):
            result = dataclasses.replace(right.result, global_root=bytes([number + 1]) * 32)
            signed = SignedResult(result, sign(attesting, result, 3))
            answer = client.post("/v1/attestations", json=attestation(signed))
            if number < MAX_RESULTS:
                assert answer.status_code == 200
        refused(answer, 429, "has posted 16 signatures")
        assert client.post("/v1/attestations", json=attestation(right)).status_code == 200
    assert len(relay.box.waiting(1, SignedResult)) == MAX_RESULTS + 1


def test_one_aggregator_cannot_fill_the_box_with_signatures_of_one_result(
    attesting: SmallFederation, right: SignedResult, tmp_path: Path
) -> None:
    relay, chain = open_relay(attesting, tmp_path), attesting.federation
    digest = result_digest(chain.chain_id, chain.address, right.result)
    with client_of(relay) as client:
        for nonce in range(1, MAX_RESULTS + 2):
            signature = signed_with(attesting.aggregators[3], digest, nonce)
            message = attestation(SignedResult(right.result, signature))
            answer = client.post("/v1/attestations", json=message)
            if nonce <= MAX_RESULTS:
                assert answer.status_code == 200, answer.text
        refused(answer, 429, "has posted 16 signatures")
        # What it has taken it takes again.
        again = relay.box.waiting(1, SignedResult)[0]
        assert client.post("/v1/attestations", json=attestation(again)).status_code == 200
    assert len(relay.box.waiting(1, SignedResult)) == MAX_RESULTS


# Limits


def test_a_flood_from_one_address_stops_nobody_else(
    committing: SmallFederation, tmp_path: Path
) -> None:
    relay = open_relay(committing, tmp_path, throttle=Throttle(requests_per_minute=5))
    junk = committed(committing, 0) | {"commitment": "0x" + "08" * 32}
    with client_of(relay, "192.0.2.1") as client:
        for _ in range(5):
            refused(client.post("/v1/commits", json=junk), 403, "not the party's")
        refused(client.post("/v1/commits", json=junk), 429, "Too many requests")
        refused(client.get("/v1/status"), 429, "Too many requests")
    with client_of(relay, "192.0.2.2") as client:
        assert client.post("/v1/commits", json=committed(committing, 0)).status_code == 200


def test_requests_for_what_is_not_there_count_too(
    committing: SmallFederation, tmp_path: Path
) -> None:
    relay = open_relay(committing, tmp_path, throttle=Throttle(requests_per_minute=2))
    with client_of(relay) as client:
        answers = [client.get("/nothing"), client.get("/v1/commits"), client.get("/healthz")]
    assert [answer.status_code for answer in answers] == [404, 405, 429]


def test_a_client_has_a_whole_network_of_ipv6(committing: SmallFederation, tmp_path: Path) -> None:
    relay = open_relay(committing, tmp_path, throttle=Throttle(requests_per_minute=2))
    hosts = ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1")
    answers = []
    for host in hosts:
        with client_of(relay, host) as client:
            answers.append(client.get("/v1/status").status_code)
    assert answers == [200, 200, 429, 200]


def test_junk_in_a_partys_name_does_not_use_up_its_share(
    committing: SmallFederation, tmp_path: Path
) -> None:
    relay = open_relay(committing, tmp_path, throttle=Throttle(messages_per_minute=2))
    with client_of(relay) as client:
        junk = committed(committing, 0) | {"commitment": "0x" + "08" * 32}
        for _ in range(4):
            refused(client.post("/v1/commits", json=junk), 403, "not the party's")
        for status in (200, 200, 429):
            message = committed(committing, 0)
            assert client.post("/v1/commits", json=message).status_code == status


def test_what_is_posted_again_does_not_use_up_a_partys_other_messages(
    revealing: SmallFederation, tmp_path: Path
) -> None:
    """Anybody can announce the upload of an update that is revealed."""
    relay = open_relay(revealing, tmp_path, throttle=Throttle(messages_per_minute=2))
    update = entry_of(revealing, 0).update
    with client_of(relay, "192.0.2.2") as attacker:
        for status in (200, 200, 429):
            answer = attacker.post("/v1/uploads", json=preimage(update))
            assert answer.status_code == status
    with client_of(relay) as client:
        assert client.post("/v1/reveals", json=preimage(update)).status_code == 200


def test_messages_of_an_earlier_round_do_not_use_up_those_of_the_next_one() -> None:
    throttle = Throttle(messages_per_minute=1)
    throttle.message("0xparty", 1, "commit")
    throttle.message("0xparty", 2, "commit")
    with pytest.raises(screening.Refused, match="Too many messages"):
        throttle.message("0xparty", 1, "commit")


def test_junk_asks_the_node_once_a_second(
    revealing: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    asked: list[str] = []
    relay = open_relay(revealing, tmp_path, clock=lambda: now)
    observe = relay.federation.observe

    def record(account: str) -> Any:
        asked.append(account)
        return observe(account)

    monkeypatch.setattr(relay.federation, "observe", record)
    update = entry_of(revealing, 0).update
    with client_of(relay) as client:
        for _ in range(5):
            junk = preimage(update, salt="0x" + "00" * 32)
            refused(client.post("/v1/reveals", json=junk), 403, "not what")
        assert len(asked) == 2
        now = 1.5
        client.get("/v1/status")
        assert len(asked) == 3


def test_downloads_are_limited_and_counted_to_their_end(
    revealing: SmallFederation, tmp_path: Path
) -> None:
    throttle = Throttle(downloads_per_client=1)
    relay = open_relay(revealing, tmp_path, throttle=throttle)
    path = f"/ipfs/{revealing.genesis.cid}"
    with client_of(relay) as client:
        for _ in range(3):
            assert client.get(path).status_code == 200
        throttle.begin_download("192.0.2.1")
        refused(client.get(path), 429, "Too many downloads")
        throttle.end_download("192.0.2.1")
        assert client.get(path).status_code == 200


# What it gives


def test_it_gives_what_the_keeper_holds_and_nothing_else(
    revealing: SmallFederation, tmp_path: Path
) -> None:
    with client_of(open_relay(revealing, tmp_path)) as client:
        manifest = client.get(f"/ipfs/{Cid(revealing.manifest.digest, RAW)}")
        assert manifest.content == revealing.manifest.to_bytes()
        refused(client.get(f"/ipfs/{Cid(bytes(32), RAW)}"), 404, "does not have")
        for wrong in ("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "x", "%2e%2e%2fbox.sqlite"):
            assert client.get(f"/ipfs/{wrong}").status_code in (400, 404)
        assert client.get("/ipfs/../box.sqlite").status_code == 404


class FetchingStore(LocalStore):
    """Has nothing itself, and gets everything from elsewhere."""

    def has(self, cid: Cid) -> bool:
        return False


def test_it_fetches_for_strangers_only_what_every_party_begins_with(
    revealing: SmallFederation, tmp_path: Path
) -> None:
    store = FetchingStore(revealing.directory / "store")
    with client_of(open_relay(revealing, tmp_path, store=store)) as client:
        for cid in (revealing.genesis.cid, Cid(revealing.manifest.digest, RAW)):
            assert client.get(f"/ipfs/{cid}").status_code == 200
        refused(client.get(f"/ipfs/{entry_of(revealing, 2).update.cid}"), 404, "does not have")


def test_what_cannot_be_fetched_takes_nobodys_place(
    revealing: SmallFederation, tmp_path: Path
) -> None:
    empty = LocalStore(tmp_path / "empty")
    throttle = Throttle(downloads_per_client=1)
    relay = open_relay(revealing, tmp_path, store=empty, throttle=throttle)
    with client_of(relay) as client:
        for _ in range(3):
            refused(client.get(f"/ipfs/{revealing.genesis.cid}"), 404, "does not have")


def test_what_breaks_off_before_a_range_begins_is_closed(
    revealing: SmallFederation, tmp_path: Path
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise StoreUnavailable("The store is down.")

    class Breaking(LocalStore):
        opened = 0

        def get(self, cid: Cid, max_bytes: int) -> Any:
            self.opened += 1
            return broken if self.opened == 2 else super().get(cid, max_bytes)

    broken = Broken()
    store = Breaking(revealing.directory / "store")
    with client_of(open_relay(revealing, tmp_path, store=store)) as client:
        path = f"/ipfs/{revealing.genesis.cid}"
        failed = client.get(path, headers={"Range": "bytes=10-"})
    assert (failed.status_code, store.opened, broken.closed) == (503, 2, True)


def test_the_status_says_which_federation_and_where_it_stands(
    revealing: SmallFederation, tmp_path: Path
) -> None:
    with client_of(open_relay(revealing, tmp_path)) as client:
        status = client.get("/v1/status").json()
        assert status["federation"] == revealing.federation.address
        assert (status["round"], status["phase"]) == (1, "reveal")
        assert client.get("/healthz").json() == {"ok": True}


def test_a_node_that_fails_is_no_business_of_strangers(
    committing: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = open_relay(committing, tmp_path)

    def fail(_: str) -> None:
        raise Web3Exception("http://user:password@10.0.0.1 is down")

    monkeypatch.setattr(relay.federation, "observe", fail)
    with client_of(relay) as client:
        for answer in (
            client.get("/healthz"),
            client.post("/v1/commits", json=committed(committing, 0)),
        ):
            refused(answer, 503, "cannot do this at the moment")
            assert "password" not in answer.text


def test_a_node_that_is_slow_stops_no_more_than_one_check(
    committing: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screening, "_PATIENCE_SECONDS", 0.05)
    relay = open_relay(committing, tmp_path)
    with relay.screen._lock, client_of(relay) as client:
        refused(client.post("/v1/commits", json=committed(committing, 0)), 503, "does not answer")


def test_a_store_that_is_slow_stops_no_more_than_announcements(
    revealing: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screening, "_PATIENCE_SECONDS", 0.05)
    relay = open_relay(revealing, tmp_path)
    update = preimage(entry_of(revealing, 0).update)
    with relay.uploads._lock, client_of(relay) as client:
        refused(client.post("/v1/uploads", json=update), 503, "store does not answer")
        assert client.post("/v1/reveals", json=update).status_code == 200
