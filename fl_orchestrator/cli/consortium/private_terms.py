"""The options of a private federation's terms, each with what it means for who can read what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.errors import InputError
from fl_orchestrator.model.protocol import PRIVATE_UPDATES_MINIMUM, UPDATE_MAX

if TYPE_CHECKING:
    from fl_orchestrator.roles.masked.terms import PrivateTerms

#: In seconds.
MAX_PERIOD: Final = 2**31 - 1
_PRIVACY: Final = "Privacy"


def _within(high: int) -> Callable[[int | None], int | None]:
    def check(value: int | None) -> int | None:
        if value is not None and not 1 <= value <= high:
            raise typer.BadParameter(f"{value} is not in the range 1 to {high:,}.")
        return value

    return check


def _option(name: str, text: str, **more: Any) -> Any:
    return typer.Option(name, help=text, rich_help_panel=_PRIVACY, **more)


PrivateOption = Annotated[
    bool,
    _option(
        "--private",
        "Mask every update, so that nobody reads one alone: aggregators open only the sum of all "
        f"updates of a round, at least {PRIVATE_UPDATES_MINIMUM}. Without it, whoever can read the "
        "store reads each party's update.",
    ),
]
SecrecyOption = Annotated[
    int | None,
    _option(
        "--secrecy",
        "Who could break the secrecy: aggregators that together have more than N/3 of the "
        "aggregators' stake, if they collude. With 2, an aggregator and a party that collude can "
        "read nothing, but can make rounds come to nothing. With 1 they cannot, as long as less "
        "than a third of the stake is dishonest, but more than a third can read. Default: 2.",
        metavar="1|2",
        callback=_within(2),
    ),
]
RelockOption = Annotated[
    bool,
    _option(
        "--relock",
        "Let other parties take part when a round from the same model is repeated. Two sums over "
        "different parties then show their difference, possibly one party's update. Without it, a "
        "repeated round waits for the same parties.",
    ),
]
StepLimitOption = Annotated[
    int | None,
    _option(
        "--step-limit",
        "The largest step of a model's value in a round, in units of an update's last bit. It "
        "limits what a party can do to the model, because nobody can look at its update. Default: "
        f"{UPDATE_MAX}, the range of an update.",
        metavar="N",
        callback=_within(UPDATE_MAX),
    ),
]
ClaimPeriodOption = Annotated[
    int | None,
    _option(
        "--claim-period",
        "For aggregators to say which updates they hold, before any sum is opened: a party whose "
        "update reaches most of them in this time cannot be left out. Default: 600.",
        metavar="SECONDS",
        callback=_within(MAX_PERIOD),
    ),
]


def private_terms(
    private: bool,
    secrecy: int | None,
    relock: bool,
    step_limit: int | None,
    claim_period: int | None,
) -> PrivateTerms | None:
    """The terms of a private federation; None without ``private``. Raises InputError."""
    given = {
        "secrecy": secrecy,
        "step_limit": step_limit,
        "claim_period": claim_period,
        "relock": relock or None,
    }
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if not private:
        if chosen:
            option = next(iter(chosen)).replace("_", "-")
            raise InputError(
                f"--{option} is a term of private federations, and this one would not be private.",
                "Give --private too, or leave it out.",
            )
        return None
    from fl_orchestrator.roles.masked.terms import PrivateTerms

    return PrivateTerms(**chosen)
