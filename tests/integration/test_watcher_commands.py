"""`flo watcher run` and `flo aggregator answer`, on Anvil."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.anvil_node import anvil_node
from integration.anvil_site import Site
from support.disputes import LyingAggregator, SilentStore, off_by_one
from support.flo import Finished, finish, flo, start_flo

from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.cli.site import role_home
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.roles.context import Context

PARTIES = {"hospital": 20, "clinic": 70}


@pytest.fixture
def site(tmp_path: Path, checkout: Path) -> Iterator[Site]:
    """A federation whose first round has its updates."""
    with anvil_node(checkout, tmp_path / "anvil.log") as node:
        site = Site(tmp_path, node)
        with node.mining_at_once():
            site.deploy().succeeded()
            site.admit_and_register(parties=list(PARTIES), aggregators=["university"])
            site.open_round()
        site.key("watcher")
        submissions = [
            start_flo(*site.submission(name, site.trained(name, seed), samples))
            for seed, (name, samples) in enumerate(PARTIES.items())
        ]
        for submission in submissions:
            finish(submission).succeeded()
        yield site


def watch(site: Site, *options: str) -> subprocess.Popen[str]:
    return start_flo("watcher", "run", *site.working("watcher"), *options)


def finish_with_time(site: Site, process: subprocess.Popen[str]) -> Finished:
    """Let the chain's time run faster until a process has ended."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        site.node.pass_time(10)
        time.sleep(0.5)
    return finish(process)


def accept_a_withheld_lie(site: Site) -> None:
    signer = site.signers["university"]
    context = Context(
        federation=site.federation,
        sender=Sender(site.federation.web3, signer, site.federation.reverts),
        store=SilentStore(site.directory / "store"),
        manifest=site.manifest,
        home=role_home(site.directory / "home", site.federation, signer.address),
    )
    aggregator = LyingAggregator(context)
    aggregator.lie = off_by_one()
    assert aggregator.step().action == "attest"
    assert site.observe().current.phase is Phase.ACCEPTED


def test_a_withheld_model_is_undone_by_one_command(site: Site) -> None:
    accept_a_withheld_lie(site)
    answering = start_flo("aggregator", "answer", *site.working("university"))
    found = finish(watch(site, "--once", "--json")).succeeded().json
    answering.send_signal(signal.SIGINT)
    assert finish(answering).succeeded().out == "Answered 2 demands.\n"
    # One demand for the root of two chunks, one for the chunk.
    sent = ("demand", "descend", "registerChallenge", "challenge", "slashSigner", "settleBond")
    assert {label: found["sent"][label] for label in sent} == dict.fromkeys(sent, 1) | {
        "settleBond": 2
    }
    assert (found["checked"], found["alerts"], found["head_round"]) == (1, [], 0)
    assert site.observe("university").aggregator.stake == 0
    again = flo("watcher", "run", *site.working("watcher"), "--once").succeeded()
    assert again.out == "Models computed again: 0.\nEvery model that stands is right.\n"


def test_an_update_that_nobody_has_is_told_with_its_signers(site: Site) -> None:
    flo("aggregator", "attest", *site.working("university")).succeeded()
    right = flo("watcher", "run", *site.working("watcher"), "--once").succeeded()
    assert right.out == "Models computed again: 1.\nEvery model that stands is right.\n"

    lost = site.federation.revealed_updates(0)[0]
    place = LocalStore(site.directory / "store").locate(lost.cid)
    assert place is not None
    place.unlink()
    elsewhere = ["--home", f"{site.directory}/other"]
    told = finish_with_time(site, watch(site, "--once", "--json", *elsewhere))
    assert told.code == 1
    (alert,) = told.json["alerts"]
    assert (alert["kind"], alert["round"]) == ("update unavailable", 1)
    assert (alert["party"], alert["cid"]) == (lost.party, str(lost.cid))
    assert alert["signers"] == [{"address": site.address("university"), "seat": 0}]
    assert "alert" in told.err

    shown = finish_with_time(site, watch(site, "--once", *elsewhere))
    assert shown.code == 1
    assert f"The update {lost.cid} of {lost.party}" in shown.out
    assert f"signed by {site.address('university')} (seat 0)" in shown.out


def test_a_watcher_runs_until_it_is_stopped(site: Site) -> None:
    watching = watch(site, "--log-format", "json")
    flo("aggregator", "attest", *site.working("university")).succeeded()
    assert watching.stderr is not None
    for line in watching.stderr:
        if json.loads(line).get("action") == "check":
            break
    second = flo("watcher", "run", *site.working("watcher"))
    second.refused(6, f"is in use by process {watching.pid}")
    watching.send_signal(signal.SIGINT)
    ended = finish(watching).succeeded()
    assert ended.out == "Models computed again: 1.\nEvery model that stands is right.\n"


def test_demands_are_answered_once_and_there_are_none(site: Site) -> None:
    answered = flo("aggregator", "answer", *site.working("university"), "--once", "--json")
    assert answered.succeeded().json == {"sent": {}}
