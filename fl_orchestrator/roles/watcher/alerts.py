"""A watcher's alerts: results that are wrong or cannot be checked, and their signers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from fl_orchestrator.chain.contract.events import signers_of
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.chain.types import included_indices
from fl_orchestrator.errors import FloError
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.digests import Result
from fl_orchestrator.roles.monitor import Monitor, NoMonitor
from fl_orchestrator.roles.recomputation import ExpectedModel, UnavailableBase
from fl_orchestrator.roles.watcher.descent import BondTooHigh, TooLate

_log = get_logger(__name__)


class AlertKind(StrEnum):
    """The reason of an alert."""

    UPDATE_UNAVAILABLE = "update unavailable"
    BASE_UNAVAILABLE = "base unavailable"
    BOND_TOO_HIGH = "bond too high"
    TOO_LATE = "too late"
    WRONG_CID = "wrong CID"
    REFUSED = "refused"
    LEFT_OUT = "updates left out"
    STEP_LIMIT = "step limit"


#: What people are told of these errors.
KIND_OF_ERROR: Final[dict[type[FloError], AlertKind]] = {
    UnavailableBase: AlertKind.BASE_UNAVAILABLE,
    BondTooHigh: AlertKind.BOND_TOO_HIGH,
    TooLate: AlertKind.TOO_LATE,
    ContractReverted: AlertKind.REFUSED,
}


@dataclass(frozen=True, slots=True)
class ResultSigner:
    """Who signed a result. ``seat`` is None when the account has no stake there any more."""

    address: str
    seat: int | None


@dataclass(frozen=True, slots=True)
class Alert:
    """A problem that the watcher cannot solve itself.

    ``digest`` identifies the result, ``signers`` answer for it. ``party`` and ``cid`` name the
    update or the file that it is about, where there is one.
    """

    kind: AlertKind
    round: int
    digest: bytes
    message: str
    signers: tuple[ResultSigner, ...]
    party: str | None = None
    cid: str | None = None

    @property
    def is_doubt(self) -> bool:
        """Whether a model may be wrong, or cannot be checked or used."""
        return self.kind is not AlertKind.LEFT_OUT

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**asdict(self), "kind": self.kind.value, "digest": "0x" + self.digest.hex()}


class Alerts:
    """The alerts of one watcher: each is logged, as an error, when it is raised."""

    def __init__(
        self, federation: Federation, deployed_at: int, monitor: Monitor | None = None
    ) -> None:
        self._federation = federation
        self._monitor = monitor or NoMonitor()
        self._deployed_at = deployed_at
        self._alerts: dict[tuple[AlertKind, bytes, str | None], Alert] = {}

    def all(self) -> tuple[Alert, ...]:
        return tuple(self._alerts.values())

    def clear(self, digest: bytes) -> None:
        """Remove the alerts about a result."""
        self._alerts = {key: alert for key, alert in self._alerts.items() if key[1] != digest}

    def unavailable(self, digest: bytes, reveal: RevealedUpdate, reason: FloError) -> None:
        """Raise the alert that an included update is not available."""
        self.add(
            AlertKind.UPDATE_UNAVAILABLE,
            reveal.round,
            digest,
            f"The update {reveal.cid} of {reveal.party}, which is included in round "
            f"{reveal.round}, cannot be had: {reason.message} Nothing can be proven about this "
            "round without it; its signers said that they hold it.",
            reveal.party,
            str(reveal.cid),
        )

    def accepted(
        self, digest: bytes, result: Result, right: ExpectedModel, reveals: Sequence[RevealedUpdate]
    ) -> None:
        """Raise alerts about an accepted result whose numbers are right."""
        if result.global_cid != right.cid:
            self.wrong_cid(digest, result, str(right.cid))
        if right.limited and not self._is_final(result.round):
            self.step_limit(digest, result)
        included = result.included.bit_count()
        seen = self._federation.last_seen
        if seen is not None and seen.head.round == result.round:
            self._monitor.accepted(included, len(reveals))
        if included < len(reveals) and not self._is_final(result.round):
            self.left_out(digest, result, reveals)

    def _is_final(self, round_number: int) -> bool:
        seen = self._federation.last_seen
        final = 0 if seen is None else self._federation.model(seen.final_height).round
        return round_number <= final

    def left_out(self, digest: bytes, result: Result, reveals: Sequence[RevealedUpdate]) -> None:
        """Raise the alert that a correct model leaves out revealed updates."""
        included = set(included_indices(result.included))
        parties = [reveal.party for reveal in reveals if reveal.index not in included]
        self.add(
            AlertKind.LEFT_OUT,
            result.round,
            digest,
            f"The model of round {result.round} includes {len(included)} of {len(reveals)} "
            f"revealed updates; without those of {', '.join(parties)}. Either they cannot be had "
            "or are malformed, or the aggregators' stores do not reach each other.",
        )

    def step_limit(self, digest: bytes, result: Result) -> None:
        """Raise the alert that most coordinates of a step are where the step ends."""
        self.add(
            AlertKind.STEP_LIMIT,
            result.round,
            digest,
            f"Most values of the model of round {result.round} changed by as much as one round may "
            "change them. Either the step limit is too small for this training, or a party has "
            "sent what no training gives. The updates are masked, so nobody can tell which one.",
        )

    def wrong_cid(self, digest: bytes, result: Result, right_cid: str) -> None:
        """Raise the alert that a model is correct, but its file has another CID than signed."""
        self.add(
            AlertKind.WRONG_CID,
            result.round,
            digest,
            f"The model of round {result.round} is right, but its file is {right_cid}, not "
            f"{result.global_cid} as its signers said: the parties cannot fetch it.",
            cid=str(result.global_cid),
        )

    def add(
        self,
        kind: AlertKind,
        round_number: int,
        digest: bytes,
        message: str,
        party: str | None = None,
        cid: str | None = None,
    ) -> None:
        key = kind, digest, cid
        if key in self._alerts:
            return
        signers = signers_of(self._federation, self._deployed_at, round_number, digest)
        named = tuple(map(self._signer, signers))
        alert = Alert(kind, round_number, digest, message, named, party, cid)
        self._alerts[key] = alert
        _log.error("alert", **alert.to_json())

    def _signer(self, address: str) -> ResultSigner:
        aggregator = self._federation.observe(address).aggregator
        return ResultSigner(address, aggregator.seat if aggregator.stake else None)
