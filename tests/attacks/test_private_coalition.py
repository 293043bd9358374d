"""Attack: a coalition reads an honest update, from all bytes that it holds of a private round.

The round is one of real processes. Its coalitions are all that there are: any seats, with all
parties but two honest ones. Each has whatever is public, whatever honest seats keep outside of
their vaults, and all homes and keys of its members; and it tries every exclusive or of all that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic_core import from_json
from support.coalition import (
    Known,
    Name,
    closure,
    files_below,
    occurring,
    of_party,
    of_release,
    of_seat,
    read_update,
    secrets_in_vault,
    secrets_of,
    seed_name,
    unknown_masks,
)
from support.private_federation import SmallPrivateFederation, packed_manifest
from support.stores import Withheld

from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.model.vector_file import VectorReader, read_vector
from fl_orchestrator.privacy.dealing import Dealing, deal
from fl_orchestrator.privacy.keys import public_key
from fl_orchestrator.privacy.seal import Seal, parse_seal, seal_bytes
from fl_orchestrator.roles import base
from fl_orchestrator.roles.masked.relay import PrivateMailbox
from fl_orchestrator.roles.masked.rounds import MaskedRound, MaskedRounds

PARTIES = 6
ABSENT, LATE = 4, 5
LOCKED = (0, 1, 2, 3)
VAULT = "vault.sqlite"
PASSWORD = "secret"
Files = dict[str, bytes]


class Wire(PrivateMailbox):
    """A relay whose keeper keeps every message."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def post(self, round_number: int, message: object) -> None:
        self.sent.append(b"".join(_flat(message)))
        super().post(round_number, message)


def _flat(message: Any) -> Iterator[bytes]:
    """All bytes in a message."""
    if isinstance(message, bytes):
        yield message
    elif dataclasses.is_dataclass(message):
        for field in dataclasses.fields(message):
            yield from _flat(getattr(message, field.name))


class Attacked(SmallPrivateFederation):
    """A federation with a round in which four parties are locked.

    Party 4 commits, and does not come back. Party 5 reveals an update that no seat can get before
    the lock; after it, everybody can.
    """

    def _new_mailbox(self) -> Wire:
        self.wire = Wire()
        return self.wire

    def __init__(self, directory: Path, seats: int) -> None:
        super().__init__(directory, PARTIES, seats, manifest=packed_manifest(samples_per_weight=8))
        self.elsewhere = LocalStore(directory / "elsewhere")
        self.files: Files = {}

    def play(self) -> Files:
        """Play the round up to its result; return what there is before the release."""
        wire, withheld = self.wire, Withheld(self.directory / "store", self.elsewhere)
        parties = [
            self.party(i, relay=wire, store=withheld if i == LATE else None) for i in range(PARTIES)
        ]
        seats = [self.private_aggregator(i, wire) for i in range(len(self.aggregators))]
        self.open_round()
        assert parties[ABSENT].step().action in ("commit", "post commit")
        present = [party for i, party in enumerate(parties) if i != ABSENT]
        roles: list[base.Worker] = [*present, *seats, self.keeper(1)]
        for phase in (Phase.REVEAL, Phase.CLAIM, Phase.ATTEST):
            assert self.run_to(phase, roles, 1).current.phase is phase
            before = self.collect()
        seen = self.run_round(roles, 1)
        assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
        assert self.included() == set(LOCKED)
        self.collect()
        return before

    def collect(self) -> Files:
        """All that was written and sent until now; what was deleted meanwhile stays."""
        self.files |= files_below(self._home, lambda path: path.name == VAULT)
        for number, block in enumerate(self.chain.recorded()):
            self.files[f"chain/{number}"] = b"".join(block.transactions)
        for number, message in enumerate(self.wire.sent):
            self.files[f"wire/{number}"] = message
        return dict(self.files)


