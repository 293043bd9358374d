"""What the dashboard's service answers, to whom, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.adversary import PartialStore, run_to_attest
from support.dashboards import Desk, desk_of
from support.disputes import accept_a_lie, off_by_one, responder, run_watchers, watcher
from support.federation import Build, SmallFederation, small_manifest
from support.fixtures import build
from support.relays import drain

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.dashboard.server.app import dashboard_app
from fl_orchestrator.dashboard.server.guard import POLICY
from fl_orchestrator.json_text import to_json
from fl_orchestrator.relay.counting import REQUESTS_PER_MINUTE
from fl_orchestrator.relay.serving import serving

__all__ = ["build"]

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallFederation:
    """A federation after its first round, for tests that only read."""
    world = SmallFederation(
        tmp_path_factory.mktemp("world"), 3, 2, manifest=small_manifest(name=HOSTILE)
    )
    world.run_round(world.everybody())
    return world


@pytest.fixture(scope="module")
def desk(world: SmallFederation) -> Iterator[Desk]:
    with desk_of(world, hosts=["127.0.0.1", "testserver"]) as desk:
        desk.look()
        yield desk


@pytest.fixture
def client(desk: Desk) -> TestClient:
    return TestClient(dashboard_app(desk.service))


def given(client: TestClient, path: str) -> Any:
    response = client.get(path)
    assert response.status_code == 200, response.text
    return response.json()


def eventually(client: TestClient, number: int) -> dict[str, Any]:
    """The outcome of a recomputation."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        (job,) = [
            j for j in given(client, "/api/state")["recompute"]["jobs"] if j["round"] == number
        ]
        if job["state"] not in ("waiting", "running"):
            return dict(job)
        time.sleep(0.05)
    raise AssertionError("it is still computing")


def test_the_state_says_how_the_round_is(client: TestClient, world: SmallFederation) -> None:
    state = given(client, "/api/state")
    assert state["round"]["round"] == 1
    assert state["round"]["phase"] == "accepted"
    assert state["head"]["root"] == "0x" + world.federation.head().root.hex()
    assert state["accounts"]["party"] == {"registered": 3, "active": 3, "missing": 0}
    assert state["alerts"] == []
    assert state["chain"]["block"] == state["chain"]["indexed"]
    assert state["federation"]["private"] is False


def test_a_round_is_told_whole(client: TestClient, world: SmallFederation) -> None:
    found = given(client, "/api/rounds/1")
    assert found["status"] == "accepted"
    assert [u["part"] for u in found["updates"]] == ["included"] * 3
    assert all(
        u["committed"]["transaction"] != u["revealed"]["transaction"] for u in found["updates"]
    )
    assert all(u["revealed"]["gas"] > 0 and u["revealed"]["time"] > 0 for u in found["updates"])
    (result,) = found["results"]
    assert {s["aggregator"] for s in result["signers"]} <= {k.address for k in world.aggregators}
    assert {e["name"] for e in found["events"]} >= {"RoundOpened", "Committed", "RoundAccepted"}
    columns = given(client, "/api/rounds")
    assert columns["number"] == [1]
    assert columns["included"] == [3]
    assert columns["gas"] == [found["gas"]]


def test_accounts_are_sorted_searched_and_paged(client: TestClient, world: SmallFederation) -> None:
    addresses = sorted((k.address for k in world.parties), key=str.lower)
    found = given(client, "/api/accounts?sort=address&order=down&limit=2")
    assert [a["address"] for a in found["accounts"]] == addresses[:0:-1]
    assert found["total"] == 3
    found = given(client, f"/api/accounts?q={addresses[1][5:20]}")
    assert [a["address"] for a in found["accounts"]] == [addresses[1]]
    assert found["accounts"][0]["dots"][0] == "included"
    found = given(client, "/api/accounts?role=aggregator&offset=1")
    assert len(found["accounts"]) == 1
    one = given(client, f"/api/accounts/{addresses[0].lower()}")
    assert one["address"] == addresses[0]
    stranger = given(client, "/api/accounts/0x" + "00" * 20)
    assert (stranger["roles"], stranger["events"]) == ([], [])
    assert {e["name"] for e in one["events"]} == {
        *("Admitted", "Registered", "Committed", "UpdateRevealed")
    }


