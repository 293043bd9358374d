"""The terms of a private federation: what only it has, and what it requires of the others.

What is refused here is what ``PrivateFederation.sol`` would refuse, with the reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fl_orchestrator.chain.types import Params, PrivateParams
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.protocol import (
    PRIVATE_UPDATES_LIMIT,
    PRIVATE_UPDATES_MINIMUM,
    UPDATE_MAX,
)
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.privacy.sets import MAX_SEATS, cannot_read

if TYPE_CHECKING:
    from fl_orchestrator.model.manifest import Manifest
    from fl_orchestrator.roles.setup import Terms

_MAX_PERIOD: Final = 2**31
_SECRECIES: Final = (1, 2)


class NotPrivate(InputError):
    """Terms with which a federation cannot keep updates secret, or which no contract takes."""


@dataclass(frozen=True, slots=True)
class PrivateTerms:
    """The terms that only a private federation has; see `PrivateParams`.

    ``claim_period`` in seconds; ``step_limit`` 1 to 32767; ``secrecy`` 1 or 2.
    """

    step_limit: int = UPDATE_MAX
    claim_period: int = 600
    secrecy: int = 2
    relock: bool = False


def for_private(terms: Terms, private: PrivateTerms) -> Terms:
    """The terms, with a minimum of updates that a private federation may have.

    Raises NotPrivate where the numbers of parties or the admission are not possible.
    """
    if terms.open_admission:
        raise NotPrivate(
            "A private federation admits each party: among many accounts of one stranger, an "
            "update would hide in nothing.",
            "Leave out --open-admission; admit the parties with `flo federation admit`.",
        )
    drawn = min(terms.participants, terms.max_parties)
    if drawn < PRIVATE_UPDATES_MINIMUM:
        raise NotPrivate(
            f"A private round needs at least {PRIVATE_UPDATES_MINIMUM} parties, not {drawn}: the "
            "sum of two shows each of them the other's update.",
            "Take more parties.",
        )
    if drawn < terms.max_parties and not private.relock:
        raise NotPrivate(
            f"A round that draws {drawn} of {terms.max_parties} parties needs --relock: without "
            "it, all rounds that start from one model open the sum of the same parties.",
            "Draw all parties, or create the federation with --relock.",
        )
    if 0 < terms.min_updates < PRIVATE_UPDATES_MINIMUM:
        raise NotPrivate(
            f"A private federation opens no sum of fewer than {PRIVATE_UPDATES_MINIMUM} updates, "
            f"and {terms.min_updates} would be enough by --min-updates.",
            "Require at least 2 more than the parties that may work together against another.",
        )
    least = terms.min_updates or max(PRIVATE_UPDATES_MINIMUM, drawn // 2)
    return dataclasses.replace(terms, min_updates=least)


def private_params(manifest: Manifest, params: Params, terms: PrivateTerms) -> PrivateParams:
    """The parameters that only a private federation has. Raises NotPrivate."""
    require_private_manifest(manifest)
    _require_honest(manifest, params.min_updates)
    if params.max_updates > PRIVATE_UPDATES_LIMIT:
        raise NotPrivate(
            f"A private round has room for {PRIVATE_UPDATES_LIMIT} updates, not for "
            f"{params.max_updates}: a dispute about more does not fit a transaction.",
            "Draw fewer parties.",
        )
    limits = {
        "--step-limit": (terms.step_limit, 1, UPDATE_MAX),
        "--claim-period": (terms.claim_period, 1, _MAX_PERIOD),
    }
    for option, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise NotPrivate(f"{option} is {value}; it must be {low} to {high}.")
    if terms.secrecy not in _SECRECIES:
        raise NotPrivate(f"--secrecy is {terms.secrecy}; it must be 1 or 2.")
    return PrivateParams(
        parameters=manifest.layout.parameters,
        step_limit=terms.step_limit,
        claim_period=terms.claim_period,
        secrecy=terms.secrecy,
        relock=terms.relock,
    )


def _require_honest(manifest: Manifest, min_updates: int) -> None:
    noise = manifest.noise
    if noise is not None and noise.honest > min_updates:
        raise NotPrivate(
            f"The manifest's noise counts on {noise.honest} honest parties in every sum, and "
            f"{min_updates} updates are enough for one by --min-updates.",
            "Require more updates, or make a manifest with a smaller --noise-honest.",
        )


def require_sum(kind: RuleKind) -> None:
    """Raise NotPrivate for a rule that needs more than the sum of the updates."""
    if kind is not RuleKind.WEIGHTED_MEAN:
        raise NotPrivate(
            f"A private federation cannot have the rule {kind.label}: it needs every single "
            "update, and only their sum is opened.",
            f"Use the rule {RuleKind.WEIGHTED_MEAN.label} (FedAvg).",
        )


def require_private_manifest(manifest: Manifest) -> None:
    """Raise NotPrivate unless the manifest was made for a private federation."""
    require_sum(manifest.rule.kind)
    if not manifest.is_private:
        raise NotPrivate(
            "The manifest was not made for a private federation: its layout is not packed.",
            "Make it with `flo manifest create --private`.",
        )


def require_plain_manifest(manifest: Manifest) -> None:
    """Raise NotPrivate if the manifest was made for a private federation."""
    if manifest.is_private:
        raise NotPrivate(
            "The manifest was made for a private federation, and this one would show each update "
            "to everybody who can read the store.",
            "Give --private, or a manifest that `flo manifest create` made without it.",
        )


def require_seats(stakes: Sequence[int], secrecy: int) -> None:
    """Raise NotPrivate unless there are 1 to 10 seats and none of them can read updates alone.

    ``stakes`` of the aggregators, in wei.
    """
    if not 1 <= len(stakes) <= MAX_SEATS:
        raise NotPrivate(
            f"A private federation has 1 to {MAX_SEATS} aggregators, not {len(stakes)}."
        )
    if readers_alone(stakes, secrecy):
        raise NotPrivate(
            f"One of {len(stakes)} aggregators would have more than {secrecy}/3 of the stake, and "
            "could read every update alone.",
            "Take more aggregators, of equal stake; four or more also go on without one.",
        )


def readers_alone(stakes: Sequence[int], secrecy: int) -> list[int]:
    """The positions of the seats that can read every update alone."""
    seats = range(len(stakes))
    return [seat for seat in seats if not cannot_read(stakes, secrecy, 1 << seat)]


def at_a_glance(params: PrivateParams | None) -> str:
    """A sentence about who can read what of a federation's rounds."""
    if params is None:
        return "Not private: whoever can read the store can read each update."
    return (
        f"Private: everybody can read {sum_that_is_open(params)}; one update can be read only by "
        f"{readers_of_updates(params)}."
    )


def readers_of_updates(params: PrivateParams) -> str:
    """Who can read one party's update."""
    return f"aggregators with more than {params.secrecy}/3 of the stake, if they collude"


def sum_that_is_open(params: PrivateParams) -> str:
    """What everybody can read of a round."""
    return f"the sum of a round's updates{', and other sums if it is repeated' * params.relock}"
