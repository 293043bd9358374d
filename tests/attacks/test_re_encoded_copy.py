"""A thief gets a victim's update before the commit phase closes (the victim was careless), and
encodes the same numbers differently, so that the bytes and the CID differ.

A root is computed from the numbers, not from their encoding, so the copy is a duplicate.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
import safetensors.numpy
from support.adversary import Adversary
from support.federation import Build

from fl_orchestrator.chain.types import Phase
from fl_orchestrator.model.vector_file import read_tree


def unchanged(content: bytes) -> bytes:
    return content


def with_spaces(content: bytes) -> bytes:
    """With a longer header, which the format allows."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = content[8:end] + b" " * 64
    return len(header).to_bytes(8, "little") + header + content[end:]


def by_the_library(content: bytes) -> bytes:
    """Without metadata, as the safetensors library writes it."""
    return safetensors.numpy.save(safetensors.numpy.load(content))


def in_another_order(content: bytes) -> bytes:
    """With the keys of the header in reverse order."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    text = json.dumps(dict(reversed(header.items()))).encode()
    return len(text).to_bytes(8, "little") + text + content[end:]


@pytest.mark.parametrize("pack", [unchanged, with_spaces, by_the_library, in_another_order])
def test_a_copy_in_any_packing_counts_for_nobody_else(
    build: Build, pack: Callable[[bytes], bytes]
) -> None:
    federation = build(parties=3)
    thief = Adversary(federation, 2)
    honest = federation.everybody()[:2]
    federation.open_round()
    for party in honest:
        party.step()
    (entry,) = (federation.home("parties", 0) / "journal").rglob("update.safetensors")
    stolen = entry.read_bytes()
    packed = pack(stolen)
    original = safetensors.numpy.load(stolen)
    assert all(
        (array == original[name]).all() for name, array in safetensors.numpy.load(packed).items()
    )
    assert (packed == stolen) == (pack is unchanged)

    root = read_tree(io.BytesIO(stolen), federation.manifest.layout).root
    copy = thief.update(packed, root, weight=255)
    thief.commit(copy)
    federation.store.put(io.BytesIO(packed))
    honest[0].step()
    thief.reveal(copy)
    seen = federation.run_round([honest[1], federation.aggregator(0)])

    assert (seen.current.phase, seen.current.reveals, seen.current.opened) == (Phase.ACCEPTED, 2, 3)
    assert federation.included() == {0, 1}
    # The copy was revealed, so it is not slashed; it does not count, so it is not paid.
    view = federation.observe(federation.parties[2])
    assert (view.committed.revealed, view.unrevealed_slashable) == (True, False)
    federation.run([federation.keeper(1)], lambda _: federation.federation.distributed(1))
    assert federation.observe(federation.parties[2]).credit == 0
    assert federation.observe(federation.parties[0]).credit > 0