class Scene:
    """A played round: what is public, what everybody has, and what is true."""

    def __init__(self, directory: Path, seats: int) -> None:
        self.played = played = Attacked(directory, seats)
        self.before, self.after = played.play(), played.files
        self.round = self._read_round()
        self.context = self.round.context
        self.zs = [self._z(number) for number in range(PARTIES)]
        self.dealings = self._dealings()
        self.masked: dict[int, NDArray[np.uint32]] = {}
        self.seals: dict[int, Seal] = {}
        self._read_masked()
        self.secrets = secrets_of(list(self.dealings.values()), self._zs_by_index())
        self._of_file = {name: self._known_from(data) for name, data in self.after.items()}
        self.seats = [self._of_seat(number) for number in range(seats)]

    # ------------------------------------------------------------------ the round

    def _read_round(self) -> MaskedRound:
        contract = self.played.contract
        index = PrivateRoundIndex(contract, self.played.deployment.block)
        index.search_to(self.played.seen().block_number)
        return MaskedRounds(contract, index).read(1, self.played.genesis.root)

    def index(self, number: int) -> int:
        found = self.round.index_of(self.played.parties[number].address)
        assert found is not None
        return found

    def _z(self, number: int) -> bytes:
        values = from_json(self.after[f"parties/{number}/journal/round-1/masks.json"])
        return bytes.fromhex(values["z"])

    def _zs_by_index(self) -> list[bytes]:
        return [z for _, z in sorted((self.index(i), z) for i, z in enumerate(self.zs))]

    def _dealings(self) -> dict[int, Dealing]:
        return {k: deal(self.context, k, z) for k, z in enumerate(self._zs_by_index())}

    def _read_masked(self) -> None:
        layout = self.played.manifest.layout
        for reveal in self.round.reveals:
            late = reveal.commit == self.index(LATE)
            store = self.played.elsewhere if late else self.played.store
            with store.get(reveal.cid, 1 << 20) as stream:
                reader = VectorReader(stream, layout, seal_bytes=seal_bytes(self.context))
                self.masked[reveal.commit] = np.concatenate(list(reader.blocks()))
            self.seals[reveal.commit] = parse_seal(self.context, reveal.commit, reader.seal)

    def _of_seat(self, number: int) -> Known:
        account = self.played.aggregators[number].address
        position = self.round.position_of(account)
        assert position is not None
        vault = self.played.home("aggregators", number) / "private" / VAULT
        secrets = secrets_in_vault(vault, PASSWORD)
        assert self.context.seats[position].key in map(public_key, secrets)
        return of_seat(self.context, self.seals, position, secrets)

    # ------------------------------------------------------------------ what is secret

    def x(self, number: int) -> NDArray[np.int32]:
        """The party's weighted update."""
        update = self.played.home("parties", number) / "journal/round-1/update.safetensors"
        with update.open("rb") as stream:
            values = read_vector(stream, self.played.manifest.layout)[1]
        product: NDArray[np.int32] = values * np.int32(self.context.commits[0].weight)
        return product

    # ------------------------------------------------------------------ a coalition

    def _known_from(self, data: bytes) -> Known:
        """What a file tells: as a release file, and by any secret that occurs in it."""
        known = of_release(self.context, self.seals, data)
        for secret in occurring(data, self.secrets.keys()):
            known |= self.secrets[secret]
        return known

    def known(self, files: Files, honest: tuple[int, ...]) -> Known:
        """What all files tell but those of honest parties, and what the other parties derive."""
        homes = tuple(f"parties/{number}/" for number in honest)
        known: Known = {}
        for name in files:
            if not name.startswith(homes):
                known |= self._of_file[name]
        for number in set(range(PARTIES)) - set(honest):
            known |= of_party(self.dealings[self.index(number)])
        return known

    def seeds(self, known: Known, seats: tuple[int, ...], honest: tuple[int, ...]) -> Known:
        """All seeds of honest masked updates that a coalition with these seats computes."""
        for number in seats:
            known = known | self.seats[number]
        victims = {self.index(number) for number in honest}
        seals = {k: seal for k, seal in self.seals.items() if k in victims}
        return closure(self.context, seals, known)

    def hidden(self, number: int, seeds: Known) -> set[Name]:
        """The masks of a party that are not known; those that are, are right."""
        k = self.index(number)
        for label in range(PARTIES):
            name = seed_name(k, label)
            assert seeds.get(name, self.dealings[k].seeds[label]) == self.dealings[k].seeds[label]
        return unknown_masks(PARTIES, k, seeds)

    def reads(self, number: int, seeds: Known) -> NDArray[np.int32]:
        k = self.index(number)
        return read_update(k, PARTIES, self.masked[k], seeds)


@pytest.fixture(scope="module", params=[4, 7])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp(f"coalition-{request.param}"), request.param)


