"""What a trainer keeps at its site from round to round, such as a personal head or a counter.

A trainer may have the two methods of `Stateful`. The party restores the state before each call of
`fit` and `evaluate`, and saves it with the update of the round (docs/protocol.md, section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fl_orchestrator.errors import TrainingError
from fl_orchestrator.training.trainer import Trainer

#: Arrays by their names, of booleans, integers or floating-point numbers.
SiteState = dict[str, NDArray[Any]]

_KINDS: Final = frozenset("biuf")


class BadSiteState(TrainingError):
    """A trainer's state cannot be saved, or a saved one cannot be read."""


@runtime_checkable
class Stateful(Protocol):
    """The optional methods of a trainer that keeps something at the site."""

    def site_state(self) -> SiteState:
        """The state after the last call of `fit`, as arrays by their names."""
        ...

    def restore_site_state(self, state: SiteState) -> None:
        """Take a state that `site_state` returned; the empty one is that of a new trainer."""
        ...


def state_of(trainer: Trainer) -> SiteState:
    """The trainer's state; empty if it keeps none."""
    return trainer.site_state() if isinstance(trainer, Stateful) else {}


def restore(trainer: Trainer, state: SiteState) -> None:
    """Give a trainer a state, if it keeps one."""
    if isinstance(trainer, Stateful):
        trainer.restore_site_state(state)


def to_bytes(state: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file of a state. Raises BadSiteState."""
    from safetensors import SafetensorError
    from safetensors.numpy import save

    for name, array in state.items():
        if array.dtype.kind not in _KINDS:
            raise BadSiteState(
                f"The site's state {name!r} is of {array.dtype}, which cannot be saved.",
                "Keep booleans, integers or floating-point numbers.",
            )
    # The writer copies an array's memory, so the array must be in row-major order.
    rows = {name: np.asarray(array, order="C") for name, array in state.items()}
    try:
        return save(rows, dict(metadata))
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadSiteState(f"The site's state cannot be saved: {error}.") from error


def metadata_in(path: Path) -> dict[str, str]:
    """The metadata of a file of `to_bytes`. Raises BadSiteState."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _damaged(path) from error


def state_in(path: Path) -> SiteState:
    """The state in a file of `to_bytes`. Raises BadSiteState."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> BadSiteState:
    return BadSiteState(
        f"The site's state in {path} is damaged.",
        "Restore it from a backup. Without the file, training goes on from the state before it.",
    )
