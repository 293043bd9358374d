"""A whole round, from the opening to the accepted model, by the real roles on a real EVM."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from support.federation import (
    CLASSES,
    FEATURES,
    Build,
    SmallFederation,
    consortium,
    rows_of,
    small_manifest,
    trainers,
)

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.model.fixed_point import encode_update, float_view, sample_weight
from fl_orchestrator.model.vector_file import VectorKind, read_vector
from fl_orchestrator.roles.party.adoption import Adopter
from fl_orchestrator.roles.party.party import PartySettings
from fl_orchestrator.roles.setup import Terms
from fl_orchestrator.roles.vectors import Origin
from fl_orchestrator.simulation.simulation import RoundReport, Shape, Simulation
from fl_orchestrator.training.numpy_logistic import NumpyLogistic, initial_weights
from fl_orchestrator.training.trainer import training_seed


def stored_state(federation: SmallFederation, cid: Cid, round_number: int) -> list[int]:
    """The global state in the store, read without the role's own code."""
    origin = Origin(federation.federation.chain_id, federation.federation.address)
    with federation.store.get(cid, 1 << 20) as stream:
        meta = origin.state(round_number)
        return list(map(int, read_vector(stream, federation.manifest.layout, meta)[1]))


def expected_state(federation: SmallFederation, start: list[int], round_number: int) -> list[int]:
    """FedAvg as docs/protocol.md, section 3 has it, in plain integers."""
    manifest = federation.manifest
    state = np.array(start, np.int32)
    config = manifest.training.model_dump(by_alias=True)
    updates, weights = [], []
    for key, trainer in zip(federation.parties, federation.trainers, strict=True):
        seed = training_seed(0, key.address, round_number)
        view = float_view(manifest.layout, state)
        local, samples, _ = trainer.fit(view, {**config, "seed": seed})
        encoded = encode_update(manifest.layout, manifest.update_fraction_bits, local, state)
        updates.append([int(q) for q in encoded.vector])
        weights.append(sample_weight(samples, manifest.samples_per_weight))
    total = sum(weights)
    moved = []
    for coordinate, value in enumerate(start):
        weighted = sum(w * q[coordinate] for w, q in zip(weights, updates, strict=True))
        mean = (2 * weighted + total) // (2 * total)
        moved.append(value + mean * 2 ** (24 - manifest.update_fraction_bits))
    return moved


def test_the_accepted_model_is_the_rule_applied_to_the_updates(build: Build) -> None:
    federation = build(parties=3, manifest=small_manifest(samples_per_weight=7))
    federation.trainers[2] = NumpyLogistic(rows_of(2).take(np.arange(10)), CLASSES)
    roles = federation.everybody()
    state = [0] * federation.manifest.layout.parameters
    for round_number in (1, 2):
        seen = federation.run_round(roles, round_number)
        assert seen.current.phase is Phase.ACCEPTED
        assert (seen.head.height, seen.head.round) == (round_number, round_number)
        state = expected_state(federation, state, round_number)
        assert stored_state(federation, seen.head.cid, round_number) == state
    weights = [u.weight for u in federation.federation.revealed_updates(0, round_number=1)]
    assert sorted(weights) == [2, 4, 4]


def test_relayed_and_direct_rounds_give_the_same_model(build: Build) -> None:
    direct, relayed = build(aggregators=4), build(aggregators=4)
    one = direct.run_round(direct.everybody())
    two = relayed.run_round(relayed.everybody(relayed.mailbox))
    assert one.head.root == two.head.root != direct.genesis.root

    of_parties = Counter(r.label for r in direct.receipts)
    batched = Counter(r.label for r in relayed.receipts)
    # Three of four aggregators are more than two thirds; the fourth still signs.
    assert (of_parties["commit"], of_parties["reveal"], of_parties["attest"]) == (3, 3, 4)
    assert (batched["commitFor"], batched["reveal"], batched["attest"]) == (1, 1, 1)
    assert not batched.keys() & {"commit"}


def test_every_aggregator_of_a_quorum_signs_the_same_result(build: Build) -> None:
    federation = build(aggregators=4)
    federation.run_round(federation.everybody(federation.mailbox))
    proposals = federation.federation.proposed_results(0)
    (digest,) = proposals
    assert federation.federation.accepted_digests(0) == {1: digest}
    attestation = federation.federation.attestation(digest)
    assert (attestation.signers, attestation.accepted) == (0b1111, True)


# Determinism


def simulate(directory: Path, seed: int, terms: Terms, rounds: int) -> Any:
    parties = terms.max_parties
    simulation = Simulation(
        directory,
        small_manifest(),
        initial_weights(FEATURES, CLASSES),
        trainers(parties),
        Shape(aggregators=2, rounds=rounds, seed=seed, terms=terms),
    )
    reports: list[RoundReport] = [simulation.run_round() for _ in range(rounds)]
    return reports, simulation.chain.head_hash(), simulation


