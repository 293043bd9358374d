"""Private results that are hard to prove wrong, and watchers that are killed while they do it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.crashes import CrashPoints, MortalSender, MortalStore, Restarted
from support.disputes import off_by_one, run_watchers, stakes, watcher
from support.private_disputes import claim_all, open_seeds, private_events, with_wrong_seed
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.event_types import Demanded
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.model.chunk_tree import chunk, tree_of
from fl_orchestrator.model.disputes.answers import nodes_below, path_above
from fl_orchestrator.model.layout import CHUNK_VALUES, Layout
from fl_orchestrator.model.private_digests import PrivateResult
from fl_orchestrator.privacy.opening import seeds_hash
from fl_orchestrator.privacy.seal import Seal, make_seal
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.roles.party import masked as party_module
from fl_orchestrator.roles.watcher.alerts import AlertKind
from fl_orchestrator.roles.watcher.watcher import WatcherSettings


def undone(private: SmallPrivateFederation) -> bool:
    """Whether the first round is revoked, and everybody who signed it has lost the stake."""
    seen = private.seen()
    return (seen.head.height, seen.current.phase, stakes(private)) == (0, Phase.VOID, [0] * 4)


# Padding


class PaddedResponder(Responder):
    """Answers from the tree of a padded model, which no file can have."""

    vector: np.ndarray

    def answer_to(self, demand: Demanded) -> tuple[bytes, bytes]:
        layout = Layout.of([("whole", [self.vector.size], 0)])
        tree = tree_of(layout, self.vector)
        path = path_above(tree, demand.level, demand.index)
        if demand.level == 0:
            return chunk(layout, self.vector, demand.index), path
        return nodes_below(tree, demand.level, demand.index), path


def test_a_wrong_coordinate_in_the_padding_is_proven_without_updates(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path)
    opened = open_seeds(private)
    layout, vectors = private.manifest.layout, opened.accomplice._vectors
    padded = np.zeros(CHUNK_VALUES << layout.depth, np.int32)
    padded[: layout.parameters] = vectors.load(opened.file(opened.right))
    whole = Layout.of([("whole", [padded.size], 0)])
    assert tree_of(whole, padded).root == opened.right.global_root
    padded[layout.parameters] = -3
    root = tree_of(whole, padded).root
    opened.accept(dataclasses.replace(opened.right, global_root=root))
    context = private.context(private.aggregators[0], private.home("aggregators", 0))
    role = PaddedResponder(context, context.round_index())
    role.vector = padded

    done = Counter(run_watchers(private, watcher(private), role))

    assert (done["challenge"], done["expire"]) == (1, 0)
    assert undone(private)
    (proven,) = private_events(private, "ChallengeProven")
    found = (proven["coordinate"], proven["expected"], proven["claimed"])
    assert found == (layout.parameters, 0, -3)


# Seals that no honest party makes, and that dishonest aggregators claim all the same


def no_hashes(seal: Seal) -> Seal:
    return dataclasses.replace(seal, hashes=())


def one_hash_more(seal: Seal) -> Seal:
    return dataclasses.replace(seal, hashes=(bytes(32), *seal.hashes))


def no_key(seal: Seal) -> Seal:
    return dataclasses.replace(seal, ephemeral=bytes(32))


def own_correction(seal: Seal) -> Seal:
    return dataclasses.replace(seal, corrections=(bytes([1] * 32),) * 5)


def longer_body(seal: Seal) -> Seal:
    return dataclasses.replace(seal, roots=(*seal.roots, bytes(32)))


@pytest.mark.parametrize("spoil", [no_hashes, one_hash_more, no_key, own_correction, longer_body])
def test_a_seal_that_no_honest_party_makes_protects_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Seal], Seal]
) -> None:
    private = SmallPrivateFederation(tmp_path)
    monkeypatch.setattr(
        party_module, "make_seal", lambda context, dealing: spoil(make_seal(context, dealing))
    )
    seen = claim_all(private, [private.party(i) for i in range(5)])
    seeds = bytes(32 * 5)
    current = seen.current
    result = PrivateResult(
        current.round,
        current.updates_hash,
        current.base_root,
        seen.claims.locked,
        seeds_hash(seeds),
        current.base_root,
        private.genesis.cid,
    )
    signatures = [private.contract.sign(key, result) for key in private.aggregators]
    call = private.contract.attest_private(result, seeds, signatures)
    private.send(private.keeper_key, call)
    assert private.seen().head.round == 1

    done = Counter(run_watchers(private, role := watcher(private)))

    assert (done["challengeSeed"], role.alerts) == (1, ())
    assert undone(private)


# Restarts


@pytest.mark.parametrize("wrong", ["model", "seed"])
def test_a_watcher_killed_between_any_two_steps_still_wins(tmp_path: Path, wrong: str) -> None:
    private = SmallPrivateFederation(tmp_path)
    opened = open_seeds(private, drop_out=True)
    if wrong == "seed":
        seeds = with_wrong_seed(opened.seeds, 3)
        opened.accept(opened.of_seeds(seeds), seeds)
    else:
        opened.accept(opened.wrong_model(off_by_one(4)))
    points = CrashPoints()
    role = Restarted(
        lambda: watcher(
            private,
            sender=MortalSender(private.sender(private.outsider), points),
            store=MortalStore(private.directory / "store", points),
            settings=WatcherSettings(),
        )
    )
    quiet = 0
    while quiet < 5:
        if role.step().action is None:
            quiet += 1
            private.chain.mine()
    assert undone(private)
    sent = Counter(receipt.label for receipt in private.receipts)
    proof = "challengeSeed" if wrong == "seed" else "challenge"
    # Nothing was sent twice.
    assert [sent[call] for call in ("registerChallenge", proof, "slashSigner")] == [1, 1, 4]
    calls = ("registerChallenge", proof, "slashSigner", "withdrawRewards")
    assert {f"{when} {call}" for call in calls for when in ("before", "after")} <= {*points.passed}


# Steps at their limit


@pytest.mark.parametrize(("limit", "alerts"), [(1, [AlertKind.STEP_LIMIT]), (32_767, [])])
def test_a_step_at_its_limit_is_told_to_people(
    tmp_path: Path, limit: int, alerts: list[AlertKind]
) -> None:
    private = SmallPrivateFederation(tmp_path, private={"step_limit": limit})
    opened = open_seeds(private)
    opened.accept(opened.right)
    role = watcher(private)
    assert run_watchers(private, role) == ["check"]
    assert [alert.kind for alert in role.alerts] == alerts
    # What was computed before a restart is told after it.
    again = watcher(private)
    assert run_watchers(private, again) == []
    assert [alert.kind for alert in again.alerts] == alerts
