"""Follows a federation back to those that it goes on from."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fl_orchestrator.audit.federation import Federation
from fl_orchestrator.audit.first_model import fetch_model, final_model, first_root
from fl_orchestrator.chain.contract import federation as contract
from fl_orchestrator.chain.contract.private import open_federation
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.errors import VerificationError
from fl_orchestrator.model.parts.part import Lineage
from fl_orchestrator.roles.vectors import VectorCache


class BrokenLineage(VerificationError):
    """A federation does not go on from the final model that its manifest names."""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A federation that another one goes on from; None if its chain is not reached."""

    lineage: Lineage
    federation: Federation | None


def ancestors(
    federation: Federation,
    chain_of: Callable[[int], Node | None],
    deployed_at: Callable[[contract.Federation], int] = lambda _chain: 0,
) -> Iterator[Ancestor]:
    """The federations before this one, the nearest first, each checked to be its successor's.

    ``chain_of`` gives the chain with an id, or None if it is not reached: then the line ends there.
    Their histories are not checked: see `Federation.checks`. Raises BrokenLineage, and what opening
    a federation raises.
    """
    seen = {(federation.chain.chain_id, federation.address.lower())}
    while (lineage := federation.manifest.lineage) is not None:
        if (lineage.chain_id, lineage.federation) in seen:
            raise BrokenLineage(
                f"The federation {lineage.federation} goes on from itself.", "Do not use it."
            )
        seen.add((lineage.chain_id, lineage.federation))
        node = chain_of(lineage.chain_id)
        if node is None:
            yield Ancestor(lineage, None)
            return
        chain = open_federation(node, lineage.federation, any_version=True)
        before = Federation(chain, federation.store, deployed_at(chain))
        _require_successor(federation, before, lineage)
        yield Ancestor(lineage, before)
        federation = before


def _require_successor(federation: Federation, before: Federation, lineage: Lineage) -> None:
    """Raise BrokenLineage unless a federation's first model is the final one of that before."""
    where = f"the federation {lineage.federation} on chain {lineage.chain_id}"
    final = final_model(before.chain).height
    if lineage.height > final:
        raise BrokenLineage(
            f"{federation.address} goes on from height {lineage.height} of {where}, and only "
            f"{final} is final there."
        )
    model = before.chain.model(lineage.height)
    if model.root.hex() != lineage.root:
        raise BrokenLineage(
            f"The manifest of {federation.address} names the root 0x{lineage.root}, and {where} "
            f"has 0x{model.root.hex()} at height {lineage.height}."
        )
    layout = federation.manifest.layout
    if layout != before.manifest.layout:
        raise BrokenLineage(f"{federation.address} has another layout than {where}.")
    root = model.root
    if layout.momentum:
        with tempfile.TemporaryDirectory(prefix="flo-lineage-") as workspace:
            cache = VectorCache(Path(workspace), before.manifest)
            file = fetch_model(before.store, before.chain, cache, model)
            root = first_root(layout, file)
    if federation.chain.model(0).root != root:
        raise BrokenLineage(
            f"The first model of {federation.address} is not that of height {lineage.height} of "
            f"{where}."
        )
