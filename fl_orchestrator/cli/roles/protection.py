"""Record-level privacy of a party: its options, its budget, and what they mean in rounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.cli.console import err, safe
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Gauge

    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.model.manifest import Manifest
    from fl_orchestrator.roles.context import Context
    from fl_orchestrator.roles.party.spending import Budget, Spent
    from fl_orchestrator.service.metrics import Metrics
    from fl_orchestrator.training.checked import CheckedTrainer
    from fl_orchestrator.training.dp_sgd import Mechanism, PrivateTrainer, Protection
    from fl_orchestrator.training.trainer import Trainer

DEFAULT_DELTA: Final = 1e-5
DEFAULT_NOISE: Final = 1.0
DEFAULT_CLIP: Final = 1.0

BudgetOption = Annotated[
    float | None,
    typer.Option(
        "--privacy-budget",
        metavar="EPS",
        help="Train with noise, and sit out when one row's epsilon over all rounds would exceed "
        "this. Below 1 is strong, above 10 weak. Default: no noise, no bound.",
    ),
]
DeltaOption = Annotated[
    float | None,
    typer.Option(
        metavar="D",
        help="The chance with which epsilon may not hold: well below 1 / rows. "
        f"Default: {DEFAULT_DELTA:g}.",
    ),
]
NoiseOption = Annotated[
    float | None,
    typer.Option(
        help="Noise in each step, in units of --clip-norm. More: more rounds for the budget, and "
        f"a less accurate model. Default: {DEFAULT_NOISE:g}."
    ),
]
ClipOption = Annotated[
    float | None,
    typer.Option(
        help="The most that one row may weigh in a step: the norm of its gradient. It does not "
        f"change epsilon. Default: {DEFAULT_CLIP:g}."
    ),
]


@dataclass(frozen=True, slots=True)
class Protected:
    """A party's trainer with noise: as the budget sees it, and as the party uses it."""

    budget: Budget
    private: PrivateTrainer
    checked: CheckedTrainer

    def guarded(self, context: Context, metrics: Metrics) -> Trainer:
        """The trainer that keeps its budget in the party's home. Says on stderr what is left.

        Raises:
            OldLedger, DamagedLedger: it is not known what was spent.
        """
        from fl_orchestrator.roles.party.spending import Ledger, SpendingTrainer, Spent

        chain, ledger = context.federation, Ledger(context.home)
        committed = _last_commit(chain, context.sender.address)
        ledger.require_newer_than(committed)
        if not ledger.path.exists():
            # From now on this home releases nothing without noise.
            ledger.write(Spent({}, committed), self.budget, 0.0)
            if committed:
                err.print(
                    f"[bold yellow]Privacy:[/] this party has committed before, in round "
                    f"{committed} or earlier. What those updates told is not counted.",
                    soft_wrap=True,
                )
        spent, most = budget_gauges(metrics.registry)
        most.set(self.budget.epsilon)
        before = ledger.read()
        spent.set(before.epsilon(self.budget.delta))
        for name, value in self.explained(context.manifest, before):
            err.print(f"[bold]Privacy:[/] {name}: {safe(value)}", soft_wrap=True)

        def round_now() -> int:
            seen = chain.last_seen
            return 0 if seen is None else seen.current.round

        return SpendingTrainer(
            self.checked, self.private.mechanism, self.budget, ledger, round_now, spent.set
        )

    def explained(self, manifest: Manifest, before: Spent | None = None) -> list[tuple[str, str]]:
        """One round's epsilon and how many the budget allows, and what is spent of it, if known."""
        mechanism, one, left = self._round(manifest, before)
        budget = self.budget
        rows = [
            (
                "one round",
                f"epsilon {one:.3g} at delta {budget.delta:g} ({mechanism.steps:,} steps, each of "
                f"{mechanism.rate:.2%} of the rows, noise multiplier "
                f"{mechanism.noise_multiplier:g})",
            )
        ]
        if before is not None:
            rows.append(("spent", f"{before.epsilon(budget.delta):.3g} of {budget.epsilon:g}"))
        more = " more" if before is not None and before.trainings else ""
        rows.append(("budget", f"epsilon {budget.epsilon:g}: about {left:,}{more} rounds"))
        return rows

    def as_json(self, manifest: Manifest, before: Spent | None = None) -> dict[str, Any]:
        mechanism, one, left = self._round(manifest, before)
        return {
            "epsilon_of_a_round": one,
            "epsilon_spent": None if before is None else before.epsilon(self.budget.delta),
            "epsilon_budget": self.budget.epsilon,
            "delta": self.budget.delta,
            "rounds_left": left,
            "noise_multiplier": mechanism.noise_multiplier,
            "rate": mechanism.rate,
            "steps": mechanism.steps,
        }

    def _round(self, manifest: Manifest, before: Spent | None) -> tuple[Mechanism, float, int]:
        from fl_orchestrator.privacy.accounting import epsilon_of, trainings_left
        from fl_orchestrator.roles.party.rehearsal import training_config

        mechanism = self.private.mechanism(training_config(manifest, 0))
        spent = {} if before is None else before.trainings
        budget = self.budget
        left = trainings_left(spent, mechanism, budget.epsilon, budget.delta)
        return mechanism, epsilon_of({mechanism: 1}, budget.delta), left


@dataclass(frozen=True, slots=True)
class Choice:
    """What the options say; ``budget`` is None without privacy."""

    budget: Budget | None
    protection: Protection | None

    @classmethod
    def of(
        cls, epsilon: float | None, delta: float | None, noise: float | None, clip: float | None
    ) -> Choice:
        """Raises InputError for values out of range, and for options without a budget."""
        if epsilon is None:
            for name, value in (
                ("delta", delta),
                ("noise-multiplier", noise),
                ("clip-norm", clip),
            ):
                if value is not None:
                    raise InputError(
                        f"--{name} belongs to record-level privacy, which is off.",
                        "Give --privacy-budget EPS too.",
                    )
            return cls(None, None)
        from fl_orchestrator.roles.party.spending import Budget
        from fl_orchestrator.training.dp_sgd import Protection

        return cls(
            Budget(epsilon, DEFAULT_DELTA if delta is None else delta),
            Protection(
                DEFAULT_NOISE if noise is None else noise, DEFAULT_CLIP if clip is None else clip
            ),
        )

    def applied(self, loaded: CheckedTrainer) -> Protected | None:
        """Raises CannotProtect, BadBudget, AccountantMissing."""
        if self.budget is None or self.protection is None:
            return None
        from fl_orchestrator.privacy.accounting import require_accountant

        require_accountant()
        private, checked = loaded.private(self.protection)
        self.budget.require_delta_for(private.rows)
        return Protected(self.budget, private, checked)


def budget_gauges(registry: CollectorRegistry) -> tuple[Gauge, Gauge]:
    """The metrics of what is spent and of the budget."""
    from prometheus_client import Gauge

    return (
        Gauge("flo_privacy_epsilon_spent", "Epsilon of all trainings.", registry=registry),
        Gauge("flo_privacy_epsilon_budget", "The most it may be.", registry=registry),
    )


def spent_in(home: Path) -> Spent:
    """What the party with this directory has spent. Raises DamagedLedger."""
    from fl_orchestrator.roles.party.spending import Ledger

    return Ledger(home).read()


def _last_commit(chain: Federation, account: str) -> int:
    """The round of the account's last commitment to an update; 0 if it made none."""
    slot = chain.observe(account).committed
    return slot.round if any(slot.commitment) else 0
