"""A federation on Anvil from the command line, from its creation to an accepted model."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from integration.anvil_node import anvil_node
from integration.anvil_site import Site, Weights
from safetensors.numpy import load_file
from support.flo import finish, flo, start_flo
from support.kubo_daemon import find_kubo, kubo_daemon
from support.terminal import Terminal

from fl_orchestrator.chain.types import Phase

SAMPLES = {"hospital": 20, "clinic": 70}


@pytest.fixture(params=["local store", "paris and Kubo"])
def site(request: pytest.FixtureRequest, tmp_path: Path, checkout: Path) -> Iterator[Site]:
    """A federation of two parties and an aggregator, before its first round.

    Once with Anvil's own rules and a directory as the store, once with those of consortium chains
    and an IPFS node.
    """
    with contextlib.ExitStack() as running:
        hardfork, store = None, f"file://{tmp_path}/store"
        if request.param == "paris and Kubo":
            program = find_kubo()
            if program is None:
                pytest.skip("no IPFS node program: install Kubo, or run scripts/build_kubo.sh")
            hardfork = "paris"
            store = running.enter_context(kubo_daemon(program, tmp_path / "ipfs")).url
        node = running.enter_context(anvil_node(checkout, tmp_path / "anvil.log", hardfork))
        site = Site(tmp_path, node, store)
        with node.mining_at_once():
            site.deploy().succeeded()
            site.admit_and_register(parties=list(SAMPLES), aggregators=["university"])
            funded = flo("federation", "fund", "1", *site.key("owner"), *site.on_chain())
            assert funded.succeeded().out == "Added 1 ETH to the reward pot.\n"
        yield site


def read(path: Path) -> Weights:
    return dict(np.load(path)) if path.suffix == ".npz" else load_file(path)


def fed_avg(base: Weights, updates: Sequence[tuple[Weights, int]]) -> Weights:
    """docs/protocol.md, section 3, in Fractions and plain integers, coordinate by coordinate.

    ``updates`` are the local weights of each party, with the weight that it counts with.
    """
    total = sum(weight for _, weight in updates)
    result = {}
    for name, values in base.items():
        states = [round(Fraction(float(v)) * 2**24) for v in values.ravel()]
        sums = [0] * len(states)
        for local, weight in updates:
            for i, (trained, state) in enumerate(zip(local[name].ravel(), states, strict=True)):
                view = np.float32(state / 2**24)
                difference = np.float64(trained) - np.float64(view)
                sums[i] += weight * max(-32767, min(32767, round(Fraction(difference) * 2**15)))
        averages = [floor(Fraction(2 * s + total, 2 * total)) for s in sums]
        states = [state + average * 2**9 for state, average in zip(states, averages, strict=True)]
        result[name] = np.array([s / 2**24 for s in states], np.float32).reshape(values.shape)
    return result


def test_two_parties_and_an_aggregator_make_the_model_that_anyone_can_recompute(
    site: Site,
) -> None:
    base = site.head_weights()
    files = {
        "hospital": site.trained("hospital", 1, ".npz"),
        "clinic": site.trained("clinic", 2, ".safetensors"),
    }
    submissions = {
        name: start_flo(*site.submission(name, path, SAMPLES[name]), "--json")
        for name, path in files.items()
    }
    attesting = start_flo("aggregator", "attest", *site.working("university"), "--json")
    kept = flo(*keeper_of(site))
    for process in submissions.values():
        assert finish(process).succeeded().json == {"round": 1, "revealed": True, "counted": True}
    attested = finish(attesting).succeeded().json

    head = site.federation.head()
    assert site.observe().current.phase is Phase.ACCEPTED
    assert attested == {
        "round": 1,
        "accepted": True,
        "head_round": 1,
        "head_root": "0x" + head.root.hex(),
        "head_cid": str(head.cid),
    }
    assert kept.succeeded().out == (
        f"Round 1 is accepted; the head is the model of round 1, {head.cid}.\n"
    )
    # ceil(samples / samples per weight): 20 / 24 and 70 / 24.
    right = fed_avg(base, [(read(files["hospital"]), 1), (read(files["clinic"]), 3)])
    found = site.head_weights()
    assert found.keys() == right.keys()
    for name, values in right.items():
        assert found[name].tobytes() == values.tobytes()

    (listed,) = flo("round", "list", "--json", *site.on_chain()).succeeded().json["rounds"]
    assert (listed["outcome"], listed["included"], listed["root"]) == (
        "accepted",
        2,
        attested["head_root"],
    )
    verify = ["model", "verify", "--all", "--store", site.store_url, *site.on_chain()]
    assert flo(*verify).succeeded().out == (
        f"round    1    2 updates  root {attested['head_root']}  recomputed and equal\n"
    )
    terminal = Terminal(verify, {"COLUMNS": "100"}, 60)
    assert terminal.finish() == 0
    for words in ("recomputing", "0/1", "recomputed and equal"):
        assert words in terminal.shown
    assert flo(*verify, "--json").succeeded().json["equal"] is True
    assert_rewards_come_with_finality(site)


def keeper_of(site: Site) -> list[str]:
    home = f"{site.directory}/home"
    return ["keeper", "run", "--rounds", "1", "--home", home, *site.key("owner"), *site.on_chain()]


def assert_rewards_come_with_finality(site: Site) -> None:
    """A keeper that goes on to the next round makes the last one final and pays for it."""
    site.node.pass_time(200_000)
    keeper = start_flo(*keeper_of(site), "--json")
    deadline = time.monotonic() + 60
    while not site.federation.distributed(1) or site.observe().current.phase is not Phase.COMMIT:
        assert time.monotonic() < deadline
        site.node.pass_time(1)
    # Nobody submits: the round is void when its time is over.
    site.node.pass_time(601)
    assert finish(keeper).succeeded().json["phase"] == "void"
    for name in (*SAMPLES, "university"):
        role = "party" if name in SAMPLES else "aggregator"
        status = flo(role, "status", site.address(name), *site.on_chain(), "--json").json
        # 0.01 ETH: a fifth to the aggregator, the rest in equal shares to the two parties.
        assert status["credit_wei"] == (4 if role == "party" else 2) * 10**15
