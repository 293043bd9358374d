"""The table of aggregation rules. Every list of rules in Python is made from it.

What the rules compute is in ``fl_orchestrator.aggregation.rules``. Source: docs/protocol.md,
section 3.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Self

from fl_orchestrator.errors import InputError
from fl_orchestrator.model.protocol import BPS, CHUNK_NORM_LIMIT


class UnknownRule(InputError):
    """No rule has the name that was given."""


class UnusableClip(InputError):
    """A norm that chunks of updates cannot be clipped by."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a rule, in basis points (1/10,000): ``least`` to ``most``.

    ``field`` is its name in ``RuleSpec`` and ``Params``. ``option`` is its option on the command
    line, which takes a fraction, and ``meaning`` is the help text of that option. ``default`` is
    used if no value is given.
    """

    field: str
    option: str
    meaning: str
    default: int
    most: int
    least: int = 0


TRIM: Final = Parameter(
    field="trim_bps",
    option="trim",
    meaning="the fraction of the values to drop at each end",
    default=2000,
    most=4999,
)

#: What becomes of the step of a rule, of any rule: with momentum, a weighted mean is FedAvgM.
LEARNING_RATE: Final = Parameter(
    field="server_learning_rate_bps",
    option="server-learning-rate",
    meaning="how much of the step of a round the model moves",
    default=BPS,
    most=100 * BPS,
    least=1,
)
MOMENTUM: Final = Parameter(
    field="server_momentum_bps",
    option="server-momentum",
    meaning="how much of the last round's movement goes on in the next one (FedAvgM)",
    default=0,
    most=BPS - 1,
)
SERVER: Final = (LEARNING_RATE, MOMENTUM)


@dataclass(frozen=True, slots=True)
class ServerStep:
    """How the server applies the step of a rule, in basis points (docs/protocol.md, section 3)."""

    learning_rate_bps: int = BPS
    momentum_bps: int = 0

    @property
    def has_momentum(self) -> bool:
        """Whether the momentum is part of the state, which then has twice the values."""
        return self.momentum_bps != 0


def chunk_norm_limit(clip_norm: float, fraction_bits: int) -> int:
    """The largest L2 norm of a chunk of an update, in units of its integers: round(clip 2^e).

    ``clip_norm`` is in the units of an update's values. Raises UnusableClip if no chunk, or every
    chunk but one of zeros, would have a larger norm.
    """
    unit = 2.0**-fraction_bits
    # NaN and infinity are refused too.
    if 0 < clip_norm < CHUNK_NORM_LIMIT * unit:
        limit = round(clip_norm / unit)
        if 1 <= limit < CHUNK_NORM_LIMIT:
            return limit
    raise UnusableClip(
        f"Chunks cannot be clipped to a norm of {clip_norm:g}: with {fraction_bits} fraction bits "
        f"it is {unit:g} to {(CHUNK_NORM_LIMIT - 1) * unit:g}.",
        "Choose a norm in this range, or leave it out: nothing is clipped then.",
    )


def require_plain_clip(clip_norm: float | None, private: bool) -> None:
    """Raise UnusableClip if chunks are to be clipped in a private federation."""
    if private and clip_norm is not None:
        raise UnusableClip(
            "In a private federation nobody sees a chunk of an update, so nobody can clip it.",
            "Let the parties clip whole updates: `flo manifest create --private --noise-clip`.",
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
