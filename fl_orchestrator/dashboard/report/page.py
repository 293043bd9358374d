"""A report as one HTML file: no script, nothing loaded from elsewhere, readable on paper."""

from __future__ import annotations

import datetime
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fl_orchestrator.dashboard.report.curve import Curve, curve
from fl_orchestrator.dashboard.report.gather import Report
from fl_orchestrator.dashboard.report.outcome import EQUAL, UNCHECKED, WRONG
from fl_orchestrator.errors import ToolchainError, install_hint
from fl_orchestrator.units import ether

_TEMPLATE: Final = "report.html.j2"


class JinjaMissing(ToolchainError):
    """The library that fills in the page is not installed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the federation is, for the commands that reproduce the report.

    ``run`` is the directory of a recorded run, which needs neither a chain nor a store.
    ``ancestor_rpc`` has the endpoints of the chains of ancestors, where they are others.
    """

    rpc: str
    store: str
    run: Path | None = None
    ancestor_rpc: str = ""

    @property
    def directory(self) -> str | None:
        return None if self.run is None else shlex.quote(str(self.run))


def render(report: Report, place: Place) -> str:
    """The page."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise JinjaMissing(
            "The report needs Jinja2, which is not installed.",
            f"{install_hint('report')}, or use --json.",
        ) from error
    environment = Environment(
        loader=PackageLoader("fl_orchestrator.dashboard.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "date": _date,
        "ether": _ether,
        "signed": _signed,
        "term": _term,
        "words": _words,
    }
    return environment.get_template(_TEMPLATE).render(
        report=report,
        verdict=_verdict(report),
        curves=[*_curves(report)],
        place=place,
        EQUAL=EQUAL,
        WRONG=WRONG,
        UNCHECKED=UNCHECKED,
    )


def _verdict(report: Report) -> tuple[str, str]:
    """What the report found, in a sentence, and its class: good, bad or unknown."""
    models = report.models
    wrong, unchecked = report.checked(WRONG), report.checked(UNCHECKED)
    if wrong:
        rounds = ", ".join(wrong)
        return f"Not what the protocol says: the model of round {rounds} is wrong.", "bad"
    for line in report.lines(WRONG):
        return f"Not what the protocol says: {line['reason']}", "bad"
    unfollowed = report.lines(UNCHECKED)
    before = " A federation before it was not followed." if unfollowed else ""
    if not models:
        return f"No round has been accepted yet; the only model is genesis.{before}", "unknown"
    if unchecked or unfollowed:
        right = models - len(unchecked)
        left = f"; {len(unchecked)} could not be checked" if unchecked else ""
        return (
            f"{right} of {models} models were computed again from their updates and are equal, bit "
            f"for bit{left}.{before}",
            "unknown",
        )
    return (
        f"All {models} models were computed again from their updates and are equal, bit for bit.",
        "good",
    )


def _curves(report: Report) -> list[Curve]:
    made = [one for one in report.rounds if one["included"] is not None]
    shares = [(one["number"], _share(one)) for one in made]
    found = (
        curve("Updates in the model", [(one["number"], one["included"]) for one in made]),
        curve("Signed stake, per cent", shares),
    )
    return [one for one in found if one is not None]


def _share(one: dict[str, Any]) -> int:
    total = int(one["aggregator_stake"])
    return round(100 * int(one["signed_stake"]) / total) if total else 0


def _date(timestamp: int | None) -> str:
    if not timestamp:
        return "—"
    date = datetime.datetime.fromtimestamp(timestamp, datetime.UTC)
    return f"{date:%Y-%m-%d %H:%M:%S} UTC"


def _ether(wei: str | int | None) -> str:
    return "—" if wei is None else ether(int(wei))


def _signed(value: float) -> str:
    """A value that may be below zero, with a minus sign that is as wide as a plus."""
    return f"{value:+.3g}".replace("-", "\N{MINUS SIGN}") if value else "0"


def _term(value: Any, name: str) -> str:
    """A parameter for people: amounts in ETH, periods in seconds, shares in per cent."""
    if name.endswith(("_stake", "_bond", "reward")):
        return _ether(value)
    if name.endswith("_period"):
        return f"{value:,} s"
    if name.endswith("_bps"):
        return f"{value / 100:g} %"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _words(name: str) -> str:
    """An identifier as words: minPartyStake, min_party_stake."""
    name = name.removesuffix("_bps")
    spaced = "".join(f" {c.lower()}" if c.isupper() else c for c in name)
    return spaced.replace("_", " ").strip()
