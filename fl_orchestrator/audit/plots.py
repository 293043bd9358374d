"""The curves of a run (accuracy and loss, the gas of each round), and those of one site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fl_orchestrator.audit.history import History
from fl_orchestrator.errors import ToolchainError, pip_install

CURVES: Final = "curves.png"

_FEDERATION: Final = "#1f5fa8"
_POOLED: Final = "#2e8b57"
_ALONE: Final = "#b05a2a"
# Colours for the parts of a round's gas, from the largest to the smallest part.
_PARTS: Final = ("#1f5fa8", "#5b9bd5", "#9cc3e6", "#2e8b57", "#8cc8a4", "#b05a2a", "#e0b089")


class NoPlots(ToolchainError):
    """Matplotlib is not installed."""


def draw_curves(history: History, path: Path) -> None:
    """Write a PNG with accuracy, loss and gas per round."""
    pyplot = _pyplot()
    figure, (accuracy, loss, gas) = pyplot.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
    rounds = [entry.round for entry in history.rounds]
    _draw_accuracy(accuracy, history, rounds)
    loss.plot(rounds, [entry.loss for entry in history.rounds], "o-", color=_FEDERATION)
    loss.set(title="Loss on the test set", xlabel="round")
    _draw_gas(gas, history, rounds)
    for axes in (accuracy, loss, gas):
        _style(axes)
    figure.suptitle(
        f"{history.dataset}: {history.parties} parties, {history.partition}, "
        f"{history.rule}, seed {history.seed}"
    )
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


def draw_measurements(
    series: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], path: Path
) -> None:
    """Write a PNG or SVG with one plot a metric: lines of (round, value) by what they are of.

    Raises NoPlots without matplotlib.
    """
    pyplot = _pyplot()
    size = (5 * len(series), 4.4)
    figure, grid = pyplot.subplots(
        1, len(series), figsize=size, layout="constrained", squeeze=False
    )
    for (metric, lines), axes in zip(series.items(), grid[0], strict=True):
        for (name, points), colour in zip(lines.items(), (_ALONE, _FEDERATION), strict=False):
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=colour, label=name)
        # A metric's name is text, not mathematics between dollar signs.
        axes.set_title(metric, parse_math=False)
        axes.set(xlabel="round")
        axes.legend(frameon=False)
        _style(axes)
    figure.savefig(path, dpi=120, metadata={"Software": None} if path.suffix == ".png" else None)
    pyplot.close(figure)


def _pyplot() -> Any:
    """Matplotlib without a screen. Raises NoPlots."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError as error:
        raise NoPlots(
            "Drawing needs the Python package matplotlib.",
            f"Install it with: {pip_install('matplotlib')}",
        ) from error
    mpl.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _style(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _draw_accuracy(axes: Any, history: History, rounds: list[int]) -> None:
    values = [entry.accuracy for entry in history.rounds]
    axes.plot(rounds, values, "o-", color=_FEDERATION, label="federation")
    if history.comparison is not None:
        pooled, alone = history.comparison.accuracy_pooled, history.comparison.accuracy_alone_mean
        axes.axhline(pooled, color=_POOLED, ls="--", label=f"all data pooled ({pooled:.3f})")
        axes.axhline(alone, color=_ALONE, ls=":", label=f"a party alone, mean ({alone:.3f})")
    axes.set(title="Accuracy on the test set", xlabel="round")
    axes.legend(loc="center right", frameon=False)


def _draw_gas(axes: Any, history: History, rounds: list[int]) -> None:
    totals: dict[str, int] = {}
    for entry in history.rounds:
        for call, amount in entry.gas_by_call.items():
            totals[call] = totals.get(call, 0) + amount
    bottom = [0.0] * len(rounds)
    for number, call in enumerate(sorted(totals, key=lambda name: -totals[name])):
        part = [entry.gas_by_call.get(call, 0) / 1e6 for entry in history.rounds]
        colour = _PARTS[min(number, len(_PARTS) - 1)]
        axes.bar(rounds, part, bottom=bottom, label=call, color=colour, width=0.7)
        bottom = [low + high for low, high in zip(bottom, part, strict=True)]
    axes.set(title="Gas per round (millions)", xlabel="round")
    axes.margins(y=0.3)
    axes.legend(loc="upper center", frameon=False, ncols=3, fontsize="small")
