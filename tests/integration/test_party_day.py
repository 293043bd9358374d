"""A party's day beside a living chain: check, run, pause, alerts, rewards, and leaving."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from integration.anvil_node import AnvilNode, anvil_node
from integration.anvil_site import Site
from safetensors.numpy import load_file
from support.accounts import balance_of
from support.flo import PASSWORD, Finished, finish, flo, start_flo
from support.rpc import rpc_endpoint

from fl_orchestrator.chain.types import Phase

TRAINER = """
import numpy as np
from fl_orchestrator.training.data import Rows
from fl_orchestrator.training.numpy_logistic import NumpyLogistic

def rows(seed):
    draw = np.random.Generator(np.random.PCG64(seed))
    y = (np.arange(24) % 2).astype(np.int32)
    return Rows((draw.normal(0, 0.5, (24, 4)) + y[:, None]).astype(np.float32), y)

def make_trainer():
    return NumpyLogistic(rows({seed}), 2, rows(100))

class Diverges(NumpyLogistic):
    def fit(self, weights, config):
        return [weight * np.float32("nan") for weight in weights], 24, {{}}

def diverges():
    return Diverges(rows({seed}), 2)

def wider():
    return NumpyLogistic(Rows(np.zeros((3, 9), np.float32), np.zeros(3, np.int32)), 2)

def nothing():
    return None
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[AnvilNode]:
    with anvil_node(checkout, tmp_path_factory.mktemp("anvil") / "log") as node:
        yield node


def new_site(directory: Path, node: AnvilNode, *parties: str) -> Site:
    """A federation whose manifest a trainer has described, with an aggregator and these parties."""
    site = Site(directory, node)
    for seed, name in enumerate(("hospital", "clinic")):
        (directory / f"{name}.py").write_text(TRAINER.format(seed=seed))
    for file in ("manifest.json", "genesis.npz"):
        (directory / file).unlink()
    described = flo(
        *("manifest", "create", "--trainer", f"{directory}/hospital.py", "--name", "day"),
        *("--loss", "sparse_categorical_crossentropy", "--learning-rate", "0.1"),
        *("--output", f"{directory}/manifest.json", "--weights", f"{directory}/genesis.npz"),
    ).succeeded()
    assert "fraction bits" in described.out
    with node.mining_at_once():
        site.deploy().succeeded()
        site.admit_and_register(parties=parties, aggregators=["university"])
        flo("federation", "fund", "1", *site.key("owner"), *site.on_chain()).succeeded()
    return site


@pytest.fixture
def site(tmp_path: Path, node: AnvilNode) -> Site:
    return new_site(tmp_path, node, "hospital", "clinic")


def settings(site: Site, name: str, **more: str) -> Path:
    """The settings file of a party, which has a store of its own."""
    lines = {
        "rpc": site.node.url,
        "federation": site.federation.address,
        "key": f"{name}.json",
        "password-file": "password",
        "home": "home",
        "store": site.store_url,
        **more,
    }
    file = site.directory / f"{name}.toml"
    file.write_text("".join(f'{key} = "{value}"\n' for key, value in lines.items()))
    with file.open("a") as end:
        end.write(f'[party]\ntrainer = "{name}.py:make_trainer"\n')
    return file


def party(file: Path, command: str, *options: str) -> list[str]:
    return ["--config", str(file), "party", command, *options]


