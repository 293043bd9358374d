"""A model in a report, and what became of its recomputation."""

from __future__ import annotations

from typing import Any, Final

from fl_orchestrator.chain.types import ModelView
from fl_orchestrator.errors import FloError

EQUAL: Final = "equal"
WRONG: Final = "wrong"
UNCHECKED: Final = "not checked"
#: What a report found out by itself; the digest of the lineage is without it.
FOUND_OUT: Final = frozenset({"recomputed", "reason"})


def named(model: ModelView, base: str | None) -> dict[str, Any]:
    """A model of a history, above the one with the root ``base``."""
    return {
        "height": model.height,
        "round": model.round,
        "root": "0x" + model.root.hex(),
        "cid": str(model.cid),
        "base": base,
    }


def outcome_of(error: FloError | None) -> dict[str, str | None]:
    """What was found out of a model: why it is wrong or cannot be checked, or that it is equal."""
    if error is None:
        return {"recomputed": EQUAL, "reason": None}
    # A report without a store computes no model, and imports nothing that does.
    from fl_orchestrator.audit.model_audit import IncorrectModel

    wrong = isinstance(error, IncorrectModel)
    return {"recomputed": WRONG if wrong else UNCHECKED, "reason": error.message}
