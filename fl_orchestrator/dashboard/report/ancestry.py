"""What a report says of the federations that a federation goes on from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fl_orchestrator.dashboard.report.outcome import EQUAL, UNCHECKED, WRONG, named, outcome_of
from fl_orchestrator.errors import ChainError, ContentError, VerificationError

if TYPE_CHECKING:
    from fl_orchestrator.audit.federation import Federation as Auditor
    from fl_orchestrator.audit.lineage import Ancestor
    from fl_orchestrator.model.parts.part import Lineage

Progress = Callable[[int, int], None]


def ancestry(
    auditor: Auditor, before: Iterable[Ancestor], progress: Progress
) -> list[dict[str, Any]]:
    """The federations ``before`` one, the nearest first, as JSON; their models are computed again.

    The last of them may be one that is not followed, or not the one that its successor names.
    """
    found: list[dict[str, Any]] = []
    successor = auditor
    try:
        for ancestor in before:
            found.append(_entry(ancestor, progress))
            successor = ancestor.federation or successor
    except (VerificationError, ContentError, ChainError) as error:
        from fl_orchestrator.audit.lineage import BrokenLineage

        lineage = successor.manifest.lineage
        if lineage is None:
            raise
        broken = isinstance(error, BrokenLineage)
        found.append(_without_models(lineage, WRONG if broken else UNCHECKED, error.message))
    return found


def _entry(ancestor: Ancestor, progress: Progress) -> dict[str, Any]:
    lineage, before = ancestor.lineage, ancestor.federation
    if before is None:
        reason = f"no endpoint of chain {lineage.chain_id} was given (--ancestor-rpc)"
        return _without_models(lineage, UNCHECKED, reason)
    models = [named(before.chain.model(0), None)]
    for model, error in before.outcomes(up_to=lineage.height):
        progress(model.height, lineage.height)
        models.append({**named(model, models[-1]["root"]), **outcome_of(error)})
    last = models[-1]
    return {
        **_without_models(lineage, EQUAL, None),
        "federation": before.address,
        "version": before.chain.version,
        "round": last["round"],
        "cid": last["cid"],
        "models": models,
    }


def _without_models(lineage: Lineage, recomputed: str, reason: str | None) -> dict[str, Any]:
    """What a successor's manifest says of a federation, and whether it is so."""
    return {
        "chainId": lineage.chain_id,
        "federation": lineage.federation,
        "version": None,
        "height": lineage.height,
        "round": None,
        "root": "0x" + lineage.root,
        "cid": None,
        "models": [],
        "recomputed": recomputed,
        "reason": reason,
    }
