"""`flo demo --attack`: perform an attack and show how it fails."""

from __future__ import annotations

import dataclasses
import re
import tempfile
import textwrap
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from fl_orchestrator.cli.console import (
    duration,
    ether,
    interruptible,
    out,
    print_json,
    quiet_if,
    say,
)
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from fl_orchestrator.attacks.base import Cost, Verdict

COMBINES: Final = frozenset({"attack", "seed", "json_output"})
_COLOURS: Final = {"attacker": "red", "protocol": "green", "watcher": "cyan", "owner": "yellow"}
_NOT_WON: Final = 1
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_BEFORE_UNIT: Final = re.compile(r"(?<=\d) (?=(?:ETH|wei|gas|bytes|s)\b|%)")


class NotWithAttack(InputError):
    """An option does not apply to an attack, to --look or to --trainer."""


def refuse_other_options(
    context: typer.Context, what: str, combines: Collection[str], has: str = "federation"
) -> None:
    """Raises NotWithAttack if an option was given that ``what``, such as an attack, would ignore.

    ``combines`` are the parameters that go with it; ``has``: what it does not take from options.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        typed = source is not None and source.name == "COMMANDLINE"
        if typed and parameter.name not in combines:
            known = (p.opts[0] for p in context.command.params if p.name in combines)
            *first, last = (option for option in known if option != what)
            raise NotWithAttack(
                f"{parameter.opts[0]} does not go with {what}, which has its own {has}.",
                f"Leave it out; {', '.join(first)} and {last} go with it.",
            )


def perform(name: str, seed: int, json_output: bool, debug: bool) -> None:
    """Perform an attack, show it, and exit with 1 unless the protocol has defeated it."""
    started = time.monotonic()
    console = quiet_if(json_output)
    if not debug:
        # The story tells what the roles would log as warnings.
        from fl_orchestrator.cli.logs import silence

        silence()
    with (
        interruptible("An attack leaves no files; run it again."),
        tempfile.TemporaryDirectory(prefix="flo-attack-") as workspace,
        console.status("Loading the data and the contracts …") as status,
    ):
        from fl_orchestrator.attacks.registry import attack_named

        chosen = attack_named(name)
        _hanging(console, f"{chosen.name}: ", "bold", chosen.summary)

        def tell(who: str, what: str) -> None:
            _tell(console, who, what)
            status.update("Continuing …")

        verdict = chosen.run(Path(workspace), seed, tell)
    seconds = time.monotonic() - started
    if json_output:
        print_json(_as_json(chosen.name, seed, verdict, seconds))
    else:
        _conclude(verdict, chosen.remains, seconds)
    if not verdict.won:
        raise typer.Exit(_NOT_WON)


def _tell(console: Console, who: str, what: str) -> None:
    """Print a line of the story."""
    from fl_orchestrator.attacks.base import HEADING, TABLE

    if who == HEADING:
        console.print(f"\n[bold]{what}[/]")
    elif who == TABLE:
        console.print(what, soft_wrap=True, markup=False)
    else:
        _hanging(console, f"  {who:<8}  ", _COLOURS[who], what)


def _hanging(console: Console, head: str, style: str, text: str) -> None:
    """Print a text beside its head: wrapped between words on a terminal, one line in a pipe."""
    from rich.text import Text

    width = console.width - len(head) if console.is_terminal else max(1, len(text))
    kept = _BEFORE_UNIT.sub(_NO_BREAK, text)
    for line in textwrap.wrap(kept, width, break_long_words=False, break_on_hyphens=False):
        shown = line.replace(_NO_BREAK, " ")
        console.print(Text.assemble((head, style), shown), soft_wrap=True)
        head = " " * len(head)


def _conclude(verdict: Verdict, remains: str, seconds: float) -> None:
    out.print("\n[italic]What it cost; gas is about 1 gwei on this chain[/]")
    out.print(_costs(verdict.costs))
    word = "[bold green]won[/]" if verdict.won else "[bold red]did not win[/]"
    say(f"\nThe protocol {word}, in {duration(seconds)}:")
    for fact in verdict.facts:
        _hanging(out, *(("  yes  ", "green") if fact.holds else ("  NO   ", "red")), fact.text)
    out.print()
    _hanging(out, "What remains: ", "bold", remains)


def _costs(costs: tuple[Cost, ...]) -> Table:
    from rich.table import Table

    table = Table()
    table.add_column("who")
    with_bonds = any(cost.bonds_lost for cost in costs)
    for name in ("stake lost", "gas paid", "reward", "reward forgone", "bonds lost")[
        : 4 + with_bonds
    ]:
        table.add_column(name, justify="right")
    for cost in costs:
        amounts = (cost.stake_lost, cost.gas_paid, cost.reward, cost.reward_forgone)
        bonds = (cost.bonds_lost,) if with_bonds else ()
        table.add_row(cost.who, *map(ether, (*amounts, *bonds)))
    return table


def _as_json(name: str, seed: int, verdict: Verdict, seconds: float) -> dict[str, Any]:
    return {
        "attack": name,
        "seed": seed,
        "won": verdict.won,
        "facts": [dataclasses.asdict(fact) for fact in verdict.facts],
        "costs": [
            {
                "who": cost.who,
                "stake_lost_wei": cost.stake_lost,
                "gas_paid_wei": cost.gas_paid,
                "reward_wei": cost.reward,
                "reward_forgone_wei": cost.reward_forgone,
                "bonds_lost_wei": cost.bonds_lost,
            }
            for cost in verdict.costs
        ],
        "figures": verdict.figures,
        "seconds": round(seconds, 1),
    }
