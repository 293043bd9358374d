"""A federation on a chain of validators, mirrored on Anvil and on the other kind of chain."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from integration.anvil_node import anvil_node
from support.mirrors import carry, guard_until, make_final, mirror_of
from support.validators import Consortium, wait_for

from fl_orchestrator.members.mirrors import compare
from network.engines import ENGINES, program
from network.network import create
from network.validators import running

PATIENCE_SECONDS = 180.0
WINDOW_SECONDS = 20


def test_a_consortiums_models_are_mirrored_on_a_public_chain_and_on_another_consortiums(
    tmp_path: Path, checkout: Path
) -> None:
    for engine in ENGINES.values():
        try:
            program(engine)
        except subprocess.CalledProcessError:
            pytest.skip(f"scripts/{engine.build} has no program for {engine.name}")
    consortium = Consortium(tmp_path, parties=2, aggregators=2)
    coin = consortium.balances()
    clique = create(tmp_path / "clique", ENGINES["clique"], coin, 20_250, period=1)
    istanbul = create(tmp_path / "istanbul", ENGINES["istanbul"], coin, 20_251, period=1)
    with (
        anvil_node(checkout, tmp_path / "anvil.log") as public,
        running(clique) as home,
        running(istanbul) as other,
    ):
        for account in consortium.accounts:
            public.give(account.address)
        consortium.deploy(home.network.urls, attest_period=20, challenge_period=10, answer_period=5)
        chain = consortium.federation()
        with consortium.working():
            seen = wait_for(
                lambda: chain.observe(consortium.owner.address),
                lambda seen: seen.final_height >= 2,
                PATIENCE_SECONDS,
            )
        assert seen.final_height >= 2
        make_final(consortium)
        for name, url in (("public", public.url), ("other", other.network.urls[0])):
            carry_and_refuse(consortium, url, tmp_path / name)


def carry_and_refuse(consortium: Consortium, url: str, directory: Path) -> None:
    """Mirror the final rounds on the chain at ``url``, and have a wrong one refused there."""
    site = mirror_of(consortium, url, directory / "right", WINDOW_SECONDS)
    assert carry(site.carrier())[:2] == ["mirror", "mirror"]
    assert compare(site.mirror, site.home).equal >= 2

    second = mirror_of(consortium, url, directory / "wrong")
    second.submit(second.wrong(1, 3, publish=True))
    done = guard_until(second.watcher(), lambda: second.mirror.head().height == 0)
    assert done == ["registerChallenge", "challenge"]
