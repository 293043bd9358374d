"""Commands that are stopped at every moment that matters, and run again, on Anvil.

"One command that can be interrupted and repeated": whatever stopped it, it goes on where it was,
with the same update under the same commitment.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from integration.anvil_node import anvil_node
from integration.anvil_site import Site, secret_of
from integration.held_node import HeldNode, held_node
from pydantic_core import from_json
from support.flo import PASSWORD, finish, flo, start_flo

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore

COMMIT_PERIOD = 600
START_SECONDS = 60.0


@pytest.fixture
def site(tmp_path: Path, checkout: Path) -> Iterator[Site]:
    """An open round of two parties, one of which never does anything: phases last their time."""
    with anvil_node(checkout, tmp_path / "anvil.log") as node:
        site = Site(tmp_path, node)
        with node.mining_at_once():
            site.deploy().succeeded()
            site.admit_and_register(parties=["hospital", "absent"], aggregators=["university"])
            site.open_round()
        yield site


@pytest.fixture
def held(site: Site) -> Iterator[HeldNode]:
    with held_node(site.node.url) as held:
        yield held


def kill_at_transaction(
    held: HeldNode,
    moment: Literal["before", "after"],
    arguments: list[str],
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Start a command and kill it when it sends its next transaction."""
    held.hold(moment)
    process = start_flo(*arguments)
    try:
        meanwhile()
        held.wait()
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def journal(site: Site) -> dict[str, str]:
    (entry,) = (site.directory / "home").glob("*/*/journal/round-1/commitment.json")
    return from_json(entry.read_bytes())  # type: ignore[no-any-return]


def wait_for(process: subprocess.Popen[str], start: str) -> None:
    """Read what a process says until a line of it starts like this."""
    assert process.stderr is not None
    for said in process.stderr:
        if said.startswith(start):
            return
    raise AssertionError(f"the process ended and never said {start!r}")


def test_a_submission_killed_at_any_moment_goes_on_with_the_same_update(
    site: Site, held: HeldNode
) -> None:
    submission = site.submission("hospital", site.trained("hospital", 1), node=held.url)
    store = LocalStore(site.directory / "store")

    kill_at_transaction(held, "before", submission)
    assert site.observe("hospital").committed.round == 0
    committed = journal(site)

    kill_at_transaction(held, "after", submission)
    site.node.rpc("evm_mine")
    seen = site.observe("hospital")
    assert seen.current.phase is Phase.COMMIT
    assert seen.committed.commitment == bytes.fromhex(committed["commitment"])[:26]
    # The commit phase is open: nobody else may have the update yet.
    assert not store.has(Cid.parse(committed["cid"]))

    moved = [*submission, "--home", f"{site.directory}/other"]
    flo(*moved).refused(3, "has committed in round 1", f"{site.directory}/other", "costs stake")

    # It waits for the end of the commit phase, and is killed when it would reveal.
    kill_at_transaction(held, "before", submission, lambda: site.node.pass_time(COMMIT_PERIOD + 1))
    assert store.has(Cid.parse(committed["cid"]))
    assert not site.observe("hospital").committed.revealed

    kill_at_transaction(held, "after", submission)
    site.node.rpc("evm_mine")
    assert site.observe("hospital").committed.revealed

    again = flo(*submission).succeeded()
    assert again.out.startswith("The update of round 1 was revealed before; nothing was sent.")
    (reveal,) = site.federation.revealed_updates(0, round_number=1)
    assert reveal.root.hex() == committed["root"]
    assert journal(site) == committed
    attest_through_kills(site, held)


def attest_through_kills(site: Site, held: HeldNode) -> None:
    attestation = ["aggregator", "attest", *site.working("university", held.url)]
    kill_at_transaction(held, "before", attestation)
    assert site.observe().current.phase is Phase.ATTEST
    kill_at_transaction(held, "after", attestation)
    site.node.rpc("evm_mine")
    assert site.observe().current.phase is Phase.ACCEPTED
    assert flo(*attestation).succeeded().out == "Attested to round 1: accepted.\n"


def assert_no_secret(text: str) -> None:
    assert PASSWORD not in text
    for name in ("hospital", "university"):
        assert secret_of(name).hex() not in text


def test_ctrl_c_says_how_to_go_on_and_the_command_goes_on(site: Site) -> None:
    submission = site.submission("hospital", site.trained("hospital", 1))
    attestation = ["aggregator", "attest", *site.working("university")]
    submitting, attesting = start_flo("--debug", *submission), start_flo(*attestation)
    wait_for(submitting, "commit")
    wait_for(attesting, "Round 1: the commit phase ends in")
    for process in (submitting, attesting):
        process.send_signal(signal.SIGINT)
        stopped = finish(process)
        assert stopped.code == 130
        assert stopped.out == ""
        assert stopped.err.endswith(
            "Interrupted.\nNothing is lost: run the same command again to continue.\n"
        )
        assert ("Traceback" in stopped.err) == (process is submitting)
        assert_no_secret(stopped.err)
    assert not site.observe("hospital").committed.revealed

    site.node.pass_time(COMMIT_PERIOD + 1)
    revealed = flo("--debug", *submission).succeeded()
    assert revealed.out == "Revealed in round 1.\n"
    assert_no_secret(revealed.err)
    assert flo(*attestation, "--json").succeeded().json["accepted"] is True
