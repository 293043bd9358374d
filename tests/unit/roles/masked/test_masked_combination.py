"""What a watcher makes of masked updates and opened seeds, and of a node or a party that lies."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.federation import small_manifest
from support.private import BASE_ROOT, CHAIN, FEDERATION, PrivateRound
from web3 import Web3

from fl_orchestrator.chain.contract.events import MissingEvents
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.event_types import MaskedReveal
from fl_orchestrator.chain.types import PrivateParams
from fl_orchestrator.content.cid import cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.errors import ContentError
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.private_digests import PrivateResult
from fl_orchestrator.model.vector_file import VectorFileError, in_blocks
from fl_orchestrator.privacy.masks import masks_of, weighted, with_masks
from fl_orchestrator.privacy.opening import Opening, seeds_hash
from fl_orchestrator.privacy.seal import MAX_SEAL_BYTES
from fl_orchestrator.roles.combination.masked import MaskedCombination
from fl_orchestrator.roles.masked.files import LimitedSteps, MaskedFiles
from fl_orchestrator.roles.vectors import Origin, RootMismatch, VectorCache, VectorFile

PLAIN = small_manifest()
SPECS = [(t.name, t.shape, 0) for t in PLAIN.layout.tensors]
MANIFEST = small_manifest(layout_kind="packed", depth=Layout.of(SPECS, packed=True).depth)
SIZE = MANIFEST.layout.parameters
ORIGIN = Origin(CHAIN, FEDERATION)
WEIGHTS = [3, 255, 1, 40]
# Of four commits three reveal, in another order than they committed.
REVEALS = (2, 0, 3)
STEP_LIMIT = 20_000
ROUND = 3


@dataclass
class Events:
    """What a node says of one round."""

    listed: list[int] = field(default_factory=lambda: list(range(len(WEIGHTS))))
    reveals: list[MaskedReveal] = field(default_factory=list)
    opened: dict[bytes, bytes] = field(default_factory=dict)

    def commits(self, _round: int) -> list[int]:
        return self.listed

    def updates(self, _round: int) -> list[MaskedReveal]:
        return self.reveals

    def seeds(self, digest: bytes) -> bytes | None:
        return self.opened.get(digest)


class Scene:
    """A round whose seeds are open, in a store and in a node's events, and a watcher of it."""

    def __init__(self, directory: Path) -> None:
        self.made = PrivateRound.of(WEIGHTS, [10, 20, 15], 2, seed=7, round_number=ROUND)
        self.store = LocalStore(directory / "store")
        self.federation = object.__new__(PrivateFederation)
        self.federation.chain_id = CHAIN
        self.federation.address = Web3.to_checksum_address(FEDERATION)
        self.federation._private = PrivateParams(SIZE, STEP_LIMIT, 60, 2, relock=False)
        numbers = np.random.default_rng(7)
        self.updates = [numbers.integers(-32_768, 32_768, SIZE, np.int16) for _ in WEIGHTS]
        files = MaskedFiles(VectorCache(directory / "parties", MANIFEST), MANIFEST, ORIGIN)
        self.events = Events()
        self.content: list[bytes] = []
        for place, k in enumerate(REVEALS):
            x = weighted(self.updates[k], WEIGHTS[k])
            blocks = with_masks(in_blocks(x, 4), masks_of(self.made.dealings[k]), SIZE)
            file = files.write(self.made.context, blocks, self.made.seals[k])
            self.content.append(file.path.read_bytes())
            cid = self.store.put(io.BytesIO(self.content[-1]))
            party = self.made.context.commits[k].party
            reveal = MaskedReveal(ROUND, party, place, WEIGHTS[k], file.root, cid, k)
            self.events.reveals.append(reveal)
        self.vectors = VectorCache(directory / "watcher", MANIFEST)
        base = np.arange(SIZE, dtype=np.int32) << 16
        self.base = self.vectors.write(ORIGIN.state(0), in_blocks(base))
        self.start = base
        index: Any = self.events
        self.watcher = MaskedCombination(
            self.federation, index, self.vectors, self.store, MANIFEST, ORIGIN
        )

    def result(self, included: int, seeds: bytes | None = None) -> PrivateResult:
        """A result of these places, with its seeds among the events."""
        opening = Opening.of(len(WEIGHTS), REVEALS, included)
        right = b"".join(self.made.dealings[k].seeds[label] for k, label in opening.labels())
        seeds = right if seeds is None else seeds
        hashed = seeds_hash(seeds)
        cid = self.events.reveals[0].cid
        result = PrivateResult(ROUND, bytes(32), BASE_ROOT, included, hashed, bytes(32), cid)
        self.events.opened[self.federation.digest_of(result)] = seeds
        return result

    def fetched(self, result: PrivateResult) -> list[tuple[VectorFile, Any]]:
        self.watcher.prepare(result)
        included = [r for r in self.events.reveals if result.included >> r.index & 1]
        return [(self.watcher.fetch(reveal, lambda: False), reveal) for reveal in included]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.parametrize("included", [0b111, 0b101, 0b010])
