"""Members as objects: a round from Python alone, beside what the command line says of it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from integration.anvil_node import anvil_node
from integration.anvil_site import Site, secret_of
from support.flo import PASSWORD, flo

from fl_orchestrator import (
    Aggregator,
    Bound,
    Connection,
    Federation,
    FloError,
    Keeper,
    LocalSigner,
    Party,
    Watcher,
)
from fl_orchestrator.errors import InputError
from fl_orchestrator.members.party import NotRegistered
from fl_orchestrator.service.lock import AccountInUse
from fl_orchestrator.training.failures import BadTrainerFile


class Drifting:
    """Adds one to every weight; the loss is the distance from 0."""

    def __init__(self, step: float = 0.125) -> None:
        self.step = np.float32(step)

    def fit(self, weights: list[Any], config: dict[str, Any]) -> Any:
        return [array + self.step for array in weights], 50, {"step": float(self.step)}

    def evaluate(self, weights: list[Any], config: dict[str, Any]) -> Any:
        return float(np.abs(weights[0]).mean()), 10, {"n": config["round"]}


class OtherModel(Drifting):
    def initial_weights(self) -> dict[str, Any]:
        return {"other": np.zeros(3, np.float32)}


@pytest.fixture
def site(tmp_path: Path, checkout: Path) -> Iterator[Site]:
    with anvil_node(checkout, tmp_path / "log") as node:
        site = Site(tmp_path, node)
        with node.mining_at_once():
            site.deploy().succeeded()
        yield site


def connection(site: Site, name: str) -> Connection:
    site.key(name)
    return Connection(
        rpc=site.node.url,
        federation=site.federation.address,
        store=site.store_url,
        key=LocalSigner.from_secret(secret_of(name)),
        home=site.directory / "home",
    )


def admit(site: Site, role: str, *names: str) -> None:
    addresses = [site.address(name) for name in names]
    flo(
        "federation", "admit", *addresses, "--role", role, *site.key("owner"), *site.on_chain()
    ).succeeded()


def test_a_round_runs_from_python_alone(site: Site) -> None:
    with ExitStack() as stack:
        hospital = stack.enter_context(Party(connection(site, "hospital"), Drifting(), seed=1))
        # As at a site: a key file, whose password is asked for when it is needed.
        site.key("clinic")
        file = Connection(
            rpc=site.node.url,
            federation=site.federation.address,
            store=site.store_url,
            key=site.directory / "clinic.json",
            password=lambda: PASSWORD,
            home=site.directory / "home",
        )
        bounds = Bound.parse("n=9", above=False)
        clinic = stack.enter_context(Party(file, Drifting(0.25), bounds=bounds))
        university = stack.enter_context(Aggregator(connection(site, "university")))
        keeper = stack.enter_context(Keeper(connection(site, "keeper")))
        with site.node.mining_at_once():
            admit(site, "party", "hospital", "clinic")
            admit(site, "aggregator", "university")
            for member in (hospital, clinic, university):
                member.register()
        attesting = threading.Thread(target=university.run)
        taking_part = threading.Thread(target=clinic.run, args=(1,))
        opening = threading.Thread(target=keeper.run, args=(1,))
        for thread in (attesting, taking_part, opening):
            thread.start()
        done = hospital.run(rounds=1)
        opening.join()
        taking_part.join()
        university.stop()
        attesting.join()
        assert (done["commit"], done["reveal"]) == (1, 1)
        assert hospital.observe().head.round == 1
        first, last = hospital.history()
        assert (first.round, last.round, last.trained, last.rows) == (0, 1, {"step": 0.125}, 50)
        assert [entry.faults != [] for entry in clinic.history()] == [False, True]
        assert (hospital.home / "current.safetensors").exists()
        assert not (clinic.home / "current.safetensors").exists()
        where = [*site.on_chain(), "--home", site.directory / "home"]
        status = flo("party", "status", hospital.address, *where, "--json").succeeded().json
        assert status["model_in_use_round"] == 1
    with Watcher(connection(site, "watcher")) as watcher:
        assert watcher.run(once=True, timeout=30)["check"] == 1
        assert (watcher.alerts, watcher.unchecked_rounds) == ((), ())
    federation = Federation.connect(site.node.url, site.federation.address, site.store_url)
    assert len(federation.verify()) == 1


def test_what_cannot_work_is_said_at_once_and_leaves_the_account_free(site: Site) -> None:
    here = connection(site, "hospital")
    with Party(here, Drifting()) as party:
        with pytest.raises(AccountInUse):
            Party(here, Drifting())
        with pytest.raises(NotRegistered, match="flo party register"):
            party.run(rounds=1)
        with pytest.raises(FloError, match="admit"):
            party.register()
        party.pause()
        assert (party.home / "paused").exists()
        party.resume()
        assert not (party.home / "paused").exists()
    with pytest.raises(BadTrainerFile, match="other"):
        Party(here, OtherModel())
    with pytest.raises(InputError, match="needs a store"):
        Watcher(dataclasses.replace(here, store=""))
    with pytest.raises(InputError, match="password"):
        Keeper(Connection(rpc=here.rpc, federation=here.federation, key="key.json"))
    with Party(here, Drifting()) as party:
        assert party.observe().current.round == 0
