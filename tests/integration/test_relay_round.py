"""A keeper's relay as a process on Anvil: parties without coin, floods, deaths, and lies."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from integration.anvil_node import anvil_node
from integration.anvil_site import Site
from support.accounts import balance_of
from support.flo import finish, flo, start_flo

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.relay.messages import CommitMessage, RevealMessage
from fl_orchestrator.roles.party.journal import Journal, OpenCommitment
from fl_orchestrator.roles.vectors import Origin

COMMIT_PERIOD = 600
WAIT_SECONDS = 90.0


@pytest.fixture
def site(tmp_path: Path, checkout: Path) -> Iterator[Site]:
    """A federation of two parties and an aggregator; no round is open."""
    with anvil_node(checkout, tmp_path / "anvil.log") as node:
        site = Site(tmp_path, node)
        with node.mining_at_once():
            site.deploy().succeeded()
            site.admit_and_register(parties=["hospital", "clinic"], aggregators=["university"])
        yield site


class KeeperProcess:
    """`flo keeper run` with a relay at an address that stays the same."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._address = "127.0.0.1:0"
        self.url = ""
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        options = [*self._site.working("keeper"), "--relay", self._address, "--json"]
        process = start_flo("keeper", "run", "--rounds", "1", "--settle", *options)
        assert process.stderr is not None
        self.url = next(line for line in process.stderr if line.startswith("The relay is at "))
        self.url = self.url.removeprefix("The relay is at ").strip().rstrip(".")
        self._address = self.url.removeprefix("http://")
        return process

    def kill_and_restart(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.process = self._start()


@pytest.fixture
def keeper(site: Site) -> Iterator[KeeperProcess]:
    keeper = KeeperProcess(site)
    yield keeper
    keeper.process.kill()
    keeper.process.communicate()


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def submit(site: Site, name: str, seed: int, relay: str) -> subprocess.Popen[str]:
    """Start a submission by way of a relay, with a store that nobody else sees."""
    arguments = site.submission(name, site.trained(name, seed))
    own = (site.directory / f"store of {name}").as_uri()
    return start_flo(*arguments, "--store", own, "--relay", relay, "--json")


def entry_of(site: Site, name: str) -> OpenCommitment | None:
    """A party's open commitment in round 1, if it has one."""
    chain = site.federation
    home = site.directory / "home" / f"{chain.chain_id}-{chain.address.lower()}"
    origin = Origin(chain.chain_id, chain.address)
    return Journal(home / site.address(name).lower() / "journal", origin).load(1)


def take_coin(site: Site, *names: str) -> None:
    for name in names:
        site.node.rpc("anvil_setBalance", site.address(name), "0x0")


def flood(site: Site, url: str, host: str) -> list[int]:
    """Post junk as from one address behind the proxy; the statuses of the answers."""
    signed = site.federation.sign_commit(site.signers["owner"], 1, b"\1" * 32)
    body = CommitMessage.of(1, signed).model_dump_json()
    headers = {"X-Forwarded-For": host}

    def post(count: int) -> list[int]:
        # Over one connection: what is allowed is counted by the minute.
        with requests.Session() as session:
            session.headers.update(headers)
            answers = (session.post(f"{url}/v1/commits", body, timeout=20) for _ in range(count))
            return [answer.status_code for answer in answers]

    with ThreadPoolExecutor(8) as pool:
        return [status for statuses in pool.map(post, [80] * 8) for status in statuses]


def test_parties_without_any_coin_take_part_through_a_relay_that_dies(
    site: Site, keeper: KeeperProcess
) -> None:
    """They have a key, a directory and outbound HTTP; their keeper is flooded and killed."""
    take_coin(site, "hospital", "clinic")
    eventually(lambda: site.observe().current.phase is Phase.COMMIT)
    hospital = submit(site, "hospital", 1, keeper.url)
    statuses = flood(site, keeper.url, "198.51.100.7")
    assert set(statuses) == {403, 429}
    eventually(lambda: waits_in(site, "commit") == 1)
    assert_nothing_of_an_open_phase(site, keeper.url)

    # It has taken the commit, and gathers more; nothing is on the chain.
    assert site.observe("hospital").committed.round == 0
    keeper.kill_and_restart()
    clinic = submit(site, "clinic", 2, keeper.url)
    eventually(lambda: site.observe().current.commits == 2)

    attesting = start_flo(
        "aggregator", "attest", *site.working("university"), "--relay", keeper.url, "--json"
    )
    for process in (hospital, clinic):
        assert finish(process).succeeded().json == {"round": 1, "revealed": True, "counted": True}
    assert finish(attesting).succeeded().json["accepted"] is True
    assert keeper.process.poll() is None
    site.node.pass_time(200_000)
    kept = finish(keeper.process).succeeded().json
    assert (kept["round"], kept["phase"]) == (1, "accepted")
    assert site.federation.distributed(1)
    assert_others_paid(site)


def waits_in(site: Site, kind: str) -> int:
    """How many messages of a kind are in the keeper's file."""
    (path,) = (site.directory / "home").glob("*/*/relay/box.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as box:
        query = "SELECT COUNT(*) FROM messages WHERE name LIKE ? || ' %'"
        (row,) = box.execute(query, [kind]).fetchall()
    return int(row[0])


def assert_nothing_of_an_open_phase(site: Site, url: str) -> None:
    """Neither does the relay take the update before the commit phase has closed, nor have it."""
    entry = entry_of(site, "hospital")
    assert entry is not None
    preimage = RevealMessage.of(1, entry.update).model_dump_json()
    cid = entry.update.cid
    assert requests.post(f"{url}/v1/uploads", preimage, timeout=20).status_code == 425
    with entry.path.open("rb") as file:
        assert requests.put(f"{url}/v1/uploads/{cid}", file, timeout=20).status_code == 404
    assert requests.get(f"{url}/ipfs/{cid}", timeout=20).status_code == 404
    for store in ("store", "store of hospital"):
        assert not LocalStore(site.directory / store).has(cid)


def assert_others_paid(site: Site) -> None:
    """The parties never sent anything, and their updates are in the keeper's store."""
    web3 = site.federation.web3
    updates = site.federation.revealed_updates(0, round_number=1)
    assert {update.party for update in updates} == {
        site.address("hospital"),
        site.address("clinic"),
    }
    for update in updates:
        assert balance_of(web3, update.party) == 0
        assert LocalStore(site.directory / "store").has(update.cid)


def assert_a_relay_needs_a_store_and_an_address(site: Site, taken: str) -> None:
    keeper = ["keeper", "run", *site.key("keeper"), *site.on_chain()]
    keeper += ["--home", f"{site.directory}/home"]
    flo(*keeper, "--relay", "127.0.0.1:0").refused(2, "--store")
    stored = [*keeper, "--store", site.store_url]
    flo(*stored, "--relay", "https://keeper.example").refused(2, "HOST:]PORT")
    flo(*stored, "--relay", taken.removeprefix("http://")).refused(2, "Cannot listen")


class Liar(BaseHTTPRequestHandler):
    """Says that it has done whatever it is asked, and does nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        body = b'{"stored": true, "waiting": true}'
        self.send_response(404 if self.path.startswith("/ipfs/") else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.do_POST()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def liar() -> Iterator[tuple[str, list[str]]]:
    """A relay that lies: its URL, and what it was asked."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Liar) as server:
        server.asked = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", server.asked  # type: ignore[attr-defined]
        server.shutdown()


def test_a_relay_that_lies_about_inclusion_costs_half_of_each_phase_and_no_more(
    site: Site, liar: tuple[str, list[str]]
) -> None:
    url, asked = liar
    assert_a_relay_needs_a_store_and_an_address(site, url)
    with site.node.mining_at_once():
        site.open_round()
    arguments = site.submission("hospital", site.trained("hospital", 1))
    hospital = start_flo(*arguments, "--relay", url, "--json")
    eventually(lambda: "/v1/commits" in asked)
    assert site.observe("hospital").committed.round == 0
    site.node.pass_time(COMMIT_PERIOD // 2)
    eventually(lambda: site.observe("hospital").committed.round == 1)
    assert not [path for path in asked if "uploads" in path]
    site.node.pass_time(COMMIT_PERIOD // 2)
    eventually(lambda: "/v1/reveals" in asked)
    assert not site.observe("hospital").committed.revealed
    seen = site.observe()
    site.node.pass_time((seen.current.reveal_end - seen.timestamp) // 2 + 5)
    finished = finish(hospital).succeeded()
    assert finished.json == {"round": 1, "revealed": True, "counted": True}