def test_measures_are_given_with_their_source(desk: Desk, client: TestClient) -> None:
    desk.measures.add(1, accuracy=0.75, loss=float("nan"))
    (found,) = given(client, "/api/rounds")["measures"]
    assert found["whose"] == "the test"
    assert found["columns"] == {"accuracy": [0.75], "loss": [None]}


def test_a_right_model_is_recomputed_once(client: TestClient) -> None:
    assert client.post("/api/recompute/1").status_code == 200
    job = eventually(client, 1)
    assert (job["state"], job["part"]) == ("equal", 1.0)
    assert "3 updates" in job["text"]
    assert client.post("/api/recompute/1").json() == {"state": "equal"}


def test_a_model_that_is_wrong_by_one_unit_is_found(build: Build) -> None:
    world = build(parties=2, aggregators=1)
    run_to_attest(world)
    accept_a_lie(world, off_by_one(3))
    with desk_of(world) as desk:
        desk.look()
        client = TestClient(dashboard_app(desk.service))
        client.post("/api/recompute/1")
        job = eventually(client, 1)
    assert job["state"] == "wrong"
    assert "the first wrong coordinate is 3" in job["text"]


def test_a_store_that_lacks_an_update_fails_a_recomputation(world: SmallFederation) -> None:
    store = PartialStore(world)
    store.down = True
    with desk_of(world, store) as desk:
        desk.look()
        client = TestClient(dashboard_app(desk.service))
        client.post("/api/recompute/1")
        assert eventually(client, 1)["state"] == "failed"
        store.down = False
        client.post("/api/recompute/1")
        assert eventually(client, 1)["state"] == "equal"


def test_an_open_demand_is_an_alert_until_it_is_answered(build: Build) -> None:
    world = build(parties=2)
    run_to_attest(world)
    accept_a_lie(world)
    depth, bond = world.params.depth, world.params.demand_bond
    world.send(world.outsider, world.federation.demand(1, depth, 0, bond))
    with desk_of(world) as desk:
        (alert,) = desk.look()["alerts"]
        assert (alert["level"], alert["round"], alert["bond"]) == ("warn", 1, str(bond))
        assert alert["account"] == world.outsider.address
        assert alert["deadline"] == world.chain.now + world.params.answer_period
        responder(world).step()
        assert desk.look()["alerts"] == []


def test_a_revoked_round_is_an_alert_and_names_its_challenger(build: Build) -> None:
    world = build(parties=2)
    run_to_attest(world)
    accept_a_lie(world)
    run_watchers(world, watcher(world))
    with desk_of(world) as desk:
        state = desk.look()
        assert given(TestClient(dashboard_app(desk.service)), "/api/rounds")["status"] == [
            "revoked"
        ]
    (alert,) = [a for a in state["alerts"] if a["level"] == "bad"]
    assert "the model was revoked" in alert["text"]
    assert state["head"]["round"] == 0


def test_an_account_low_on_coin_is_an_alert_until_it_has_more(build: Build) -> None:
    world = build(parties=2)
    poor, chain = world.parties[0].address, world.chain
    to = chain.web3.to_checksum_address(poor)
    with desk_of(world) as desk:
        assert desk.look()["alerts"] == []
        drain(world, world.parties[0])  # some dust is left
        for _ in range(3):  # balances are read some at a time
            state = desk.look()
        (alert,) = given(TestClient(dashboard_app(desk.service)), "/api/state")["alerts"]
        assert alert == state["alerts"][0]
        assert (alert["level"], alert["text"], alert["account"]) == ("warn", "Low on coin", poor)
        assert 0 < int(alert["bond"]) == chain.web3.eth.get_balance(to)
        world.send(world.owner, Call(to, b"", 10**18, "transfer"))
        for _ in range(3):
            state = desk.look()
        assert state["alerts"] == []