@pytest.mark.parametrize(
    ("terms", "rounds"),
    [(consortium(3), 1), (Terms(max_parties=8, participants=4, min_updates=1), 2)],
    ids=["everybody", "sampled"],
)
def test_one_seed_gives_one_head_and_one_chain(tmp_path: Path, terms: Terms, rounds: int) -> None:
    reports, block_hash, simulation = simulate(tmp_path / "one", 7, terms, rounds)
    again, same_hash, _ = simulate(tmp_path / "two", 7, terms, rounds)
    assert (reports, block_hash) == (again, same_hash)
    drawn = [report.drawn for report in reports]
    assert [report.committed for report in reports] == drawn
    # The draw depends on the hash of a block, and so on every byte of the contracts: one round in
    # 256 draws nobody, and is void. Both rounds draw nobody or everybody once in 16,384 cases.
    assert [report.accepted for report in reports] == [count > 0 for count in drawn]
    if terms.participants < terms.max_parties:
        assert any(0 < count < terms.max_parties for count in drawn)
        assert simulation.observe().current.seed != bytes(32)
    else:
        assert drawn == [terms.max_parties] * rounds


def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    one, *_ = simulate(tmp_path / "one", 0, consortium(2), rounds=1)
    two, *_ = simulate(tmp_path / "two", 1, consortium(2), rounds=1)
    assert one[0].root != two[0].root


# Privacy of an update before the commit phase has closed


class WatchedStore(LocalStore):
    """Notes in which phase each file was put."""

    def __init__(self, federation: SmallFederation) -> None:
        super().__init__(federation.directory / "store")
        self._federation = federation
        self.puts: list[tuple[Phase, Cid]] = []

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:
        cid = super().put(stream, pin=pin)
        self.puts.append((self._federation.observe().current.phase, cid))
        return cid

    def put_file(self, path: Path, *, pin: bool = True) -> Cid:
        cid = super().put_file(path, pin=pin)
        self.puts.append((self._federation.observe().current.phase, cid))
        return cid


@pytest.mark.parametrize("relayed", [False, True], ids=["direct", "relayed"])
def test_an_updates_bytes_are_stored_only_after_the_commit_phase(
    build: Build, relayed: bool
) -> None:
    federation = build(parties=3)
    store = WatchedStore(federation)
    relay = federation.mailbox if relayed else None
    parties = [federation.party(i, relay=relay, store=store) for i in range(2)]
    keeper = federation.keeper(1)

    # The third party never commits, so the phase runs to its deadline.
    seen = federation.run([*parties, keeper], lambda o: o.current.commits == 2)
    assert seen.current.phase is Phase.COMMIT
    held = list(federation.directory.rglob("update*.safetensors"))
    assert len(held) == 2
    assert all("journal" in path.parts for path in held)
    assert store.puts == []
    for party in parties:
        party.step()
    assert store.puts == []

    federation.run_to(Phase.ATTEST, [*parties, keeper], 1)
    assert {phase for phase, _ in store.puts} == {Phase.REVEAL}
    updates = federation.federation.revealed_updates(0)
    assert {cid for _, cid in store.puts} == {update.cid for update in updates}
    for update in updates:
        with federation.store.get(update.cid, 1 << 20) as stream:
            meta, _ = read_vector(stream, federation.manifest.layout)
        assert (meta.kind, meta.round) == (VectorKind.UPDATE, 1)


def test_the_salt_of_a_real_party_is_not_to_be_guessed() -> None:
    settings = PartySettings(run_seed=0)
    assert len({settings.salt(1) for _ in range(10)}) == 10
    assert len(settings.salt(1)) == 32


# Disk


@pytest.mark.parametrize("local", [True, False], ids=["a store of this disk", "a store elsewhere"])
def test_each_file_of_a_round_is_once_on_the_disk_of_a_machines_roles(
    build: Build, local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = build(parties=3, aggregators=3)
    federation.cache = federation.directory / "cache"
    if not local:
        monkeypatch.setattr(federation.store, "link", lambda cid, path: False)
        monkeypatch.setattr(
            federation.store, "put_file", lambda path, **_: federation.store.put(path.open("rb"))
        )
    roles = federation.everybody()
    adopters = [
        Adopter(
            federation.context(key, home := federation.home("parties", number)),
            federation.trainers[number],
            home / "current.safetensors",
        )
        for number, key in enumerate(federation.parties)
    ]
    for number in (1, 2):
        assert federation.run_round(roles, number).current.phase is Phase.ACCEPTED
        for adopter in adopters:
            adopter.step()
    assert federation.open_round().current.round == 3
    for role in roles:
        role.step()
    store = federation.directory / "store"
    files = list(federation.directory.rglob("*.safetensors"))
    here = {path.stat().st_ino: path.stat().st_size for path in files}
    once = {hashlib.sha256(path.read_bytes()).digest(): path.stat().st_size for path in files}
    # Updates that are not revealed yet are among them.
    assert sum(here.values()) == sum(once.values())
    assert len(once) >= 3 * 3 + 2
    stored = {path.stat().st_ino for path in store.rglob("b*")}
    assert bool(stored & here.keys()) is local
