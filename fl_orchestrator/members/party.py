"""A party as an object: trains on its own rows, and takes good models into use."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import ClassVar, Final

from prometheus_client import CollectorRegistry, Gauge

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.types import Phase, Role
from fl_orchestrator.errors import ChainError
from fl_orchestrator.members.base import Staked
from fl_orchestrator.members.connection import Connection
from fl_orchestrator.roles.context import Context
from fl_orchestrator.roles.party.adoption import Adopter, Bound, Evaluation
from fl_orchestrator.roles.party.measurements import Measurements, RoundMeasurements
from fl_orchestrator.roles.party.party import Party as Worker
from fl_orchestrator.roles.party.party import PartySettings
from fl_orchestrator.roles.party.spending import require_no_budget
from fl_orchestrator.roles.relay import Relay
from fl_orchestrator.roles.retention import Retention
from fl_orchestrator.service.metrics import Metrics
from fl_orchestrator.service.process import Process
from fl_orchestrator.tracking.several import Trackers
from fl_orchestrator.training.checked import checked_trainer
from fl_orchestrator.training.site.local_tensors import model_specs
from fl_orchestrator.training.trainer import Trainer

#: In a party's directory while it is paused.
PAUSED: Final = "paused"
_CURRENT: Final = "current.safetensors"

#: Gives the trainer that a party trains with, in a context.
Guard = Callable[[Context], Trainer]


class NotRegistered(ChainError):
    """The account is not a party of this federation."""


def _unprotected(trainer: Trainer) -> Guard:
    def guard(context: Context) -> Trainer:
        require_no_budget(context.home)
        return trainer

    return guard


class Party(Staked):
    """A party of a federation, as `flo party run` has it.

    Args:
        site: Where its federation, key and files are.
        trainer: The user's trainer; its model must be the manifest's.
        seed: The seed of the training; default: random.
        trusted: The aggregators that may together read its updates in a private federation;
            default: all that the owner admits.
        bounds: What a global model must reach on this site's rows to be taken into use.
        current: Where the last good global model is kept: .safetensors or .npz. Default:
            ``current.safetensors`` in `home`.
        guard: Gives the trainer that is trained with; default: ``trainer``, where no privacy budget
            forbids it.

    Raises BadTrainerFile if the model is not the manifest's, and what opening ``site`` raises.
    """

    role: ClassVar[str] = "party"
    kind: ClassVar[Role] = Role.PARTY

    def __init__(
        self,
        site: Connection | Process,
        trainer: Trainer,
        *,
        seed: int | None = None,
        trusted: Collection[str] | None = None,
        bounds: Sequence[Bound] = (),
        current: Path | None = None,
        relay: Relay | None = None,
        confirmations: int = 0,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(site)
        with self._closing_on_error():
            if isinstance(site, Connection):
                relay, confirmations = relay or site.open_relay(), site.confirmations
            self._trainer = checked_trainer(trainer)
            self._guard = guard or _unprotected(self._trainer)
            self._relay = relay
            self._bounds = tuple(bounds)
            self._current = current or self.home / _CURRENT
            self._settings = PartySettings(
                run_seed=secrets.randbits(63) if seed is None else seed,
                confirmations=confirmations,
                paused=(self.home / PAUSED).exists,
                trusted=trusted,
            )
            self.manifest = self.process.manifest()
            self._trainer.require_model(model_specs(self.manifest), self.manifest.architecture)

    def require_registered(self) -> None:
        """Raises NotRegistered."""
        if self.process.observe().party.stake == 0:
            raise NotRegistered(
                f"{self.address} is not registered as a party of this federation.",
                "Run `flo party register` first.",
            )

    def run(self, rounds: int | None = None) -> Counter[str]:
        """Take part in every round that draws this account, until `stop` or for so many rounds.

        Returns how often each action was done. Outages of the chain, the store and the relay are
        waited out. Safe to kill at any moment and to call again. Raises NotRegistered, and what a
        retry cannot mend.
        """
        self.require_registered()
        process = self.process
        retention = Retention(process.chain, process.store, self.home / "kept-as-party.json")
        context = process.context(self.manifest, relay=self._relay, retention=retention)
        worker = Worker(context, self._guard(context), self._settings)
        show = _shown_in(process.metrics, process.trackers)
        adopter = Adopter(context, self._trainer, self._current, self._bounds, show)
        finished = _after(rounds, process.chain, adopter)
        return process.serve(adopter, worker, finished=finished)

    def pause(self) -> None:
        """Reveal the update that is committed, then commit no more, until `resume`."""
        (self.home / PAUSED).touch()

    def resume(self) -> None:
        (self.home / PAUSED).unlink(missing_ok=True)

    def history(self) -> list[RoundMeasurements]:
        """This site's own loss and metrics over the rounds, as `flo party history` shows them."""
        return Measurements(self.home).rounds()


def model_gauges(registry: CollectorRegistry) -> tuple[Gauge, Gauge]:
    """The metrics of the head's model on this site's rows, and whether it is refused."""
    values = Gauge(
        "flo_model", "A metric of the head's model on local data.", ["metric"], registry=registry
    )
    refused = Gauge("flo_model_refused", "1 while the head's model is refused.", registry=registry)
    return values, refused


def _shown_in(metrics: Metrics, trackers: Trackers) -> Callable[[Evaluation], None]:
    values, refused = model_gauges(metrics.registry)

    def show(found: Evaluation) -> None:
        for metric, value in found.metrics.items():
            values.labels(metric).set(value)
        refused.set(bool(found.faults))
        if found.metrics and not found.again:
            trackers.evaluated(found.model.round, found.metrics)

    return show


def _after(rounds: int | None, chain: Federation, adopter: Adopter) -> Callable[[], bool]:
    """Whether that many rounds have ended in which the party revealed, and are evaluated."""
    revealed: set[int] = set()

    def finished() -> bool:
        seen = chain.last_seen
        if rounds is None or seen is None:
            return False
        if seen.committed.revealed:
            revealed.add(seen.committed.round)
        ended = seen.current.phase in (Phase.ACCEPTED, Phase.VOID)
        over = revealed - (set() if ended else {seen.current.round})
        return len(over) >= rounds and adopter.has_evaluated(seen.head)

    return finished
