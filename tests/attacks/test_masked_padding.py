"""A party reveals a root of masked values with one more value, beyond the last parameter, which no
file carries. If it were summed, honest signers could be convicted of the model without it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.types import MaskedUpdate, Phase
from fl_orchestrator.model.chunk_tree import zero_nodes
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.vector_file import VectorReader
from fl_orchestrator.privacy.seal import masked_root, seal_bytes, seal_digest
from fl_orchestrator.roles.masked.rounds import MaskedRounds
from fl_orchestrator.roles.party.masked import MaskedSubmission

PARTIES, CHEAT, LEAF = 4, 0, 64


def padded_root(private: SmallPrivateFederation, path: Path, beyond: int) -> bytes:
    """The root of a masked file of one leaf, with a value after its last one."""
    index = PrivateRoundIndex(private.contract, private.deployment.block)
    index.search_to(private.seen().block_number)
    context = MaskedRounds(private.contract, index).read(1, private.genesis.root).context
    layout = private.manifest.layout
    assert layout.depth == 0
    with path.open("rb") as stream:
        reader = VectorReader(stream, layout, seal_bytes=seal_bytes(context))
        values = np.concatenate(list(reader.blocks()))
    leaf = np.zeros(LEAF, "<u4")
    leaf[: layout.parameters], leaf[layout.parameters] = values, beyond
    zeros = zero_nodes(leaf.nbytes)
    root = keccak256(keccak256(keccak256(leaf.tobytes()) + zeros[0]) + zeros[1])
    return masked_root(root, seal_digest(reader.seal, context.size))


def test_a_root_over_a_value_in_the_padding_is_held_by_no_seat(tmp_path: Path) -> None:
    private = SmallPrivateFederation(tmp_path, PARTIES, 1)
    parties = [private.party(number) for number in range(PARTIES)]
    private.run_to(Phase.REVEAL, [*parties, private.keeper(1)], 1)
    cheat, submission = private.parties[CHEAT], parties[CHEAT].submission
    assert isinstance(submission, MaskedSubmission)
    entry = submission.entry(1)
    assert entry is not None
    masked = submission._mask(private.contract.observe(cheat.address), entry)
    assert padded_root(private, masked.path, 0) == masked.root
    with masked.path.open("rb") as stream:
        assert private.store.put(stream) == masked.cid
    root = padded_root(private, masked.path, 1)
    update = MaskedUpdate(cheat.address, root, masked.cid, bytes(32), bytes(32))
    private.send(cheat, private.contract.reveal_masked(masked.commits_hash, [update]))

    honest = parties[CHEAT + 1 :]
    seen = private.run_round([*honest, private.private_aggregator(0)], 1)
    assert (seen.current.phase, seen.head.round) == (Phase.ACCEPTED, 1)
    assert private.included() == {1, 2, 3}
