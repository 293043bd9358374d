"""`flo round` and `flo model verify` on a private federation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.disputes import off_by_one
from support.flo import Finished, flo
from support.private_disputes import open_seeds, with_wrong_seed
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.nodes import connect
from fl_orchestrator.chain.nodes.node import Node

Flo = Callable[..., Finished]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> SmallPrivateFederation:
    """Round 1 is right, without a party that drops out; round 2 is wrong in its last coordinate;
    in round 3 the seed of the party at place 1 is wrong.
    """
    private = SmallPrivateFederation(tmp_path_factory.mktemp("private"))
    opened = open_seeds(private, drop_out=True)
    opened.accept(opened.right)
    opened = open_seeds(private, 2)
    opened.accept(opened.wrong_model(off_by_one(9)))
    opened = open_seeds(private, 3)
    seeds = with_wrong_seed(opened.seeds, 1)
    opened.accept(opened.of_seeds(seeds), seeds)
    return private


@pytest.fixture
def on(history: SmallPrivateFederation, monkeypatch: pytest.MonkeyPatch) -> Flo:
    """`flo` on the chain of this federation, with its store."""
    web3 = history.chain.web3
    monkeypatch.setattr(connect, "reach", lambda *_: Node(web3))
    monkeypatch.setenv("FLO_STORE", f"file://{history.directory}/store")
    monkeypatch.setenv("FLO_DEPLOYMENTS", str(history.directory / "deployments"))
    return flo


def test_private_rounds_are_listed(history: SmallPrivateFederation, on: Flo) -> None:
    rounds = on("round", "list", "--json").succeeded().json["rounds"]
    found = [
        (r["round"], r["outcome"], r["committed"], r["counted"], r["included"]) for r in rounds
    ]
    # Whoever dropped out of round 1 has lost its stake before round 3.
    assert found == [(1, "accepted", 5, 4, 4), (2, "accepted", 5, 5, 5), (3, "accepted", 4, 4, 4)]
    listed = on("round", "list").succeeded().out.splitlines()
    assert [line.split()[0] for line in listed] == ["round", "1", "2", "3"]


def test_a_private_round_is_shown_with_its_claims_lock_and_releases(
    history: SmallPrivateFederation, on: Flo
) -> None:
    shown = on("round", "show", "1", "--json").succeeded().json
    aggregators = {key.address for key in history.aggregators}
    assert shown["private"] is True
    assert {claim["aggregator"] for claim in shown["claims"]} == aggregators
    assert all(claim["held"] == [0, 1, 2, 3] for claim in shown["claims"])
    assert (shown["locked"], shown["expelled"]) == ([0, 1, 2, 3], [])
    # Without a relay, all of them announce their releases.
    assert {release["aggregator"] for release in shown["releases"]} == aggregators
    assert list(shown["opened_seeds"].values()) == [8]
    words = on("round", "show", "1").succeeded().out
    assert "masked: only their sum is opened" in words
    assert "4 of 4 updates, by 4 claims" in words
    assert "8 seeds" in words


def test_private_models_are_computed_again(history: SmallPrivateFederation, on: Flo) -> None:
    checked = on("model", "verify", "--round", "1", "--json").succeeded().json
    assert checked["equal"] is True
    on("model", "verify", "--round", "2").refused(
        1,
        "Round 2: the model on-chain is not the rule applied to its updates",
        "the first wrong coordinate is 9 (dense/bias[1])",
    )
    party = history.contract.revealed_updates(0, round_number=3)[1].party
    on("model", "verify").refused(
        1, f"Round 3: seed 1, the own one of {party}, was opened wrongly", "in the seal"
    )