def test_a_node_that_says_nothing_leaves_the_last_state_with_its_age(build: Build) -> None:
    """It takes the connection and the request, and is silent; the page's server is not."""
    world = build(parties=2)
    with desk_of(world) as desk:
        before = desk.look()
        client = TestClient(dashboard_app(desk.service))
        silent, ended = threading.Event(), threading.Event()
        observe = desk.follower._chain.observe

        def hang(account: str) -> Any:
            silent.set()
            ended.wait(60)
            return observe(account)

        desk.follower._chain.observe = hang  # type: ignore[method-assign]
        desk.follower.start()
        assert silent.wait(30)
        desk.service.board._heard -= 90.0  # the time that has passed
        found = given(client, "/api/state")
        assert {**found["chain"]} == {**before["chain"]}
        assert found["silent"] >= 90
        assert given(client, "/healthz") is not None
        ended.set()
        deadline = time.monotonic() + 30
        while given(client, "/api/state")["silent"] >= 90:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        desk.follower.close()


class LackingStore(LocalStore):
    """A store that has nothing."""

    def has(self, cid: Cid) -> bool:
        return False


def test_what_the_store_cannot_deliver_is_an_alert(world: SmallFederation) -> None:
    with desk_of(world, LackingStore(world.directory / "store")) as desk:
        # The store is looked into beside the chain: it may not know of the head at first.
        deadline = time.monotonic() + 30
        for missing in ("the head", "the manifest"):
            while not any(f"cannot deliver {missing}" in a["text"] for a in desk.look()["alerts"]):
                assert time.monotonic() < deadline
                time.sleep(0.05)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "",
        "[::1]",
        "[127.0.0.1].evil.example",
        "127.0.0.1:x",
    ],
)
def test_another_hosts_name_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/api/state", headers={"host": host}).status_code == 421
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
    ],
)
def test_only_its_own_page_may_ask_for_work(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/api/recompute/1", headers=headers).status_code == 403
    mine = {"sec-fetch-site": "same-origin", "origin": "http://testserver"}
    assert client.post("/api/recompute/1", headers=mine).status_code == 200


def test_work_that_is_not_allowed_is_refused(desk: Desk) -> None:
    service = type(desk.service)(desk.service.board, desk.service.details, None)
    client = TestClient(dashboard_app(service))
    assert client.post("/api/recompute/1").status_code == 403
    assert given(client, "/api/state")["recompute"]["allowed"] is False


def test_too_many_requests_are_refused(client: TestClient) -> None:
    codes = {client.get("/healthz").status_code for _ in range(REQUESTS_PER_MINUTE + 5)}
    assert codes == {200, 429}


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/api/state", "/nothing", "/page/app.py"])
def test_every_answer_has_the_policy(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


@pytest.mark.parametrize(
    ("path", "code"),
    [
        *(("/api/rounds/2", 404), ("/api/rounds/0", 422), ("/api/rounds/x", 422)),
        ("/api/accounts/0x12", 422),
        *(("/api/accounts?sort=name", 422), ("/api/accounts?limit=1000", 422)),
        *(
            ("/page/..%2fapp.py", 404),
            ("/page/%2e%2e", 404),
            ("/docs", 404),
            ("/openapi.json", 404),
        ),
    ],
)
def test_what_is_not_there_is_refused(client: TestClient, path: str, code: int) -> None:
    assert client.get(path).status_code == code


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/api/rounds?after=-1", "after has to be a whole number from 0 to 4294967295."),
        ("/api/rounds?after=", "after has to be a whole number"),
        ("/api/rounds?after=" + "9" * 5_000, "after has to be a whole number"),
        ("/api/rounds/4294967296", "number has to be a whole number from 1 to 4294967295."),
        ("/api/rounds/%D9%A1", "number has to be a whole number"),
        ("/api/accounts?role=keeper", "role has to be one of party, aggregator."),
        ("/api/accounts?order=DOWN", "order has to be one of up, down."),
        ("/api/accounts?limit=0", "limit has to be a whole number from 1 to 100."),
        ("/api/accounts?offset=1.5", "offset has to be a whole number"),
        ("/api/accounts?q=" + "a" * 65, "q has to be a text of 64 characters at most."),
        ("/api/accounts/0x" + "0" * 41, "address has to be an address."),
        ("/api/accounts/0x" + "0" * 40 + "?before=3", "before has to be a block and a place"),
    ],
)
def test_a_parameter_that_no_route_takes_is_told(
    client: TestClient, path: str, sentence: str
) -> None:
    response = client.get(path)
    assert response.status_code == 422
    assert sentence in response.json()["error"]


