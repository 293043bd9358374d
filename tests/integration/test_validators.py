"""A federation on a chain of four validators, some of which die and come back."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.validators import Consortium, wait_for

from fl_orchestrator.chain.types import Observation
from fl_orchestrator.units import ETHER
from network.engines import ENGINES, program
from network.network import Engine, Network, Validator, create, load
from network.validators import Validators, rpc, running

CHAIN_ID = 20_250
# Gas of a byte of calldata that is not zero, and the most that a transaction may use (EIP-7825).
CALLDATA_GAS = {"clique": 16, "istanbul": 100}
TRANSACTION_GAS = 2**24
# Longer than three validators ever take for a block.
STALLED_SECONDS = 4.0
# A dead validator whose turn it is costs the others of Istanbul 10 s and more.
PATIENCE_SECONDS = 120.0


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path, parties=3, aggregators=2)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    found = ENGINES[request.param]
    try:
        program(found)
    except subprocess.CalledProcessError:
        pytest.skip(f"scripts/{found.build} has no program for {found.name}")
    return found


@pytest.fixture
def validators(tmp_path: Path, consortium: Consortium, engine: Engine) -> Iterator[Validators]:
    """Four validators, with a block every second."""
    network = create(tmp_path / "network", engine, consortium.balances(), CHAIN_ID, period=1)
    with running(network) as validators:
        yield validators


def test_a_federation_outlives_one_dead_validator_and_waits_while_two_are_dead(
    validators: Validators, consortium: Consortium
) -> None:
    first, second, third, fourth = validators.network.validators
    consortium.deploy(validators.network.urls)
    chain = consortium.federation(third.url, fourth.url)

    def accepted(height: int) -> None:
        """Wait for the model at a height."""
        wait_for(
            lambda: chain.observe(consortium.owner.address),
            lambda seen: seen.head.height >= height,
            PATIENCE_SECONDS,
        )

    def observe_after(seconds: float) -> Observation:
        time.sleep(seconds)
        return chain.observe(consortium.owner.address)

    with consortium.working():
        accepted(1)
        validators.kill(first)
        accepted(2)

        validators.kill(second)
        # The two that are left sign at most one block each, in their time.
        stalled = observe_after(2 * STALLED_SECONDS)
        assert observe_after(STALLED_SECONDS) == stalled

        validators.start([first, second])
        accepted(stalled.head.height + 1)

    seen = wait_for_agreement(validators, consortium)
    # No round was void: what was under way when the chain stopped went on where it was.
    assert seen == list(range(1, len(seen) + 1))
    assert consortium.recomputed_roots(chain) == [
        chain.model(height).root for height in range(1, len(seen) + 1)
    ]


def test_a_wrong_model_is_undone_and_its_signers_lose_their_stakes(
    validators: Validators, consortium: Consortium
) -> None:
    consortium.deploy(validators.network.urls)
    chain = consortium.federation()

    def stakes() -> list[int]:
        return [chain.observe(key.address).aggregator.stake for key in consortium.aggregators]

    before = stakes()

    def slashed(_seen: Observation) -> bool:
        return all(now < then for now, then in zip(stakes(), before, strict=True))

    with consortium.working(colluding=True):
        seen = wait_for(
            lambda: chain.observe(consortium.owner.address), slashed, 2 * PATIENCE_SECONDS
        )
    assert seen.head.height == 0
    assert seen.credit > 0


def test_a_challenge_of_100_updates_fits_into_a_transaction_at_the_chains_price(
    tmp_path: Path, checkout: Path, engine: Engine
) -> None:
    def dispute(*options: object) -> str:
        command = [sys.executable, "-m", "_gas.network", *map(str, options)]
        done = subprocess.run(
            command, cwd=checkout / "benchmarks", capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    balances = {dispute(): 100_000 * ETHER}
    network = create(tmp_path / "network", engine, balances, CHAIN_ID, period=1)
    with running(network) as validators:
        url = validators.network.urls[0]
        few, many = (json.loads(dispute("--url", url, "--parties", count)) for count in (10, 100))
    for challenge in (few, many):
        # The vectors are random: few bytes are zero, which are cheaper on some chains.
        price = challenge["gas"] / challenge["bytes"]
        assert CALLDATA_GAS[engine.name] < price < 2 * CALLDATA_GAS[engine.name] + 60
    assert few["gas"] < many["gas"] < TRANSACTION_GAS


def wait_for_agreement(validators: Validators, consortium: Consortium) -> list[int]:
    """Wait until every validator has the same history; the rounds of it."""
    everybody = validators.network.validators
    height = wait_for_blocks(validators.network, 0)
    wait_for_blocks(validators.network, height + 3)
    views = [consortium.federation(validator.url) for validator in everybody]
    assert len({bytes(view.web3.eth.get_block(height)["hash"]) for view in views}) == 1
    # Two that came back at the same time find each other at a later try.
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS
    while [rpc(validator, "net_peerCount") for validator in everybody] != ["0x3"] * 4:
        assert time.monotonic() < deadline
        time.sleep(1)
    models = [[view.model(h) for h in range(1, view.head().height + 1)] for view in views]
    assert all(history == models[0] for history in models)
    return [model.round for model in models[0]]


def test_the_script_goes_on_where_it_was_stopped(
    tmp_path: Path, checkout: Path, engine: Engine
) -> None:
    directory = tmp_path / "network"
    funded = "0x" + "11" * 20
    options = ("--fund", funded, "--engine", engine.name, "--period", "1")
    with script(checkout, directory, *options):
        network = load(directory)
        height = wait_for_blocks(network, 2)
    assert not any(answers(validator) for validator in network.validators)
    with script(checkout, directory, ends_by=signal.SIGHUP):
        assert wait_for_blocks(network, height + 1) > height
        assert int(rpc(network.validators[3], "eth_getBalance", funded, "latest"), 16) > 0
    assert not any(answers(validator) for validator in network.validators)


@contextmanager
def script(
    checkout: Path, directory: Path, *options: str, ends_by: signal.Signals = signal.SIGTERM
) -> Iterator[None]:
    """`python -m network`, once it shows the endpoints; it is asked to end when the block ends."""
    command = [sys.executable, "-m", "network", str(directory), *options]
    process = subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert any(line.startswith("All endpoints: --rpc http://") for line in process.stdout)
        yield
    finally:
        process.send_signal(ends_by)
        assert process.wait(PATIENCE_SECONDS) == 0


def wait_for_blocks(network: Network, height: int) -> int:
    """Wait until the last validator has a block of this height; the one it has."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := int(rpc(network.validators[-1], "eth_blockNumber"), 16)) < height:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def answers(validator: Validator) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", validator.rpc_port)) == 0
