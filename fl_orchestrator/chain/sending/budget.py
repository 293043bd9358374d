"""A daily limit on what an account spends, which holds even with a bug or an attack.

Gas and value have separate limits. Gas is lost; value is paid into the contract as stake, deposit
or bond and mostly comes back, so a common limit would be too low for value or too high for gas. A
transaction counts for the day (UTC) on which it is sent: with the most it can cost until its
receipt tells the actual cost. Of several transactions with one nonce only one can be mined, so they
count once.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fl_orchestrator.errors import ChainError, InputError
from fl_orchestrator.files import write_whole
from fl_orchestrator.units import ether

_MAX_FILE_BYTES: Final = 1 << 20

_Wei = Annotated[int, Field(ge=0)]


class BudgetExceeded(ChainError):
    """A transaction could cost more than what is left for today."""


class UnusableBudget(InputError):
    """The file of the budget cannot be read or written."""


class _Cost(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    gas: _Wei = 0
    value: _Wei = 0


class _Day(BaseModel):
    """The amounts spent on a day. ``open`` has the transactions without a receipt, by nonce."""

    model_config = ConfigDict(strict=True, extra="forbid")

    day: str
    spent: _Cost = _Cost()
    open: dict[int, _Cost] = {}

    def total(self, kind: str, *, without: int | None = None) -> int:
        """The total in wei. ``without`` is a nonce whose transactions are left out."""
        costs = (cost for nonce, cost in self.open.items() if nonce != without)
        return sum(getattr(cost, kind) for cost in (self.spent, *costs))


def utc_day() -> str:
    """Today's date in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


class Budget:
    """The budget of one account, kept in a file, so that it survives a restart.

    ``gas_per_day`` and ``value_per_day`` are in wei; None means no limit.
    """

    def __init__(
        self,
        path: Path,
        gas_per_day: int | None = None,
        value_per_day: int | None = None,
        today: Callable[[], str] = utc_day,
    ) -> None:
        self.path = path
        self._caps = {"gas": gas_per_day, "value": value_per_day}
        self._today = today

    def check(self, gas: int, value: int, nonce: int | None = None) -> None:
        """Raise BudgetExceeded if a transaction with these costs, in wei, may not be sent."""
        self._require(self._read(), _Cost(gas=gas, value=value), nonce)

    def charge(self, nonce: int, gas: int, value: int) -> None:
        """Count a transaction that is about to be sent, by the most it can cost, in wei.

        Raises BudgetExceeded, and then counts nothing.
        """
        cost = _Cost(gas=gas, value=value)
        with self._changing() as day:
            self._require(day, cost, nonce)
            earlier = day.open.get(nonce, _Cost())
            day.open[nonce] = _Cost(gas=max(gas, earlier.gas), value=max(value, earlier.value))

    def settle(self, nonce: int, gas: int, value: int) -> None:
        """Replace the most that the transaction could cost by its actual cost, in wei."""
        with self._changing() as day:
            # A transaction that was sent yesterday counts for yesterday.
            if day.open.pop(nonce, None) is not None:
                day.spent.gas += gas
                day.spent.value += value

    def spent_today(self) -> tuple[int, int]:
        """The amounts that count for today: gas and value, in wei."""
        day = self._read()
        return day.total("gas"), day.total("value")

    def _require(self, day: _Day, cost: _Cost, nonce: int | None) -> None:
        for kind, cap in self._caps.items():
            total, more = day.total(kind, without=nonce), getattr(cost, kind)
            if cap is not None and more and total + more > cap:
                raise BudgetExceeded(
                    f"This can cost up to {ether(more)} of {kind}, but {ether(total)} of today's "
                    f"{ether(cap)} are already spent.",
                    "Wait for the next day (UTC), or raise the daily cap.",
                )

    @contextmanager
    def _changing(self) -> Iterator[_Day]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_name(f".{self.path.name}.lock")):
                day = self._read()
                yield day
                write_whole(self.path, day.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise UnusableBudget(f"{self.path} cannot be written: {error.strerror}.") from error

    def _read(self) -> _Day:
        today = _Day(day=self._today())
        try:
            with self.path.open("rb") as file:
                raw = file.read(_MAX_FILE_BYTES)
            kept = _Day.model_validate_json(raw)
        except FileNotFoundError:
            return today
        except OSError as error:
            raise UnusableBudget(f"{self.path} cannot be read: {error.strerror}.") from error
        except ValidationError as error:
            raise UnusableBudget(
                f"{self.path} is damaged: the amount spent today is not known.",
                "Delete the file to count today's spending from zero.",
            ) from error
        return kept if kept.day == today.day else today
