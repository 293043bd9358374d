"""A party reveals malformed bytes as an update, to stop or to take over the programs that read it.

The update is left out; nothing is unpickled, and no path that the bytes name is written to.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
import safetensors.numpy
from support.adversary import Adversary
from support.federation import Build, SmallFederation

from fl_orchestrator.attacks.junk_bytes import KINDS
from fl_orchestrator.chain.types import Phase


def junk(federation: SmallFederation, adversary: Adversary, kind: str) -> tuple[bytes, bytes]:
    """A file that does not match the commitment, and the root that was committed to."""
    content, root = adversary.file(value=3)
    if kind == "another root":
        return content, adversary.file(value=4)[1]
    if kind == "another round":
        return adversary.file(value=3, round_number=2)
    if kind == "NaN":
        tensors = federation.manifest.tensors
        return safetensors.numpy.save(
            {tensor.name: np.full(tensor.shape, np.nan, np.float32) for tensor in tensors}
        ), root
    return KINDS[kind](content, federation.directory / "canary"), root


@pytest.mark.parametrize("kind", ["another root", "another round", "NaN", *KINDS])
def test_an_update_that_cannot_be_used_is_left_out(build: Build, kind: str) -> None:
    federation = build(parties=3)
    adversary = Adversary(federation, 2)
    content, root = junk(federation, adversary, kind)
    update = adversary.update(content, root)
    honest = federation.everybody()[:2]

    federation.open_round()
    adversary.commit(update)
    federation.run_to(Phase.REVEAL, honest, 1)
    federation.store.put(io.BytesIO(content))
    adversary.reveal(update)
    seen = federation.run_round([*honest, federation.aggregator(0)])

    assert (seen.current.phase, seen.current.reveals) == (Phase.ACCEPTED, 3)
    assert federation.included() == {0, 1}
    assert not list(federation.directory.rglob("canary"))
    assert not list(federation.directory.rglob("climbed"))
    # The chain cannot verify this misbehaviour, so it costs the reward and the gas, but no stake.
    stake = federation.observe(federation.parties[2]).party
    assert stake.stake == federation.terms.min_party_stake