def test_the_events_of_an_account_go_on_before_a_place(
    client: TestClient, world: SmallFederation
) -> None:
    address = world.parties[0].address
    events = given(client, f"/api/accounts/{address}")["events"]
    block, place = events[1]["block"], events[1]["place"]
    later = given(client, f"/api/accounts/{address}?before={block}.{place}")["events"]
    assert later == events[2:]


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
def test_a_method_that_a_path_does_not_have_is_refused(client: TestClient, method: str) -> None:
    """HEAD too: nothing is read to be thrown away, and no stream of events is held."""
    for path in ("/", "/api/state", "/api/events"):
        response = client.request(method, path)
        assert response.status_code == 405
        assert response.headers["allow"] == "GET"


def test_a_round_without_a_model_is_not_recomputed(build: Build) -> None:
    world = build(parties=3)
    world.run_to(Phase.COMMIT, [world.keeper(1)], 1)
    with desk_of(world) as desk:
        state = desk.look()
        assert state["round"]["word"] == "committing"
        assert len(state["round"]["waiting"]) == 3
        client = TestClient(dashboard_app(desk.service))
        assert client.post("/api/recompute/1").status_code == 409
        assert client.post("/api/recompute/2").status_code == 404


def test_behind_a_proxy_it_is_served_under_its_path(desk: Desk) -> None:
    service = type(desk.service)(desk.service.board, desk.service.details, None, root_path="/flo")
    client = TestClient(dashboard_app(service))
    for path in ("/flo/", "/flo/page/app.js", "/flo/api/state", "/", "/api/state"):
        assert client.get(path).status_code == 200, path
    assert client.get("/flo", follow_redirects=False).headers["location"] == "/flo/"


def test_events_begin_with_the_state(desk: Desk) -> None:
    client = TestClient(dashboard_app(desk.service))
    with client.stream("GET", "/api/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in response.headers
        lines = []
        for line in response.iter_lines():
            lines.append(line)
            if line.startswith("data:"):
                break
        desk.service.board.close()
    assert lines[0] == "event: state"
    assert json.loads(lines[-1].removeprefix("data:"))["round"]["round"] == 1


def test_a_burst_of_pages_holds_no_more_streams_than_a_client_may(world: SmallFederation) -> None:
    """They ask at once, before a first event has been made; what they leave is given back."""
    with desk_of(world) as desk, serving(dashboard_app(desk.service), "127.0.0.1", 0) as url:
        desk.look()
        port = int(url.rpartition(":")[2])

        def ask() -> socket.socket:
            asked = socket.create_connection(("127.0.0.1", port), timeout=30)
            asked.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return asked

        def statuses(count: int) -> Counter[bytes]:
            with contextlib.ExitStack() as stack:
                asked = [stack.enter_context(ask()) for _ in range(count)]
                return Counter(one.recv(12)[9:] for one in asked)

        assert statuses(40) == {b"200": 16, b"429": 24}
        deadline = time.monotonic() + 30
        while statuses(16) != {b"200": 16}:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        desk.service.board.close()  # its streams end


def test_an_index_that_is_gone_is_told_without_its_path(
    desk: Desk, client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.service.details, "_path", tmp_path / "gone")
    for path in ("/api/rounds/1", "/api/accounts", "/api/accounts/0x" + "00" * 20):
        response = client.get(path)
        assert response.status_code == 503
        assert response.json() == {"error": "The index cannot be read at the moment."}
        assert response.headers["content-security-policy"] == POLICY
    given(client, "/api/state")


def test_a_hostile_name_stays_text(desk: Desk, client: TestClient) -> None:
    deadline = time.monotonic() + 30
    while given(client, "/api/state")["federation"]["name"] is None and time.monotonic() < deadline:
        time.sleep(0.05)
        desk.look()
    assert given(client, "/api/state")["federation"]["name"] == HOSTILE
    assert "script>alert" not in client.get("/").text
    assert to_json(desk.service.state())
