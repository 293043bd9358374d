"""The options that choose an aggregation rule and its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer

from fl_orchestrator.errors import InputError
from fl_orchestrator.model.protocol import BPS
from fl_orchestrator.model.rules import (
    LEARNING_RATE,
    MOMENTUM,
    SERVER,
    TRIM,
    Parameter,
    RuleKind,
    rule_named,
)

if TYPE_CHECKING:
    from fl_orchestrator.model.manifest import RuleSpec

RULE_DEFAULT: Final = RuleKind.WEIGHTED_MEAN.label


def rule_option(panel: str | None = None, before: str = "", after: str = "") -> Any:
    """``--rule``. Its help lists all rules' names, between the texts ``before`` and ``after``."""
    names = [f"{kind.label} ({kind.alias})" if kind.alias else kind.label for kind in RuleKind]
    return typer.Option(help=f"{before}{_listed(names)}.{after}", rich_help_panel=panel)


def trim_option(panel: str | None = None) -> Any:
    """``--trim``."""
    return _parameter_option(TRIM, panel)


def learning_rate_option(panel: str | None = None) -> Any:
    """``--server-learning-rate``."""
    return _parameter_option(LEARNING_RATE, panel)


def momentum_option(panel: str | None = None) -> Any:
    """``--server-momentum``."""
    return _parameter_option(MOMENTUM, panel)


def clip_option(panel: str | None = None) -> Any:
    """``--clip-norm``: see `chunk_norm_limit`."""
    return typer.Option(
        help="With any rule: scale each chunk of 256 values of an update down to at most this L2 "
        "norm first. Default: no clipping.",
        rich_help_panel=panel,
    )


def chosen_rule(label: str, **fractions: float | None) -> RuleSpec:
    """The rule with the given parameters, as fractions by their options' names, with underscores.

    Raises UnknownRule, and InputError for a parameter or a value that the rule does not accept.
    """
    from fl_orchestrator.model.manifest import RuleSpec

    kind = rule_named(label)
    own = {parameter.option: parameter for parameter in (*kind.parameters, *SERVER)}
    given = {
        name.replace("_", "-"): value for name, value in fractions.items() if value is not None
    }
    for option in given:
        if option not in own:
            raise InputError(
                f"The rule {label} takes no --{option}.",
                f"Leave it out, or use --rule {_listed(_labels_with(option))}.",
            )
    fields = {own[option].field: _basis_points(own[option], given[option]) for option in given}
    return RuleSpec.of(kind, **fields)


def _parameter_option(parameter: Parameter, panel: str | None) -> Any:
    return typer.Option(
        help=f"With {_takers(parameter)}: {parameter.meaning}, up to {parameter.most / BPS:g}. "
        f"Default: {parameter.default / BPS:g}.",
        rich_help_panel=panel,
    )


def _takers(parameter: Parameter) -> str:
    if parameter in SERVER:
        return "any rule"
    return _listed(_labels_with(parameter.option))


def _basis_points(parameter: Parameter, fraction: float) -> int:
    least, most = parameter.least / BPS, parameter.most / BPS
    # The condition also refuses NaN, because every comparison with NaN is false.
    if not least <= fraction <= most:
        raise InputError(f"--{parameter.option} is {fraction:g}; it must be {least:g} to {most:g}.")
    value = round(fraction * BPS)
    # Both float() and this division return the double nearest to the decimal, so they are equal.
    if value / BPS != fraction:
        raise InputError(
            f"--{parameter.option} is {fraction!r}, which is not a multiple of {1 / BPS:g}.",
            "Write it with at most four decimals.",
        )
    return value


def _labels_with(option: str) -> list[str]:
    return [
        kind.label
        for kind in RuleKind
        if option in (parameter.option for parameter in kind.parameters)
    ]


def _listed(names: list[str]) -> str:
    """The names as a list in a sentence: one, two or three."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
