"""The attacks' own weapons are sharp, and their verdicts can be lost."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.federation import CLASSES, SmallFederation, rows_of, small_manifest

from fl_orchestrator.attacks import junk_bytes
from fl_orchestrator.attacks.base import Fact, Verdict
from fl_orchestrator.attacks.collusion import Colluder, SecretStore
from fl_orchestrator.attacks.poison import SignFlipping
from fl_orchestrator.attacks.registry import ATTACKS
from fl_orchestrator.chain.contract.events import RoundIndex
from fl_orchestrator.roles.recomputation import Recomputation
from fl_orchestrator.roles.vectors import Origin, VectorCache
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, initial_weights


def test_a_verdict_needs_facts_and_all_of_them() -> None:
    yes, no = Fact("so", holds=True), Fact("not so", holds=False)
    assert Verdict((yes, yes), ()).won
    assert not Verdict((yes, no), ()).won
    assert not Verdict((), ()).won


def test_every_attack_says_in_sentences_what_it_is_and_what_remains() -> None:
    assert set(ATTACKS) == {
        "wrong-model",
        "withheld-model",
        "demand-flood",
        "copycat",
        "poison",
        "absent-aggregator",
        "late-party",
        "junk-bytes",
    }
    for name, attack in ATTACKS.items():
        assert name == attack.name
        assert attack.summary.endswith(".")
        assert attack.remains.endswith(".")


def test_the_pickle_writes_its_file_when_it_is_loaded(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    loaded = pickle.loads(junk_bytes.pickle(b"", canary))
    loaded.close()
    assert canary.exists()


def test_the_climbing_file_is_a_safetensors_file_with_that_name(tmp_path: Path) -> None:
    from safetensors.numpy import load

    from fl_orchestrator.attacks.adversary import Adversary

    class Anybody:
        chain_id, address = 1, "0x" + "1" * 40

    anybody: Any = Anybody()
    content, _ = Adversary(anybody, anybody, small_manifest().layout).file(value=5)
    tensors = load(junk_bytes.traversal(content, tmp_path))
    assert set(tensors) == {"../../../../climbed", "dense/bias"}
    assert (tensors["../../../../climbed"] == 5).all()
    assert load(junk_bytes.wrong_dtype(content, tmp_path))["dense/bias"].dtype == np.float16


@pytest.mark.parametrize("hidden", [False, True])
def test_a_colluder_adds_one_unit_to_one_value_and_may_hide_it(
    tmp_path: Path, hidden: bool
) -> None:
    federation = SmallFederation(tmp_path, parties=2)
    home = federation.home("aggregators", 0)
    store = SecretStore(tmp_path / "store") if hidden else federation.store
    colluder = Colluder(federation.context(federation.aggregators[0], home, store=store))
    colluder.position = 7
    federation.run_round([federation.party(0), federation.party(1), colluder])
    contract, manifest = federation.federation, federation.manifest
    rounds = RoundIndex(contract, 0)
    signed = rounds.accepted(1, contract.observe(contract.address).block_number).result
    assert federation.store.has(signed.global_cid) is not hidden
    # It keeps what it has signed, to show it or not.
    kept = VectorCache(home / "vectors", manifest)
    wrong = kept.held(signed.global_root, Origin(contract.chain_id, contract.address).state(1))
    assert wrong is not None
    judge = Recomputation(federation.context(federation.outsider, tmp_path / "judge"), rounds)
    right = judge.right_file(signed)
    assert (kept.load(wrong) - kept.load(right)).tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]


def test_a_flipped_update_points_the_other_way_ten_times_as_far() -> None:
    honest = NumpyLogistic(rows_of(1), CLASSES)
    weights = initial_weights(rows_of(1).x.shape[1], CLASSES)
    config = {"seed": 1, "epochs": 1, "batchSize": 8, "learningRate": 0.1}
    trained, rows, _ = honest.fit(weights, config)
    flipped, same_rows, _ = SignFlipping(honest).fit(weights, config)
    assert rows == same_rows
    for start, honestly, hostilely in zip(weights, trained, flipped, strict=True):
        assert hostilely.dtype == np.float32
        np.testing.assert_allclose(hostilely - start, -10 * (honestly - start), rtol=1e-5)