@contextlib.contextmanager
def running(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    process = start_flo(*arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stopped(process: subprocess.Popen[str]) -> Finished:
    process.send_signal(signal.SIGTERM)
    return finish(process)


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def figures(port: int) -> str:
    with (
        contextlib.suppress(OSError),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
    ):
        return str(answer.read().decode())
    return ""


# ------------------------------------------------------------------ the whole day


def test_a_hospital_without_coin_and_a_clinic_that_is_picky_take_part(site: Site) -> None:
    relay, metrics = free_port(), free_port()
    # Its own store is empty, and all that it reaches is the relay: and the chain's endpoint.
    hospital = settings(site, "hospital", store=f"file://{site.directory}/own-store")
    clinic = settings(site, "clinic")
    flo(*party(hospital, "check", "--relay", f"http://127.0.0.1:{relay}")).refused(4)
    site.node.rpc("anvil_setBalance", site.address("hospital"), "0x0")
    home = ["--home", f"{site.directory}/home", "--store", site.store_url]
    keeper = ["keeper", "run", *site.key("owner"), *site.on_chain(), *home, "--rounds", "1"]
    attesting = ["aggregator", "run", *site.working("university")]
    url = f"http://127.0.0.1:{relay}"
    with (
        running(*keeper, "--relay", f"127.0.0.1:{relay}", "--settle") as kept,
        running(*attesting),
    ):
        wait_until(lambda: _listens(relay))
        checked = flo(*party(hospital, "check", "--relay", url, "--json")).succeeded().json
        assert checked["samples"] == 24
        assert checked["from"].startswith("the model of round")
        picky = ["--alert-below", "accuracy=1.1", "--metrics", str(metrics)]
        with (
            running(*party(hospital, "run", "--rounds", "1", "--relay", url, "--json")) as one,
            running(*party(clinic, "run", *picky)) as other,
        ):
            done = finish(one).succeeded().json["done"]
            wait_until(lambda: "flo_model_refused 1.0" in figures(metrics))
            wait_until(lambda: 'flo_model{metric="accuracy"}' in figures(metrics))
            refusing = stopped(other).succeeded()
        site.node.pass_time(200_000)
        finish(kept).succeeded()
    assert done["post commit"] == done["post reveal"] == 1
    assert "commit" not in done
    assert_in_use(site, hospital)
    assert_measured(hospital, clinic)
    assert "alert: the new global model is not taken into use" in refusing.err
    assert "below 1.1" in refusing.err
    assert not list(site.directory.glob("home/*/*/current.*"))[1:]
    assert_rewards(site, clinic)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def assert_in_use(site: Site, hospital: Path) -> None:
    """The hospital has the head's model, and status says so."""
    status = flo(*party(hospital, "status", "--json")).succeeded().json
    assert status["address"] == site.address("hospital")
    assert (status["model_in_use_round"], status["paused"]) == (1, False)
    found = load_file(status["model_in_use"])
    head = site.head_weights()
    assert found.keys() == head.keys()
    assert all(found[name].tobytes() == head[name].tobytes() for name in head)
    assert balance_of(site.federation.web3, site.address("hospital")) == 0


def assert_measured(hospital: Path, clinic: Path) -> None:
    """Both know how well the models did on their rows, and why one was refused."""
    first, last = flo(*party(hospital, "history", "--json")).succeeded().json["rounds"]
    assert (first["round"], last["round"], last["rows"], last["refused"]) == (0, 1, 24, [])
    assert last["global_model"]["loss"] < first["global_model"]["loss"]
    (refused,) = flo(*party(clinic, "history", "--json")).succeeded().json["rounds"][-1]["refused"]
    assert "below 1.1" in refused


def assert_rewards(site: Site, clinic: Path) -> None:
    """A round pays 0.008 ETH to two parties in equal shares."""
    shown = flo(*party(clinic, "rewards", "--json")).succeeded().json
    assert shown["credit_wei"] == 4 * 10**15
    assert shown["beneficiary"] == site.address("clinic")
    before = balance_of(site.federation.web3, site.address("clinic"))
    would = flo(*party(clinic, "rewards", "--collect", "--dry-run")).succeeded()
    assert would.out.startswith("Would pay 0.004 ETH")
    assert balance_of(site.federation.web3, site.address("clinic")) == before
    assert flo(*party(clinic, "rewards", "--collect")).succeeded().out.startswith("Paid 0.004 ETH")
    assert balance_of(site.federation.web3, site.address("clinic")) > before + 3 * 10**15
    flo(*party(clinic, "rewards", "--collect")).refused(3, "has no rewards to collect")


def test_a_paused_party_reveals_what_it_owes_and_commits_to_nothing_more(site: Site) -> None:
    file = settings(site, "hospital")
    with site.node.mining_at_once():
        site.open_round()
    with running(*party(file, "run")) as process:
        wait_until(lambda: site.observe("hospital").committed.round == 1)
        paused = flo(*party(file, "pause")).succeeded()
        assert "Keep it running: the update of round 1 is committed and not revealed" in paused.out
        flo(*party(file, "run")).refused(6, "is in use by process")
        # The clinic never commits: the phase runs to its end.
        site.node.pass_time(601)
        wait_until(lambda: site.observe("hospital").committed.revealed)
        assert flo(*party(file, "pause", "--json")).succeeded().json["owes_reveal"] is False
        site.node.pass_time(601)
        wait_until(lambda: site.observe().current.phase is Phase.VOID)
        with site.node.mining_at_once():
            site.open_round()
        time.sleep(3)  # blocks in which it could have committed
        assert site.observe("hospital").committed.round == 1
        assert flo(*party(file, "status", "--json")).succeeded().json["paused"] is True
        flo(*party(file, "pause", "--resume")).succeeded()
        wait_until(lambda: site.observe("hospital").committed.round == 2)
        ended = stopped(process).succeeded()
    assert "Stopped. Done: commit 2" in ended.out


def test_a_party_adds_to_a_stake_that_may_have_become_too_small(
    tmp_path: Path, node: AnvilNode
) -> None:
    site = new_site(tmp_path, node)
    site.admit_and_register(parties=["hospital"], aggregators=[])
    file = settings(site, "hospital")
    would = flo(*party(file, "deposit", "0.05", "--dry-run")).succeeded()
    assert "Would add 0.05 ETH to the 0.1 ETH of" in would.out
    assert "is 0.15 ETH" in flo(*party(file, "deposit", "0.05")).succeeded().out
    added = flo(*party(file, "deposit", "0.01", "--json")).succeeded()
    assert json.loads(added.out)["stake_wei"] == 16 * 10**16
    flo(*party(file, "deposit", "0")).refused(3, "zero")


def test_a_stake_is_asked_back_and_paid_when_it_is_due(tmp_path: Path, node: AnvilNode) -> None:
    site = new_site(tmp_path, node)
    site.key("heir")
    site.admit_and_register(parties=[], aggregators=[])
    key = site.key("hospital")
    admit = ["federation", "admit", site.address("hospital"), *site.key("owner"), *site.on_chain()]
    flo(*admit).succeeded()
    heir = site.address("heir")
    flo("party", "register", *key, *site.on_chain(), "--beneficiary", heir).succeeded()
    file = settings(site, "hospital")
    would = flo(*party(file, "withdraw", "--dry-run")).succeeded()
    assert "Would request 0.1 ETH back" in would.out
    assert "due in 7 d" in would.out
    assert site.observe("hospital").party.unbond_at == 0
    asked = flo(*party(file, "withdraw")).succeeded()
    assert "Requested 0.1 ETH back" in asked.out
    assert "in 7 d, on 20" in asked.out
    flo(*party(file, "withdraw")).refused(3, "0.1 ETH is due in", "Run the command again then")
    node.pass_time(604_900)
    before = balance_of(site.federation.web3, heir)
    # The party's key is lost: its beneficiary has one of its own.
    account = ["--account", site.address("hospital"), "--home", f"{tmp_path}/home"]
    other = ["party", "withdraw", *site.key("heir"), *site.on_chain(), *account]
    assert flo(*other, "--json").succeeded().json["beneficiary"] == heir
    assert balance_of(site.federation.web3, heir) > before + 99 * 10**15
    flo(*party(file, "withdraw")).refused(3, "has no stake as party")
    aggregator = ["aggregator", "withdraw", *site.working("university")[:-4]]
    asked = flo(*aggregator, "--home", f"{tmp_path}/home", "--dry-run").succeeded()
    assert "Would request 1 ETH back" in asked.out


# ------------------------------------------------------------------ what can be wrong


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory, node: AnvilNode) -> Site:
    """A federation in which round 1 is open and nobody commits."""
    site = new_site(tmp_path_factory.mktemp("joined"), node, "hospital", "clinic")
    site.key("outsider")
    with node.mining_at_once():
        site.open_round()
    return site


def test_what_is_wrong_with_a_trainer_is_said_before_anything_is_sent(joined: Site) -> None:
    file, directory = settings(joined, "hospital"), joined.directory
    (directory / "broken.py").write_text("def make_trainer(:\n")

    def run(trainer: str, *options: str) -> Finished:
        return flo(*party(file, "run", "--trainer", f"{directory}/{trainer}", *options))

    run("missing.py").refused(2, "missing.py does not exist")
    run("broken.py").refused(2, "broken.py, line 1: invalid syntax")
    run("hospital.py:make").refused(2, "has no function 'make'")
    run("hospital.py:nothing").refused(2, "returned None, which has no fit and no evaluate")
    wrong = ("dense/kernel (9, 2) is dense/kernel (4, 2) in the federation's manifest",)
    run("hospital.py:wider").refused(2, *wrong)
    flo(*party(file, "check", "--trainer", f"{directory}/hospital.py:wider")).refused(2, *wrong)
    diverged = party(file, "check", "--trainer", f"{directory}/hospital.py:diverges")
    flo(*diverged).refused(5, "NaN or infinite", "lower the learning rate")
    run("hospital.py", "--alert-below", "accuracy").refused(2, "'accuracy' is no bound")
    run("hospital.py", "--alert-above", "los=1").refused(2, "'los'", "It reports loss, accuracy")
    run("hospital.py", "--current", "model.h5").refused(2, ".safetensors or .npz")
    assert joined.observe("hospital").committed.round == 0


def test_what_is_wrong_with_a_site_is_said_before_anything_is_sent(
    joined: Site, tmp_path: Path
) -> None:
    file = settings(joined, "hospital")

    def run(*options: str) -> Finished:
        return flo(*party(file, "run", *options))

    run("--chain-id", "1").refused(3, "serves chain 31337, not 1")
    nowhere = "0x" + "12" * 20
    run("--strict", "--federation", nowhere).refused(3, "no federation of this version at")
    run("--federation", "0x12").refused(2, "is not an address")
    run("--strict", "--store", f"file://{tmp_path}/empty").refused(4, "is not in the store")
    run("--store", "").refused(2, "needs --store", "FLO_STORE", "flo.toml")
    (tmp_path / "pw").write_text("wrong")
    run("--password-file", f"{tmp_path}/pw").refused(6, "The password does not open")
    run("--strict", "--rpc", "http://127.0.0.1:1").refused(3, "http://127.0.0.1:1 does not answer")
    outsider = settings(joined, "outsider")
    (joined.directory / "outsider.py").write_text(TRAINER.format(seed=3))
    flo(*party(outsider, "run")).refused(3, "is not registered as a party", "flo party register")
    flo(*party(outsider, "pause")).refused(3, "is not registered as a party")
    flo(*party(outsider, "withdraw")).refused(3, "has no stake as party")
    (tmp_path / "password").write_text(PASSWORD)
    assert joined.observe("hospital").committed.round == 0


def test_a_party_whose_training_diverges_or_that_has_no_coin_says_so_and_goes_on(
    joined: Site,
) -> None:
    file = settings(joined, "clinic")
    node, address = joined.node, joined.address("clinic")
    node.rpc("anvil_setBalance", address, "0x0")
    port = free_port()
    command = party(file, "run", "--metrics", str(port))
    with running(*command, "--trainer", f"{joined.directory}/clinic.py:diverges") as process:
        # The party has its turn after that.
        wait_until(lambda: 'action="evaluate model"' in figures(port))
        time.sleep(1)
        ended = stopped(process).succeeded()
    assert "sits out" in ended.err
    assert "NaN or infinite" in ended.err
    assert "has no coin for gas" in ended.err
    with running(*command) as process:
        wait_until(lambda: 'kind="InsufficientFunds"' in figures(port))
        assert process.poll() is None
        ended = stopped(process).succeeded()
    assert "Send coin to the account first" in ended.err
    assert joined.observe("clinic").committed.round == 0
    node.give(address)
    with running(*party(file, "run")) as process:
        wait_until(lambda: joined.observe("clinic").committed.round == 1)


def test_the_same_seed_prepares_the_same_update(joined: Site) -> None:
    """Here the check's, which is what a rehearsal is for."""
    file = settings(joined, "hospital")
    roots = {flo(*party(file, "check", "--json")).succeeded().json["root"] for _ in range(2)}
    assert len(roots) == 1
    assert np.frombuffer(bytes.fromhex(roots.pop()[2:]), np.uint8).any()


def test_a_party_that_starts_before_the_chain_and_the_store_waits_for_them(
    joined: Site, tmp_path: Path
) -> None:
    late, port = tmp_path / "late", free_port()
    with rpc_endpoint() as endpoint:
        endpoint.status = 503
        file = settings(joined, "hospital", rpc=endpoint.url, store=f"file://{late}")
        with running(*party(file, "run", "--metrics", str(port))) as process:
            wait_until(lambda: endpoint.requests > 2)
            assert process.poll() is None
            endpoint.forwards_to = joined.node.url
            wait_until(lambda: health(port) == "waiting for the manifest\n")
            shutil.copytree(joined.directory / "store", late, dirs_exist_ok=True)
            wait_until(lambda: 'action="evaluate model"' in figures(port))
            assert health(port) == "ok\n"
            ended = stopped(process).succeeded()
        endpoint.forwards_to, before = "", endpoint.requests
        with running(*party(file, "run")) as process:
            wait_until(lambda: endpoint.requests > before + 2)
            assert "waiting for the chain" in stopped(process).succeeded().err
    assert ended.err.count("waiting for the manifest") == 1


def health(port: int) -> str:
    """The body of /healthz, or nothing."""
    with contextlib.suppress(OSError):
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).text
    return ""
