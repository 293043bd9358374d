"""`flo party history`: what was measured at this site, over the rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.cli.console import JsonOption, out, print_json, safe, say
from fl_orchestrator.cli.site import Account, expanded, with_options
from fl_orchestrator.errors import InputError
from fl_orchestrator.printable import printable

if TYPE_CHECKING:
    from fl_orchestrator.roles.party.measurements import RoundMeasurements

_SUFFIXES: Final = (".png", ".svg")
# The plot in the terminal: a column is a round, or the last of several.
_HEIGHT: Final = 8
_WIDTH: Final = 60
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
# A table has so many metrics beside the loss; --json has all.
_SHOWN_METRICS: Final = 3
_MARGIN: Final = 12


class NothingMeasured(InputError):
    """This site has no measurements, or none of the metric that was asked for."""


@with_options
def history(
    site: Account,
    address: Annotated[str, typer.Argument(help="The party's account. Default: the key's.")] = "",
    metric: Annotated[str, typer.Option(help="The metric to plot.")] = "loss",
    last: Annotated[int, typer.Option(min=1, help="Show so many rounds, the newest ones.")] = 20,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw all metrics: .png or .svg.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Show this site's own loss and metrics over the rounds, as a table and a plot.

    Training: what the trainer reported of this site's update. Global model: the round's model on
    this site's validation rows. Both stay in this role's directory; nobody else has them.

    Example: flo party history --key party.json --metric accuracy --plot history.png
    """
    from fl_orchestrator.roles.party.measurements import Measurements

    if plot is not None and plot.suffix not in _SUFFIXES:
        raise InputError(f"{plot} has an unknown suffix.", f"Use {' or '.join(_SUFFIXES)}.")
    chain = site.open_federation()
    account = site.account(address)
    rounds = Measurements(site.role_home(chain, account)).rounds()
    if not rounds and not json_output:
        raise NothingMeasured(
            f"Nothing was measured here for {account}.",
            "It begins with the first round of `flo party run` with this --home.",
        )
    if plot is not None:
        from fl_orchestrator.audit.plots import draw_measurements

        draw_measurements(_series(rounds), expanded(plot))
    if json_output:
        print_json({"address": account, "rounds": [_as_json(entry) for entry in rounds]})
        return
    _show_table(rounds[-last:], metric)
    _show_plot(rounds, metric)
    if plot is not None:
        say(f"Drawn into {safe(plot)}.")


def _as_json(entry: RoundMeasurements) -> dict[str, Any]:
    return {
        "round": entry.round,
        "training": entry.trained,
        "rows": entry.rows,
        "global_model": entry.evaluated,
        "refused": entry.faults,
        "revoked": entry.revoked,
    }


def _series(rounds: Sequence[RoundMeasurements]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """For each metric, the loss first: its values by rounds, of the training and of the models."""
    names = dict.fromkeys(["loss"])
    for entry in rounds:
        names |= dict.fromkeys([*entry.evaluated, *entry.trained])
    return {
        name: {
            "training": [(e.round, e.trained[name]) for e in rounds if name in e.trained],
            "global model": [(e.round, e.evaluated[name]) for e in rounds if name in e.evaluated],
        }
        for name in names
    }


def _show_table(rounds: Sequence[RoundMeasurements], metric: str) -> None:
    from rich.table import Table

    known = list(_series(rounds))
    names = list(dict.fromkeys(["loss", metric, *known]))[: _SHOWN_METRICS + 1]
    names = [name for name in names if name in known]
    table = Table()
    table.add_column("round", justify="right")
    table.add_column("rows", justify="right")
    for name in names:
        table.add_column(f"{safe(name)}, training", justify="right")
        table.add_column(f"{safe(name)}, global model", justify="right")
    notable = any(entry.revoked or entry.faults for entry in rounds)
    if notable:
        table.add_column("")
    for entry in rounds:
        cells = [
            _cell(found.get(name)) for name in names for found in (entry.trained, entry.evaluated)
        ]
        if notable:
            cells.append("revoked" if entry.revoked else "refused" if entry.faults else "")
        table.add_row(str(entry.round), f"{entry.rows:,}" if entry.rows else "", *cells)
    out.print(table)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _show_plot(rounds: Sequence[RoundMeasurements], metric: str) -> None:
    """The global models' values of a metric, or else the trainings'. Raises NothingMeasured."""
    found = _series(rounds).get(metric, {})
    kind = "global model" if found.get("global model") else "training"
    points = [(number, v) for number, v in found.get(kind, []) if math.isfinite(v)]
    if not points:
        known = ", ".join(printable(name) for name in _series(rounds))
        raise NothingMeasured(f"There are no values of {metric!r} to plot.", f"There are: {known}.")
    kept = points[:: -math.ceil(len(points) / _WIDTH)][::-1]
    out.print(f"\n{printable(metric)}, {kind}", style="bold", markup=False)
    for line in plotted([value for _, value in kept]):
        out.print(line, soft_wrap=True, markup=False, highlight=False)
    first, newest = f"round {kept[0][0]}", str(kept[-1][0])
    space = max(1, len(kept) - len(first) - len(newest))
    out.print(f"{'':>{_MARGIN}}{first}{'':>{space}}{newest}", soft_wrap=True, highlight=False)


def plotted(values: Sequence[float]) -> list[str]:
    """Lines of a plot with a column for each value, from the smallest one to the largest one."""
    low, high = min(values), max(values)
    eighths = len(_BLOCKS) - 1
    span = high - low
    # The smallest value is still a line, so that a gap is not taken for one.
    levels = [
        1 + round((_HEIGHT * eighths - 1) * ((value - low) / span if span else 0.5))
        for value in values
    ]
    lines = []
    for row in range(_HEIGHT - 1, -1, -1):
        label = {_HEIGHT - 1: f"{high:.4g}", 0: f"{low:.4g}"}.get(row, "")
        cells = (_BLOCKS[min(max(level - row * eighths, 0), eighths)] for level in levels)
        lines.append(f"{label:>{_MARGIN - 2}}  {''.join(cells)}".rstrip())
    return lines
