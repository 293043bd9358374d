"""The curves of a run: accuracy and loss, and the gas of each round."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fl_orchestrator.audit.history import History

CURVES: Final = "curves.png"

_FEDERATION: Final = "#1f5fa8"
_POOLED: Final = "#2e8b57"
_ALONE: Final = "#b05a2a"
# Colours for the parts of a round's gas, from the largest to the smallest part.
_PARTS: Final = ("#1f5fa8", "#5b9bd5", "#9cc3e6", "#2e8b57", "#8cc8a4", "#b05a2a", "#e0b089")


def draw_curves(history: History, path: Path) -> None:
    """Write a PNG with accuracy, loss and gas per round."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (accuracy, loss, gas) = pyplot.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
    rounds = [entry.round for entry in history.rounds]
    _draw_accuracy(accuracy, history, rounds)
    loss.plot(rounds, [entry.loss for entry in history.rounds], "o-", color=_FEDERATION)
    loss.set(title="Loss on the test set", xlabel="round")
    _draw_gas(gas, history, rounds)
    for axes in (accuracy, loss, gas):
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(
        f"{history.dataset}: {history.parties} parties, {history.partition}, "
        f"{history.rule}, seed {history.seed}"
    )
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


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