def test_the_model_is_that_of_the_updates_in_the_clear(scene: Scene, included: int) -> None:
    result = scene.result(included)
    made = scene.watcher.combine(result, scene.base, scene.fetched(result))
    chosen = [k for place, k in enumerate(REVEALS) if included >> place & 1]
    total = sum(WEIGHTS[k] * scene.updates[k].astype(np.int64) for k in chosen)
    weight = sum(WEIGHTS[k] for k in chosen)
    step = np.clip((2 * total + weight) // (2 * weight), -STEP_LIMIT, STEP_LIMIT)
    moved = scene.start + step * 2 ** (24 - MANIFEST.update_fraction_bits)
    expected = np.clip(moved, -(2**31), 2**31 - 1)
    assert (scene.vectors.load(made.file) == expected).all()
    assert made.wrong_seed is None


def test_a_wrong_seed_is_found_whichever_it_is(scene: Scene) -> None:
    right = scene.events.opened[scene.federation.digest_of(scene.result(0b110))]
    assert len(right) == 32 * 6
    for number in range(6):
        seeds = bytearray(right)
        seeds[32 * number + 31] ^= 1
        result = scene.result(0b110, bytes(seeds))
        made = scene.watcher.combine(result, scene.base, scene.fetched(result))
        assert made.wrong_seed == number


# A node that lies


def test_seeds_that_a_node_does_not_have_are_missing(scene: Scene) -> None:
    result = scene.result(0b111)
    scene.events.opened.clear()
    with pytest.raises(MissingEvents, match="no seeds"):
        scene.watcher.prepare(result)


def test_seeds_that_a_node_invents_are_untrue(scene: Scene) -> None:
    result = scene.result(0b111)
    digest = scene.federation.digest_of(result)
    scene.events.opened[digest] = scene.events.opened[digest][:-1] + b"\0"
    with pytest.raises(UntrueEvents, match="are others"):
        scene.watcher.prepare(result)


def test_commits_that_a_node_hides_or_invents_are_noticed(scene: Scene) -> None:
    result = scene.result(0b111)
    for listed in ([], [0, 1, 2], [0, 1, 2, 3, 4]):
        scene.events.listed = listed
        with pytest.raises(UntrueEvents, match="are missing"):
            scene.watcher.prepare(result)


def test_reveals_that_a_node_hides_are_noticed(scene: Scene) -> None:
    result = scene.result(0b111)
    scene.events.reveals.pop()
    with pytest.raises(UntrueEvents, match="are missing"):
        scene.watcher.prepare(result)


# A party that publishes something else


@pytest.mark.parametrize(
    ("first", "last", "added"),
    [
        (0, -1, b""),
        (0, None, b"\0"),
        (0, None, bytes(32)),
        (0, -32, b""),
        (0, None, bytes(MAX_SEAL_BYTES)),
        (0, 0, b""),
        (0, 7, b""),
        (0, 100, b""),
        (8, None, b""),
    ],
)
def test_a_file_of_another_length_is_refused(
    scene: Scene, first: int, last: int | None, added: bytes
) -> None:
    scene.watcher.prepare(scene.result(0b111))
    data = scene.content[0][first:last] + added
    with pytest.raises(ContentError):
        scene.watcher.fetch(published(scene, data), lambda: False)


def test_a_seal_of_another_size_is_refused_by_its_header(scene: Scene) -> None:
    scene.watcher.prepare(scene.result(0b111))
    longer = published(scene, scene.content[0] + bytes(32))
    with pytest.raises(VectorFileError, match=r"data offsets|shape"):
        scene.watcher.fetch(longer, lambda: False)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_changed_byte_is_refused(scene: Scene, data: st.DataObject) -> None:
    scene.watcher.prepare(scene.result(0b111))
    changed = bytearray(scene.content[0])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((ContentError, RootMismatch)):
        scene.watcher.fetch(published(scene, bytes(changed)), lambda: False)


def published(scene: Scene, data: bytes) -> MaskedReveal:
    """The first reveal, as if this had been published under its CID."""
    scene.store.put(io.BytesIO(data))
    right = scene.events.reveals[0]
    cid = cid_of(io.BytesIO(data))
    return MaskedReveal(ROUND, right.party, 0, right.weight, right.root, cid, right.commit)


# The step limit


def test_coordinates_at_the_step_limit_are_counted() -> None:
    limited = LimitedSteps(32_767)
    step = np.array([32_767, -32_767, -32_768, 32_766, 0], np.int16)
    assert [list(block) for block in limited.watch([step[:2], step[2:]])] == [
        list(step[:2]),
        list(step[2:]),
    ]
    assert (limited.at_limit, limited.seen, limited.are_most) == (3, 5, True)
    assert not LimitedSteps(1, at_limit=2, seen=4).are_most
