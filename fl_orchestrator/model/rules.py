"""The table of aggregation rules. Every list of rules in Python is made from it.

What the rules compute is in ``fl_orchestrator.aggregation.rules``. Source: docs/protocol.md,
section 3.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Self

from fl_orchestrator.errors import InputError


class UnknownRule(InputError):
    """No rule has the name that was given."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a rule, in basis points (1/10,000): 0 to ``most``.

    ``field`` is its name in ``RuleSpec`` and ``Params``. ``option`` is its option on the command
    line, which takes a fraction, and ``meaning`` is the help text of that option. ``default`` is
    used if no value is given.
    """

    field: str
    option: str
    meaning: str
    default: int
    most: int


TRIM: Final = Parameter(
    field="trim_bps",
    option="trim",
    meaning="the fraction of the values to drop at each end",
    default=2000,
    most=4999,
)


class RuleKind(enum.IntEnum):
    """One row for each rule: its number and its parameters.

    The number and the name are those of the enum ``Rule`` in IFederation.sol. ``label`` is the name
    in manifests and on the command line, ``alias`` another name that the field uses, or empty.
    """

    label: str
    alias: str
    parameters: tuple[Parameter, ...]

    WEIGHTED_MEAN = 0, "weighted-mean", "FedAvg", ()
    MEDIAN = 1, "median", "", ()
    TRIMMED_MEAN = 2, "trimmed-mean", "", (TRIM,)

    def __new__(
        cls, number: int, label: str, alias: str, parameters: tuple[Parameter, ...]
    ) -> Self:
        member = int.__new__(cls, number)
        member._value_ = number
        member.label, member.alias, member.parameters = label, alias, parameters
        return member


def rule_named(label: str) -> RuleKind:
    """The rule with this name. Raises UnknownRule."""
    for kind in RuleKind:
        if kind.label == label:
            return kind
    known = ", ".join(kind.label for kind in RuleKind)
    raise UnknownRule(f"There is no rule {label!r}.", f"Use one of {known}.")
