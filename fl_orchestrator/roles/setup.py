"""The start of a federation: its manifest and genesis in a store, and its parameters."""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.chain.deployment.flood import DEMAND_BOND
from fl_orchestrator.chain.types import Params
from fl_orchestrator.content.cid import RAW, Cid
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.fixed_point import genesis_state
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.model.protocol import BPS, MAX_UPDATES
from fl_orchestrator.model.vector_file import VectorMeta, in_blocks, write_vector
from fl_orchestrator.roles.manifests import manifest_cid, manifest_params
from fl_orchestrator.units import ETHER


class ImpossibleFederation(InputError):
    """The numbers of parties, participants and updates contradict each other."""


@dataclass(frozen=True, slots=True)
class Genesis:
    """The first global state, as the contract records it."""

    root: bytes
    cid: Cid


#: For checks of terms before there is a model.
ANY_GENESIS: Final = Genesis(bytes(32), Cid(bytes(32), RAW))


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions of a federation that its manifest does not fix.

    Periods in seconds, amounts in wei. ``participants`` is how many parties a round draws; all of
    them when it equals ``max_parties``. ``min_updates`` 0 stands for half of the participants,
    and for 2 at least where there are more than two and 2 can be required.
    """

    max_parties: int
    participants: int
    min_updates: int = 0
    open_admission: bool = False
    commit_period: int = 600
    reveal_period: int = 600
    attest_period: int = 600
    challenge_period: int = 3600
    answer_period: int = 600
    unbond_period: int = 86_400
    min_party_stake: int = ETHER // 10
    min_aggregator_stake: int = ETHER
    reward: int = ETHER // 100
    aggregator_share_bps: int = 2000
    unrevealed_slash_bps: int = 1000
    fraud_slash_bps: int = BPS
    demand_bond: int = DEMAND_BOND


def publish(
    store: ContentStore, manifest: Manifest, weights: Sequence[NDArray[np.float32]]
) -> Genesis:
    """Store a manifest and the genesis state of these float weights.

    Raises WeightsError and NotFiniteError, with nothing stored, and what the store raises.
    """
    return publish_state(store, manifest, in_blocks(genesis_state(manifest.layout, weights)))


def publish_state(
    store: ContentStore, manifest: Manifest, blocks: Iterable[NDArray[np.int32]]
) -> Genesis:
    """Store a manifest and the genesis state of these flat blocks. Raises what the store raises."""
    stored = store.put(io.BytesIO(manifest.to_bytes()))
    if stored != manifest_cid(manifest.digest):
        raise RuntimeError(f"a manifest of one chunk has the CID {stored}")
    with tempfile.TemporaryFile() as file:
        root = write_vector(file, manifest.layout, VectorMeta.genesis(), blocks).root
        file.seek(0)
        return Genesis(root, store.put(file))


def federation_params(manifest: Manifest, genesis: Genesis, terms: Terms) -> Params:
    """The contract's parameters.

    Raises ImpossibleFederation where the numbers of parties, participants and updates are such that
    the contract would refuse them.
    """
    max_updates = _max_updates(terms)
    drawn = min(terms.participants, terms.max_parties)
    most = drawn // 2 if _is_sampled(terms) else drawn
    min_updates = terms.min_updates or max(1, min(most, max(2, drawn // 2) if drawn > 2 else 1))
    if min_updates > most:
        raise ImpossibleFederation(
            f"{min_updates} updates cannot be required of {drawn} participants.",
            f"Require at most {most}." if most else "Draw at least 2.",
        )
    return Params(
        min_party_stake=terms.min_party_stake,
        min_aggregator_stake=terms.min_aggregator_stake,
        max_parties=terms.max_parties,
        participants=terms.participants,
        min_updates=min_updates,
        max_updates=max_updates,
        open_admission=terms.open_admission,
        commit_period=terms.commit_period,
        reveal_period=terms.reveal_period,
        attest_period=terms.attest_period,
        challenge_period=terms.challenge_period,
        unbond_period=terms.unbond_period,
        answer_period=terms.answer_period,
        reward=terms.reward,
        aggregator_share_bps=terms.aggregator_share_bps,
        unrevealed_slash_bps=terms.unrevealed_slash_bps,
        fraud_slash_bps=terms.fraud_slash_bps,
        demand_bond=terms.demand_bond,
        genesis_root=genesis.root,
        genesis_cid=genesis.cid,
        **manifest_params(manifest),
    )


def _is_sampled(terms: Terms) -> bool:
    return terms.participants < terms.max_parties


def _max_updates(terms: Terms) -> int:
    """The limit of updates: all parties, or four standard deviations above the expected draw."""
    if terms.participants < 1 or terms.max_parties < 1:
        raise ImpossibleFederation("A federation needs at least one party.")
    if terms.open_admission and not _is_sampled(terms):
        raise ImpossibleFederation(
            "If anybody may register, a round cannot draw all parties.",
            "Draw fewer with --participants, or admit the parties.",
        )
    room = terms.participants
    if _is_sampled(terms):
        # ceil(4 sqrt(p)) in integers.
        room += math.isqrt(16 * terms.participants - 1) + 1
    if room > MAX_UPDATES:
        raise ImpossibleFederation(
            f"{terms.participants} participants need room for {room} updates in a round; "
            f"{MAX_UPDATES} are possible.",
            "Draw fewer with --participants.",
        )
    return room
