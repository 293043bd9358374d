"""A model that is wrong by one unit in one coordinate is found, proved, revoked and paid for."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import pytest
from support.adversary import PartialStore
from support.disputes import (
    accept_a_lie,
    balance,
    events,
    liar,
    off_by_one,
    run_watchers,
    stakes,
    submit_updates,
    vector_federation,
    watcher,
)
from support.federation import SmallFederation

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.model.layout import CHUNK_VALUES
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.roles.watcher.watcher import WatcherSettings
from fl_orchestrator.units import ETHER


@dataclass(frozen=True, slots=True)
class Shape:
    rule: RuleKind
    updates: int
    parameters: int
    aggregators: int


PAIRWISE = [
    Shape(RuleKind.WEIGHTED_MEAN, 3, 1_000, 1),
    Shape(RuleKind.WEIGHTED_MEAN, 10, 1_000_000, 7),
    Shape(RuleKind.WEIGHTED_MEAN, 100, 1_000, 7),
    Shape(RuleKind.MEDIAN, 3, 1_000_000, 7),
    Shape(RuleKind.MEDIAN, 10, 1_000, 1),
    Shape(RuleKind.MEDIAN, 100, 1_000_000, 1),
    Shape(RuleKind.TRIMMED_MEAN, 3, 1_000, 7),
    Shape(RuleKind.TRIMMED_MEAN, 10, 1_000_000, 1),
    Shape(RuleKind.TRIMMED_MEAN, 100, 1_000, 1),
]


def test_the_selection_has_every_pair_of_values() -> None:
    values = (tuple(RuleKind), (3, 10, 100), (1_000, 1_000_000), (1, 7))
    rows = [astuple(shape) for shape in PAIRWISE]
    for one, other in itertools.combinations(range(len(values)), 2):
        wanted = set(itertools.product(values[one], values[other]))
        missing = wanted - {(row[one], row[other]) for row in rows}
        assert missing == set(), f"PAIRWISE has no shape with {missing}"


@pytest.mark.parametrize(
    "shape", PAIRWISE, ids=lambda s: "-".join([s.rule.label, *map(str, astuple(s)[1:])])
)
def test_a_wrong_model_is_found_proved_revoked_and_its_signers_slashed(
    tmp_path: Path, shape: Shape
) -> None:
    federation = vector_federation(
        tmp_path,
        parameters=shape.parameters,
        rule=shape.rule,
        updates=shape.updates,
        aggregators=shape.aggregators,
    )
    rng = np.random.default_rng(PAIRWISE.index(shape))
    position, unit = int(rng.integers(shape.parameters)), int(rng.choice([-1, 1]))
    submit_updates(federation)
    accept_a_lie(federation, off_by_one(position, unit))
    assert federation.observe().head.round == 1
    before = balance(federation, federation.outsider)

    role = watcher(federation)
    done = run_watchers(federation, role)

    proof = ["check", "registerChallenge", "challenge"]
    assert done == [*proof, *["slashSigner"] * shape.aggregators, "withdrawRewards"]
    seen = federation.observe()
    assert (seen.head.height, seen.current.phase) == (0, Phase.VOID)
    (proven,) = events(federation, "ChallengeProven")
    layout = federation.manifest.layout
    assert proven["coordinate"] == layout.coordinate(position)
    assert proven["claimed"] - proven["expected"] == unit
    assert stakes(federation) == [0] * shape.aggregators
    gained = balance(federation, federation.outsider) - before
    assert 0 < shape.aggregators * ETHER // 2 - gained < ETHER // 10  # the gas
    assert (role.alerts, role.busy) == ((), False)


def test_in_a_packed_model_a_wrong_value_is_proved_with_a_chunk_of_two_tensors(
    tmp_path: Path,
) -> None:
    federation = vector_federation(tmp_path, parameters=1_000, packed=True)
    layout = federation.manifest.layout
    position = layout.tensors[1].start + 2
    assert layout.coordinate(position) == position
    assert position // CHUNK_VALUES == (layout.tensors[1].start - 1) // CHUNK_VALUES
    submit_updates(federation)
    accept_a_lie(federation, off_by_one(position))

    run_watchers(federation, watcher(federation))

    assert federation.observe().head.height == 0
    (proven,) = events(federation, "ChallengeProven")
    assert proven["coordinate"] == position
    assert proven["claimed"] - proven["expected"] == 1


# Later rounds


def accept_rounds(federation: SmallFederation, lies: list[bool]) -> None:
    """Accept a round for each of these, honest or not."""
    for round_number, lies_now in enumerate(lies, start=1):
        submit_updates(federation, round_number)
        if lies_now:
            accept_a_lie(federation)
        else:
            roles = [federation.aggregator(i) for i in range(len(federation.aggregators))]
            federation.run(roles, lambda o: o.current.phase is Phase.ACCEPTED)


def test_a_later_round_dies_with_its_base_and_its_signers_are_spared(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, fraud_slash_bps=5_000)
    accept_rounds(federation, [False, True, False, False])
    role = watcher(federation)
    done = run_watchers(federation, role)
    assert federation.observe().head.round == 1
    # What was computed from the wrong model is right for what it was computed from.
    assert Counter(done)["check"] == 4
    assert Counter(done)["challenge"] == 1
    assert stakes(federation) == [ETHER // 2]
    assert role.alerts == ()


def test_a_wrong_result_on_top_of_a_wrong_one_is_paid_for_too(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, fraud_slash_bps=5_000)
    accept_rounds(federation, [True, True])
    done = run_watchers(federation, watcher(federation))
    assert Counter(done)["challenge"] == 2
    assert federation.observe().head.round == 0
    assert stakes(federation) == [ETHER // 4]


def test_who_has_lost_everything_is_not_proven_wrong_in_a_orphaned_round(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path)
    accept_rounds(federation, [True, True])
    done = run_watchers(federation, watcher(federation))
    assert Counter(done)["challenge"] == 1
    assert (federation.observe().head.round, stakes(federation)) == (0, [0])


def test_a_round_after_a_revocation_is_watched_like_any_other(tmp_path: Path) -> None:
    # What is left of the stakes has to reach the minimum, or no round would open.
    federation = vector_federation(
        tmp_path, min_aggregator_stake=ETHER // 2, fraud_slash_bps=2_500, aggregator_stake=ETHER
    )
    role = watcher(federation)
    for round_number in (1, 2):
        submit_updates(federation, round_number)
        accept_a_lie(federation)
        run_watchers(federation, role)
        assert federation.observe().head.round == 0
    submit_updates(federation, 3)
    honest = federation.aggregator(0)
    federation.run([honest], lambda o: o.current.phase is Phase.ACCEPTED)
    assert run_watchers(federation, role) == ["check"]
    assert federation.observe().head.round == 3


# Results that were not accepted


def test_a_wrong_result_that_was_never_accepted_costs_its_signer_the_stake(
    tmp_path: Path,
) -> None:
    federation = vector_federation(tmp_path, aggregators=4)
    submit_updates(federation)
    assert liar(federation, 0).step().action == "attest"
    role = watcher(federation)
    # It may still win, or not: there is time for it later.
    assert role.step().action is None
    honest = [federation.aggregator(i) for i in range(1, 4)]
    federation.run(honest, lambda o: o.current.phase is Phase.ACCEPTED)
    done = run_watchers(federation, role)
    assert Counter(done) == Counter(
        ["check", "registerChallenge", "challenge", "slashSigner", "withdrawRewards"]
    )
    assert stakes(federation) == [0, ETHER, ETHER, ETHER]
    assert federation.observe().head.round == 1


def test_a_store_that_is_down_for_a_while_spares_no_signer(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, aggregators=4)
    submit_updates(federation)
    assert liar(federation, 0).step().action == "attest"
    honest = [federation.aggregator(i) for i in range(1, 4)]
    federation.run(honest, lambda o: o.current.phase is Phase.ACCEPTED)
    store = PartialStore(federation)
    role = watcher(federation, store=store)
    assert role.step().action == "check"
    store.down = True
    assert federation.due_at(role.step()) == federation.chain.now + WatcherSettings().retry_seconds
    store.down = False
    done = Counter(run_watchers(federation, role))
    assert (done["challenge"], done["slashSigner"], role.alerts) == (1, 1, ())


def test_who_has_nothing_left_to_lose_is_not_proven_wrong_again(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, aggregators=4)
    submit_updates(federation)
    for unit in (1, 2, 3):
        assert liar(federation, 0, off_by_one(0, unit)).step().action == "attest"
    honest = [federation.aggregator(i) for i in range(1, 4)]
    federation.run(honest, lambda o: o.current.phase is Phase.ACCEPTED)
    done = Counter(run_watchers(federation, watcher(federation)))
    assert (done["challenge"], done["slashSigner"]) == (1, 1)


def test_a_wrong_result_of_a_void_round_is_paid_for(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, aggregators=4)
    seen = submit_updates(federation)
    assert liar(federation, 2).step().action == "attest"
    federation.pass_until(seen.current.attest_end)
    assert federation.observe().current.phase is Phase.VOID
    done = Counter(run_watchers(federation, watcher(federation)))
    assert (done["challenge"], done["slashSigner"]) == (1, 1)
    assert stakes(federation) == [ETHER, ETHER, 0, ETHER]


def test_who_loses_the_race_for_a_proof_sends_nothing(tmp_path: Path) -> None:
    federation = vector_federation(tmp_path, updates=2)
    submit_updates(federation)
    accept_a_lie(federation)
    first, second = watcher(federation, home="0"), watcher(federation, federation.owner, home="1")
    while first.step().action != "registerChallenge":
        pass
    while second.step().action != "registerChallenge":
        pass
    federation.chain.mine()
    # The second one has read the events up to here, and the first one proves it meanwhile.
    second._rounds.search_to(federation.observe().block_number)
    assert first.step().action == "challenge"
    before = balance(federation, federation.owner)
    (case,) = second._cases.values()
    seen = federation.observe()
    assert second._prosecution.next(seen, case.digest, case.result, []) is None
    assert balance(federation, federation.owner) == before
