"""What a party derives, against the golden rounds."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from support.golden import GOLDEN, each, unhex
from support.private import PrivateRound, golden_context, golden_round

from fl_orchestrator.model.chunk_tree import root_from_proof
from fl_orchestrator.model.digests import ZERO_HASH
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.privacy.context import commits_hash, seats_hash
from fl_orchestrator.privacy.dealing import NotOurCommit, deal, xor
from fl_orchestrator.privacy.keys import PublicKeyError, mask_secret, public_key
from fl_orchestrator.privacy.label_tree import LabelTree, label_depth


@each("privateRounds")
def test_a_context_is_the_golden_one(row: dict[str, Any]) -> None:
    context = golden_context(row)
    assert context.ctx == unhex(row["ctx"])
    assert list(context.sets) == row["sets"]
    assert commits_hash(unhex(row["baseRoot"]), context.commits) == unhex(row["commitsHash"])
    assert seats_hash(context.seats) == unhex(row["seatsHash"])
    keys = [public_key(mask_secret(unhex(z), context.round)) for z in row["zs"]]
    assert keys == [commit.mask_key for commit in context.commits]


@each("privateSeals")
def test_the_seeds_are_the_golden_ones(row: dict[str, Any]) -> None:
    context, round_ = golden_round(row["roundRow"])
    dealing = deal(context, row["index"], unhex(round_["zs"][row["index"]]))
    assert list(dealing.seeds) == [unhex(seed) for seed in row["seeds"]]


@each("privatePieces")
def test_a_piece_and_its_path_are_the_golden_ones(row: dict[str, Any]) -> None:
    context, round_ = golden_round(row["roundRow"])
    dealing = deal(context, row["party"], unhex(round_["zs"][row["party"]]))
    pieces, label = dealing.pieces[row["set"]], row["index"]
    tree = LabelTree.of(pieces)
    assert pieces[label] == unhex(row["piece"])
    assert keccak256(pieces[label]) == unhex(row["leaf"])
    assert list(tree.path(label)) == [unhex(sibling) for sibling in row["path"]]
    assert tree.root == unhex(row["root"])
    assert root_from_proof(unhex(row["leaf"]), label, tree.path(label)) == tree.root


def test_the_golden_pieces_are_of_every_round() -> None:
    rounds = range(len(GOLDEN["privateRounds"]))
    assert {row["roundRow"] for row in GOLDEN["privatePieces"]} == set(rounds)


def test_both_parties_of_a_pair_have_its_seed_and_nobody_else_has() -> None:
    dealings = PrivateRound.of([1, 2, 3, 4], [1, 1, 1, 1], 2).dealings
    for i, j in combinations(range(4), 2):
        assert dealings[i].seeds[j] == dealings[j].seeds[i]
    assert len({seed for dealing in dealings for seed in dealing.seeds}) == 6 + 4


def test_all_pieces_and_the_correction_open_a_seed_and_one_piece_less_does_not() -> None:
    for dealing in PrivateRound.of([1, 2, 3], [3, 2, 2, 1], 2).dealings:
        assert dealing.corrections[dealing.index] == ZERO_HASH
        for label, seed in enumerate(dealing.seeds):
            pieces = [of_set[label] for of_set in dealing.pieces]
            assert xor([*pieces, dealing.corrections[label]]) == seed
            assert xor([*pieces[1:], dealing.corrections[label]]) != seed


def test_the_same_z_gives_the_same_dealing_after_a_restart() -> None:
    made = PrivateRound.of([1, 2, 3], [1, 1], 2)
    assert deal(made.context, 1, made.zs[1]) == made.dealings[1]


def test_on_another_fork_every_seed_share_and_piece_is_another() -> None:
    made = PrivateRound.of([1, 2, 3], [1, 1], 2)
    fork = replace(made.context, ctx=bytes([1] * 32))
    here, there = made.dealings[0], deal(fork, 0, made.zs[0])
    assert set(here.seeds).isdisjoint(there.seeds)
    assert set(here.shares).isdisjoint(there.shares)
    assert here.ephemeral != there.ephemeral


def test_a_copied_mask_key_gives_other_masks() -> None:
    """The indices are in the hash: who copies a key knows no seed of its owner."""
    made = PrivateRound.of([1, 2, 3], [1, 1], 2)
    commits = (*made.context.commits[:2], made.context.commits[1])
    copied = replace(made.context, commits=commits)
    seeds = deal(copied, 0, made.zs[0]).seeds
    assert seeds[1] != seeds[2]


def test_a_dealing_is_only_for_the_own_commit() -> None:
    made = PrivateRound.of([1, 2, 3], [1, 1], 2)
    with pytest.raises(NotOurCommit, match="index 1"):
        deal(made.context, 1, made.zs[0])


def test_a_mask_key_off_the_curve_is_refused() -> None:
    made = PrivateRound.of([1, 2, 3], [1, 1], 2)
    commits = (*made.context.commits[:2], replace(made.context.commits[2], mask_key=bytes(32)))
    with pytest.raises(PublicKeyError):
        deal(replace(made.context, commits=commits), 0, made.zs[0])


def test_a_dealing_shows_no_secret_in_a_log() -> None:
    dealing = PrivateRound.of([1, 2], [1], 2).dealings[1]
    assert repr(dealing) == "Dealing(index=1)"


@pytest.mark.parametrize(("size", "depth"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (88, 7)])
def test_a_label_tree_is_as_deep_as_it_must_be(size: int, depth: int) -> None:
    assert label_depth(size) == depth
    tree = LabelTree.of([bytes([i] * 32) for i in range(size)])
    assert {len(tree.path(label)) for label in range(size)} == {depth}
