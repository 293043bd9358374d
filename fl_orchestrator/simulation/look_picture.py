"""The picture of `flo demo --private --look`: what a reader has, beside the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from fl_orchestrator.simulation.look import Look, Vector

PICTURE: Final = "look.png"

_MINUS: Final = "\N{MINUS SIGN}"
_TRUE: Final = "#c9ced6"
_RIGHT: Final = "#b3261e"
_WRONG: Final = "#1f5fa8"
_OPENED: Final = "#2e8b57"


def draw_look(look: Look, path: Path) -> None:
    """Write a PNG: a column for each thing that can be read; the update above, the row below."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(15, 7.6), layout="constrained", sharex=True)
    columns = (
        (look.plain, "Plain federation: the party's file", _RIGHT),
        (look.private, "Private federation: the party's file", _WRONG),
        (look.opened, "Private federation: the opened sum", _OPENED),
    )
    for column, (reading, title, colour) in enumerate(columns):
        above, below = axes[0, column], axes[1, column]
        _bars(above, look.update, reading.update, colour, reading.update_correlation)
        _bars(
            below, look.scaled(look.row), look.scaled(reading.row), colour, reading.row_correlation
        )
        above.set_title(title, fontsize=12, fontweight="bold", pad=12)
        below.set_xlabel("feature")
    axes[0, 0].set_ylabel("the party's update\n(divided by its largest value)")
    axes[1, 0].set_ylabel("its patient, reconstructed\n(divided by the largest value)")
    figure.suptitle(
        "What a reader of the store can reconstruct of one party with one patient. "
        "Grey: the truth. Colour: what was read.",
        fontsize=13,
    )
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


def _bars(axes: Any, true: Vector, read: Vector, colour: str, correlation: float) -> None:
    places = np.arange(1, true.size + 1)
    axes.bar(places, _normed(true), width=0.9, color=_TRUE, label="the truth")
    axes.bar(places, _normed(read), width=0.4, color=colour, label="what was read")
    axes.axhline(0, color="black", lw=0.6)
    axes.set(ylim=(-1.3, 1.3), xlim=(0, true.size + 1))
    shown = f"correlation {correlation:.3f}".replace("-", _MINUS)
    axes.text(0.02, 0.97, shown, transform=axes.transAxes, va="top")
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _normed(values: Vector) -> Vector:
    """The values divided by the largest magnitude: masked ones are too large for one scale."""
    return values / max(float(np.abs(values).max()), np.finfo(np.float64).tiny)
