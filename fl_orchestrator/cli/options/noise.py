"""The options of noise on sums, each with what it means, and the epsilon that they give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from fl_orchestrator.model.manifest import Manifest

_PANEL: Final = "Noise on sums (with --private)"
_DELTA: Final = 1e-5


def _option(name: str, text: str, metavar: str) -> Any:
    return typer.Option(name, help=text, metavar=metavar, rich_help_panel=_PANEL)


ClipOption = Annotated[
    float | None,
    _option(
        "--noise-clip",
        "The most that one party may change the model in a round, as an L2 norm; longer updates "
        "are made shorter. Every party then weighs the same.",
        "NORM",
    ),
]
MultiplierOption = Annotated[
    float | None,
    _option(
        "--noise-multiplier",
        "The noise of a sum, in units of --noise-clip. More: less can be learnt of any party, and "
        "a less accurate model.",
        "M",
    ),
]
HonestOption = Annotated[
    int | None,
    _option(
        "--noise-honest",
        "How many parties of a sum add their noise, whatever the others do: at most --min-updates "
        "less those that may work together.",
        "N",
    ),
]
RoundsOption = Annotated[
    int | None,
    _option(
        "--noise-rounds",
        "After how many opened sums every party sits out: epsilon grows with each.",
        "N",
    ),
]
DeltaOption = Annotated[
    float | None,
    _option(
        "--noise-delta",
        f"The chance with which epsilon may not hold. Default: {_DELTA:g}.",
        "D",
    ),
]


def noise_terms(
    private: bool,
    clip: float | None,
    multiplier: float | None,
    honest: int | None,
    rounds: int | None,
    delta: float | None,
) -> dict[str, float] | None:
    """The manifest's ``noise``; None without these options. Raises InputError."""
    given = {"clip": clip, "multiplier": multiplier, "honest": honest, "rounds": rounds}
    if delta is None and all(value is None for value in given.values()):
        return None
    if not private:
        raise InputError(
            "Only a private federation can have noise on its sums.",
            "Give --private too, or leave the options of noise out.",
        )
    missing = [f"--noise-{name}" for name, value in given.items() if value is None]
    if missing:
        raise InputError(
            f"Noise needs {' and '.join(missing)} too.", "See `flo manifest create --help`."
        )
    chosen = {name: value for name, value in given.items() if value is not None}
    return {**chosen, "delta": _DELTA if delta is None else delta}


def noise_sentences(manifest: Manifest) -> list[str]:
    """What the manifest's noise promises to each party, for a data protection officer."""
    from fl_orchestrator.privacy.accounting import AccountantMissing, epsilon_of_sums

    noise, parameters = manifest.noise, manifest.layout.parameters
    if noise is None:
        return ["Sums have no noise: what a sum tells of one party is not bounded."]
    try:
        one, all_of_them = (
            epsilon_of_sums(noise, manifest.update_fraction_bits, parameters, rounds)
            for rounds in (1, noise.rounds)
        )
    except AccountantMissing as error:
        return [f"Sums have noise. Its epsilon is not shown: {error}"]
    return [
        f"Sums have noise: epsilon is {one:.3g} for one round and {all_of_them:.3g} for all "
        f"{noise.rounds}, at delta {noise.delta:g}, for everything that a party contributes.",
        f"That holds against everybody who knows all of a round's updates but those of "
        f"{noise.honest} parties which add their noise; after {noise.rounds} opened sums every "
        "party sits out.",
    ]
