"""Momentum of the server is part of the state: computed, audited and disputed like the model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.disputes import (
    accept_a_lie,
    events,
    off_by_one,
    responder,
    run_watchers,
    stakes,
    submit_updates,
    update_vector,
    vector_federation,
    watcher,
)
from support.federation import SmallFederation
from support.private_disputes import open_seeds, private_events
from support.private_federation import SmallPrivateFederation, packed_manifest
from vectors import arithmetic

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.model.manifest import RuleSpec
from fl_orchestrator.model.rules import RuleKind, ServerStep

SERVER = ServerStep(learning_rate_bps=5_000, momentum_bps=9_000)
SIZE = 1_000


def moving_federation(directory: Path, size: int = SIZE) -> SmallFederation:
    return vector_federation(directory, parameters=size, server=SERVER)


def accept_honestly(federation: SmallFederation, round_number: int) -> None:
    submit_updates(federation, round_number)
    federation.run([federation.aggregator(0)], lambda o: o.current.phase is Phase.ACCEPTED)


def head_state(federation: SmallFederation) -> np.ndarray:
    aggregator = federation.aggregator(0)
    head = federation.observe().head
    held = aggregator._vectors.held(head.root, aggregator._origin.state(head.round))
    assert held is not None
    return aggregator._vectors.load(held)


def test_the_states_are_those_of_fedavgm(tmp_path: Path) -> None:
    federation = moving_federation(tmp_path)
    model, momentum = [2**22] * SIZE, [0] * SIZE
    bits = federation.manifest.update_fraction_bits
    for number in (1, 2, 3):
        accept_honestly(federation, number)
        updates = [update_vector(federation, party, number).tolist() for party in range(3)]
        for i in range(SIZE):
            step = arithmetic.weighted_mean([update[i] for update in updates], [1, 2, 3])
            model[i], momentum[i] = arithmetic.server_step(
                model[i], momentum[i], step, bits, 5_000, 9_000
            )
        assert head_state(federation).tolist() == model + momentum
    role = watcher(federation)
    assert run_watchers(federation, role) == ["check"] * 3
    assert role.alerts == ()


@pytest.mark.parametrize("place", ["model", "momentum", "both"])
@pytest.mark.parametrize("withheld", [False, True], ids=["shown", "withheld"])
def test_a_wrong_value_is_proved_wherever_it_is(tmp_path: Path, place: str, withheld: bool) -> None:
    federation = moving_federation(tmp_path)
    accept_honestly(federation, 1)
    submit_updates(federation, 2)
    position = 640 if place != "momentum" else SIZE + 640

    def lie(state: np.ndarray) -> np.ndarray:
        wrong = off_by_one(position)(state)
        # The model that would follow from the wrong momentum: one lie explains the other.
        return off_by_one(SIZE + position, 2)(wrong) if place == "both" else wrong

    accept_a_lie(federation, lie, withhold=withheld)
    signers = [responder(federation)] if withheld else []
    done = Counter(run_watchers(federation, watcher(federation), *signers))

    assert (done["challenge"], done["expire"], done["slashSigner"]) == (1, 0, 1)
    assert federation.observe().head.round == 1
    (proven,) = events(federation, "ChallengeProven")
    assert proven["coordinate"] == federation.manifest.layout.coordinate(position)
    assert proven["claimed"] - proven["expected"] == 1
    assert stakes(federation) == [0]


def test_signers_of_a_withheld_state_who_never_answer_lose_their_stakes(tmp_path: Path) -> None:
    federation = moving_federation(tmp_path, 100_000)
    submit_updates(federation)
    accept_a_lie(federation, off_by_one(150_000), withhold=True)
    done = Counter(run_watchers(federation, watcher(federation)))
    assert (done["demand"], done["expire"], stakes(federation)) == (1, 1, [0])


def test_a_revocation_takes_the_momentum_back_with_the_model(tmp_path: Path) -> None:
    federation = moving_federation(tmp_path)
    accept_honestly(federation, 1)
    before = head_state(federation)
    submit_updates(federation, 2)
    accept_a_lie(federation, off_by_one(SIZE + 640, 1_000_000))
    # The next round is right for its base, and the wrong momentum moves its model.
    accept_honestly(federation, 3)
    federation.run([role := watcher(federation)], lambda seen: seen.head.round == 1)
    assert head_state(federation).tolist() == before.tolist()

    accept_honestly(federation, 4)
    updates = [update_vector(federation, party, 4).tolist() for party in range(3)]
    bits = federation.manifest.update_fraction_bits
    step = arithmetic.weighted_mean([update[640] for update in updates], [1, 2, 3])
    wanted = arithmetic.server_step(
        int(before[640]), int(before[SIZE + 640]), step, bits, 5_000, 9_000
    )
    state = head_state(federation)
    assert (state[640], state[SIZE + 640]) == wanted
    # Only the lie is proved wrong, and its signer pays.
    run_watchers(federation, role)
    assert [proven["coordinate"] for proven in events(federation, "ChallengeProven")] == [
        federation.manifest.layout.coordinate(SIZE + 640)
    ]
    assert (stakes(federation), federation.observe().head.round) == ([0], 4)


def moving_private(directory: Path) -> SmallPrivateFederation:
    rule = RuleSpec.of(
        RuleKind.WEIGHTED_MEAN,
        server_learning_rate_bps=SERVER.learning_rate_bps,
        server_momentum_bps=SERVER.momentum_bps,
    )
    return SmallPrivateFederation(directory, manifest=packed_manifest(rule=rule))


@pytest.mark.parametrize("drop_out", [False, True], ids=["all reveal", "one drops out"])
@pytest.mark.parametrize("position", [3, 13], ids=["model", "momentum"])
def test_a_wrong_value_of_a_private_federation_is_proved_too(
    tmp_path: Path, drop_out: bool, position: int
) -> None:
    private = moving_private(tmp_path)
    opened = open_seeds(private, drop_out=drop_out)
    opened.accept(opened.wrong_model(off_by_one(position)))
    run_watchers(private, role := watcher(private))
    assert private.seen().head.height == 0
    assert (stakes(private), role.alerts) == ([0] * 4, ())
    (proven,) = private_events(private, "ChallengeProven")
    layout = private.manifest.layout
    assert proven["coordinate"] == layout.coordinate(position)
    assert (position >= layout.parameters) == (proven["coordinate"] >= layout.half)
    assert proven["claimed"] - proven["expected"] == 1


def test_a_right_private_round_with_momentum_is_watched_in_silence(tmp_path: Path) -> None:
    private = moving_private(tmp_path)
    opened = open_seeds(private)
    opened.accept(opened.right)
    assert run_watchers(private, role := watcher(private)) == ["check"]
    assert (role.alerts, private.seen().head.height) == ((), 1)