def coalitions(scene: Scene, *, can_read: bool) -> Iterator[tuple[int, ...]]:
    """All sets of seats with more than two thirds of the stake, or all others."""
    everybody = range(len(scene.seats))
    stakes = [seat.stake for seat in scene.context.seats]
    for seats in chain.from_iterable(combinations(everybody, n) for n in range(len(stakes) + 1)):
        if (3 * sum(stakes[seat] for seat in seats) > 2 * sum(stakes)) == can_read:
            yield seats


def own(scene: Scene, number: int) -> Name:
    return seed_name(scene.index(number), scene.index(number))


@pytest.mark.parametrize("opened", [False, True], ids=["before the release", "after it"])
def test_no_coalition_short_of_a_quorum_computes_an_honest_update(
    scene: Scene, opened: bool
) -> None:
    tried = 0
    for honest in combinations((*LOCKED, LATE), 2):
        known = scene.known(scene.after if opened else scene.before, honest)
        for seats in coalitions(scene, can_read=False):
            seeds = scene.seeds(known, seats, honest)
            for number in honest:
                # The mask that both have hides all but their sum. It opens with one of them that
                # is not locked, whose own mask then stays.
                pair = seed_name(*map(scene.index, honest))
                hidden = set() if opened and LATE in honest else {pair}
                if not opened or number == LATE:
                    hidden |= {own(scene, number)}
                assert scene.hidden(number, seeds) == hidden
            tried += 1
    assert tried == 10 * {4: 11, 7: 99}[len(scene.seats)]


def test_a_party_without_another_honest_one_in_the_sum_is_read(scene: Scene) -> None:
    for number in LOCKED:
        honest = (number, LATE)
        seeds = scene.seeds(scene.known(scene.after, honest), (), honest)
        assert scene.hidden(number, seeds) == set()
        assert (scene.reads(number, seeds) == scene.x(number)).all()


def test_one_seat_more_reads_every_update_exactly(scene: Scene) -> None:
    tried = 0
    for honest in combinations((*LOCKED, LATE), 2):
        known = scene.known(scene.before, honest)
        for seats in coalitions(scene, can_read=True):
            seeds = scene.seeds(known, seats, honest)
            for number in honest:
                assert scene.hidden(number, seeds) == set()
                assert scene.x(number).any()
                assert (scene.reads(number, seeds) == scene.x(number)).all()
            tried += 1
    assert tried == 10 * {4: 5, 7: 29}[len(scene.seats)]


def test_no_secret_of_a_party_is_in_a_file_outside_of_its_home(scene: Scene) -> None:
    opened: set[Name] = set()
    for k in map(scene.index, LOCKED):
        for label in (k, scene.index(ABSENT), scene.index(LATE)):
            opened |= scene.secrets[scene.dealings[k].seeds[label]].keys()
            opened |= {("piece", k, label, a) for a in range(len(scene.context.sets))}
    for number in range(PARTIES):
        home, x = f"parties/{number}/", scene.x(number)
        weight = scene.context.commits[0].weight
        plain = [(x // weight).astype("<i2").tobytes(), x.astype("<i4").tobytes()]
        assert weight > 1
        private = scene.dealings[scene.index(number)]
        secrets = secrets_of([private], [scene.zs[number]])
        closed = {secret for secret, known in secrets.items() if not known.keys() <= opened}
        assert {scene.zs[number], *private.shares} <= closed
        for name, data in scene.after.items():
            if not name.startswith(home):
                assert not any(values in data for values in plain), name
                assert not occurring(data, closed), name
        journal = scene.after[f"{home}journal/round-1/masks.json"]
        assert occurring(journal, closed) == {scene.zs[number]}
        assert plain[0] in scene.after[f"{home}journal/round-1/update.safetensors"]


def test_the_collection_has_what_it_must(scene: Scene) -> None:
    names = scene.after.keys()
    assert any(name.startswith("store/") for name in names)
    assert any(name.startswith("elsewhere/") for name in names)
    assert any(name.startswith("wire/") for name in names)
    assert any(name.startswith("chain/") for name in names)
    for number in range(len(scene.seats)):
        assert any(name.startswith(f"aggregators/{number}/") for name in names)
    released = [of_release(scene.context, scene.seals, data) for data in scene.after.values()]
    assert any(released)
    assert not any(of_release(scene.context, scene.seals, data) for data in scene.before.values())
