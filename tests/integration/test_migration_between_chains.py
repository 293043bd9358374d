"""A federation goes on on another chain, while the old chain lives: by the commands that a user
types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from integration.anvil_node import AnvilNode, anvil_node
from integration.anvil_site import secret_of
from support.federation import trainers
from support.flo import PASSWORD, flo, write_key
from support.mirrors import make_final
from support.validators import Consortium, wait_for

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.deployment.record import Deployment, DeploymentRecord
from fl_orchestrator.chain.nodes.connect import connect

OLD_CHAIN, NEW_CHAIN = 31_337, 31_338
PATIENCE_SECONDS = 120.0
FINALITY_SECONDS = 2 * 3600


@dataclass(frozen=True)
class Chains:
    """The old federation, the new one that goes on from it, and another history of the old one.

    ``forked`` has the id of the old chain, and at the same address a federation with the same
    first model, and another one after the first round.
    """

    directory: Path
    old: Consortium
    new: Consortium
    old_node: AnvilNode
    new_node: AnvilNode
    forked: AnvilNode

    @property
    def where(self) -> tuple[str, ...]:
        """The options of a command about the new federation."""
        return (
            *("--rpc", self.new_node.url, "--federation", self.new.deployment.address),
            *("--store", f"file://{self.old.store._directory}"),
            *("--deployments", str(self.directory / "next")),
        )


def run_rounds(consortium: Consortium, node: AnvilNode, heights: int) -> None:
    """Run rounds in a federation until so many are accepted, and make all of them final."""
    chain = consortium.federation()
    with consortium.working():
        wait_for(
            lambda: chain.observe(consortium.owner.address),
            lambda seen: seen.head.height >= heights,
            PATIENCE_SECONDS,
        )
    node.pass_time(FINALITY_SECONDS)
    assert make_final(consortium) >= heights


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Chains]:
    directory = tmp_path_factory.mktemp("migration")
    old, new, other = (
        Consortium(directory / name, parties=2, aggregators=1) for name in ("old", "new", "other")
    )
    new.store = old.store
    other._trainers = trainers(3)[1:]
    with ExitStack() as nodes:
        ids = {"old": OLD_CHAIN, "new": NEW_CHAIN, "forked": OLD_CHAIN}
        old_node, new_node, forked = (
            nodes.enter_context(anvil_node(checkout, directory / f"{name}.log", chain_id=number))
            for name, number in ids.items()
        )
        for node in (old_node, new_node, forked):
            for account in old.accounts:
                node.give(account.address)
        old.deploy([old_node.url])
        other.deploy([forked.url])
        assert other.deployment.address == old.deployment.address
        run_rounds(old, old_node, 2)
        run_rounds(other, forked, 2)
        new.join([new_node.url], migrated(directory, old, old_node, new_node))
        run_rounds(new, new_node, 1)
        yield Chains(directory, old, new, old_node, new_node, forked)


def migrated(
    directory: Path, old: Consortium, old_node: AnvilNode, new_node: AnvilNode
) -> Deployment:
    """What `flo federation migrate` deploys on the new chain, with the owner's key."""
    key, password = directory / "owner.json", directory / "password"
    write_key(key, secret_of("owner"))
    password.write_text(PASSWORD + "\n")
    command = (
        *("federation", "migrate", "--from", old.deployment.address, "--from-rpc", old_node.url),
        *("--rpc", new_node.url, "--store", f"file://{old.store._directory}"),
        *("--deployments", directory / "next", "--key", key, "--password-file", password),
    )
    final = old.federation().observe(old.owner.address).final_height
    made = flo(*command, "--json").succeeded().json
    assert made["chain_id"] == NEW_CHAIN
    assert (made["lineage"]["chain_id"], made["lineage"]["height"]) == (OLD_CHAIN, final)
    # Typed again, it changes nothing.
    again = flo(*command).succeeded().out
    assert f"Goes on from {old.deployment.address} (chain {OLD_CHAIN}" in again
    record = DeploymentRecord(directory / "next", NEW_CHAIN)
    deployment = list(record.load().values())[-1]
    assert deployment.address == made["federation"]
    return deployment


def last_of(chains: Chains) -> tuple[int, str]:
    """The height and the root of the old federation's last model."""
    head = chains.old.federation().head()
    return head.height, "0x" + head.root.hex()


def test_verifying_follows_the_line_to_the_other_chain(chains: Chains) -> None:
    verify = ("model", "verify", "--all", *chains.where)
    found = flo(*verify, "--ancestor-rpc", chains.old_node.url, "--json").succeeded().json
    height, root = last_of(chains)
    (before,) = found["lineage"]
    assert (before["chain_id"], before["federation"]) == (OLD_CHAIN, chains.old.deployment.address)
    assert (before["followed"], before["height"], before["root"]) == (True, height, root)
    assert len(before["rounds"]) == height
    assert before["rounds"][-1]["root"] == root
    assert len(found["rounds"]) == chains.new.federation().head().height >= 1

    said = flo(*verify, "--ancestor-rpc", chains.old_node.url).succeeded().out
    assert said.count("recomputed and equal") == height + len(found["rounds"])
    assert "the first model is its final one" in said
    alone = flo(*verify).succeeded().out
    assert f"on chain {OLD_CHAIN}, height {height}: not followed. Give --ancestor-rpc" in alone


def test_a_report_shows_the_line_across_the_chains(chains: Chains, tmp_path: Path) -> None:
    line = ("--ancestor-rpc", chains.old_node.url)
    report = flo("report", *chains.where, *line, "--json").succeeded().json
    height, root = last_of(chains)
    (before,) = report["lineage"][0]["ancestors"]
    assert (before["chainId"], before["federation"]) == (OLD_CHAIN, chains.old.deployment.address)
    head = chains.old.federation().head()
    assert (before["height"], before["round"], before["root"]) == (height, head.round, root)
    assert [one["recomputed"] for one in before["models"][1:]] == ["equal"] * height
    assert before["models"][-1]["root"] == report["lineage"][0]["root"] == root
    page = tmp_path / "report.html"
    flo("report", *chains.where, *line, "--out", page).succeeded()
    text = page.read_text()
    models = height + len(report["lineage"]) - 1
    assert f"All {models} models were computed again" in text
    assert report["lineage_digest"] in text
    assert f"flo report --json --ancestor-rpc {chains.old_node.url}" in text


def test_another_history_of_the_old_chain_is_refused(chains: Chains, tmp_path: Path) -> None:
    height, root = last_of(chains)
    other = Federation(connect([chains.forked.url]), chains.old.deployment.address)
    theirs = "0x" + other.model(height).root.hex()
    assert theirs != root
    words = (f"names the root {root}", f"has {theirs} at height {height}")
    line = (*chains.where, "--ancestor-rpc", chains.forked.url)
    flo("model", "verify", "--all", *line).refused(1, *words)
    page = tmp_path / "report.html"
    flo("report", *line, "--out", page).refused(1, *words)
    assert "Not what the protocol says: " in page.read_text()


def test_an_old_chain_without_the_old_federation_is_refused(
    chains: Chains, checkout: Path, tmp_path: Path
) -> None:
    with anvil_node(checkout, tmp_path / "empty.log", chain_id=OLD_CHAIN) as empty:
        line = (*chains.where, "--ancestor-rpc", empty.url)
        flo("model", "verify", "--all", *line).refused(3, "no federation")
