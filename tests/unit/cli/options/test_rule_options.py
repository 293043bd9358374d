"""The options with which a rule and its parameters are chosen."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import command_at, commands

from fl_orchestrator.cli.options.rule import chosen_rule
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.manifest import RuleSpec
from fl_orchestrator.model.rules import (
    SERVER,
    TRIM,
    Parameter,
    RuleKind,
    ServerStep,
    UnknownRule,
    UnusableClip,
    chunk_norm_limit,
    require_plain_clip,
)

PARAMETERS = {parameter for kind in RuleKind for parameter in kind.parameters}
LABELS = [kind.label for kind in RuleKind]
CHOOSING = [("demo",), ("federation", "create"), ("manifest", "create")]


def options(command: tuple[str, ...]) -> dict[str, Any]:
    return {option: each for each in command_at(command).params for option in each.opts}


def test_no_other_command_takes_a_rule() -> None:
    assert sorted(path for path in commands() if "--rule" in options(path)) == CHOOSING


@pytest.mark.parametrize("command", CHOOSING, ids=" ".join)
def test_where_a_rule_is_chosen_its_parameters_are_too(command: tuple[str, ...]) -> None:
    taken = options(command)
    for label in LABELS:
        assert label in (taken["--rule"].help or "")
    for parameter in PARAMETERS:
        words = taken[f"--{parameter.option}"].help or ""
        takers = [kind.label for kind in RuleKind if parameter in kind.parameters]
        assert all(label in words for label in takers)
    for option in ("clip-norm", *(parameter.option for parameter in SERVER)):
        assert "any rule" in (taken[f"--{option}"].help or "").lower()


@pytest.mark.parametrize("kind", RuleKind, ids=lambda kind: kind.label)
def test_a_rule_has_its_defaults_where_nothing_else_is_given(kind: RuleKind) -> None:
    assert chosen_rule(kind.label, trim=None) == RuleSpec.of(kind)


@given(st.integers(0, TRIM.most))
def test_a_trim_is_taken_as_it_is_written(trim_bps: int) -> None:
    rule = chosen_rule("trimmed-mean", trim=float(f"0.{trim_bps:04}"))
    assert (rule.kind, rule.trim_bps) == (RuleKind.TRIMMED_MEAN, trim_bps)
    assert float(str(rule).removeprefix("trimmed-mean (trim ").rstrip(")")) == trim_bps / 10_000


@pytest.mark.parametrize("trim", [0.5, -0.1, 20.0, float("nan"), float("inf")])
def test_a_trim_that_leaves_nothing_is_refused(trim: float) -> None:
    with pytest.raises(InputError, match=r"it must be 0 to 0\.4999"):
        chosen_rule("trimmed-mean", trim=trim)


def test_a_trim_finer_than_the_contract_has_it_is_refused() -> None:
    with pytest.raises(InputError, match=r"not a multiple of 0\.0001"):
        chosen_rule("trimmed-mean", trim=0.12345)


@pytest.mark.parametrize("kind", RuleKind, ids=lambda kind: kind.label)
@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.option)
def test_a_parameter_is_refused_with_a_rule_that_does_not_take_it(
    kind: RuleKind, parameter: Parameter
) -> None:
    if parameter in kind.parameters:
        spec = chosen_rule(kind.label, **{parameter.option: 0.0})
        assert getattr(spec, parameter.field) == 0
        return
    with pytest.raises(InputError) as refusal:
        chosen_rule(kind.label, **{parameter.option: 0.0})
    assert refusal.value.message == f"The rule {kind.label} takes no --{parameter.option}."


@pytest.mark.parametrize("kind", RuleKind, ids=lambda kind: kind.label)
def test_any_rule_takes_a_server_learning_rate_and_momentum(kind: RuleKind) -> None:
    chosen = chosen_rule(kind.label, server_learning_rate=0.5, server_momentum=0.9)
    assert (chosen.kind, chosen.server) == (kind, ServerStep(5_000, 9_000))
    assert chosen_rule(kind.label, server_learning_rate=1.0, server_momentum=0.0) == RuleSpec.of(
        kind
    )


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({"server_learning_rate": 0.0}, "--server-learning-rate is 0; it must be 0.0001 to 100."),
        ({"server_learning_rate": 101.0}, "it must be 0.0001 to 100."),
        ({"server_momentum": 1.0}, "--server-momentum is 1; it must be 0 to 0.9999."),
        ({"server_momentum": float("nan")}, "it must be 0 to 0.9999."),
    ],
)
def test_a_server_step_out_of_range_is_refused(given: dict[str, float], limits: str) -> None:
    with pytest.raises(InputError) as refusal:
        chosen_rule("weighted-mean", **given)
    assert limits in refusal.value.message


@pytest.mark.parametrize(
    ("clip_norm", "bits", "limit"),
    [
        *((1.0, 15, 32_768), (0.75, 0, 1), (2.0**-15, 15, 1)),
        *((15.99997, 15, 2**19 - 1), (524_287.0, 0, 2**19 - 1)),
        *((0.5, 0, None), (2.0**-16, 15, None), (16.0, 15, None)),
        *((0.0, 15, None), (-1.0, 15, None), (float("nan"), 15, None), (float("inf"), 15, None)),
    ],
)
def test_a_norm_to_clip_by_is_rounded_to_units_or_refused(
    clip_norm: float, bits: int, limit: int | None
) -> None:
    if limit is not None:
        assert chunk_norm_limit(clip_norm, bits) == limit
        return
    with pytest.raises(UnusableClip, match=f"with {bits} fraction bits it is"):
        chunk_norm_limit(clip_norm, bits)


def test_nobody_clips_chunks_that_nobody_sees() -> None:
    require_plain_clip(None, private=True)
    require_plain_clip(1.0, private=False)
    with pytest.raises(UnusableClip, match="In a private federation nobody sees a chunk"):
        require_plain_clip(1.0, private=True)


@pytest.mark.parametrize("kind", RuleKind, ids=lambda kind: kind.label)
def test_a_rule_with_a_norm_limit_shows_it(kind: RuleKind) -> None:
    assert "chunk norm limit 32,768" in str(RuleSpec.of(kind, chunk_norm_limit=32_768))


def test_a_rule_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(UnknownRule) as refusal:
        chosen_rule("krum", trim=0.1)
    assert refusal.value.hint == f"Use one of {', '.join(LABELS)}."


@pytest.mark.parametrize("kind", RuleKind, ids=lambda kind: kind.label)
def test_a_rule_is_shown_with_its_parameters(kind: RuleKind) -> None:
    shown = ", ".join(f"{p.option} {p.default / 10_000}" for p in kind.parameters)
    assert str(RuleSpec.of(kind)) == (f"{kind.label} ({shown})" if shown else kind.label)
