"""Amounts from a report of contributions, or from a list; and the file of the shares to sign."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import rfc8785
from pydantic_core import from_json

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.shares.shares import RewardShares
from fl_orchestrator.chain.shares.types import AMOUNT_LIMIT, Share, Shares, ordered
from fl_orchestrator.cli.consortium.signatures import LARGEST_FILE
from fl_orchestrator.cli.site import parse_address
from fl_orchestrator.errors import InputError
from fl_orchestrator.files import decoded, write_whole
from fl_orchestrator.json_text import to_json
from fl_orchestrator.training.csv_table import separator_of
from fl_orchestrator.units import ether, parse_ether

_LARGEST_REPORT: Final = 1 << 26
_COLUMNS: Final = ["account", "amount"]
# Of a report's contributions, what does not change when later rounds are measured too.
_FIGURES: Final = (
    *("measure", "lessIsBetter", "rows", "dataDigest", "seed", "permutations", "rounds"),
)
# What is raised by JSON that is not what it should be.
_MALFORMED: Final = (*(LookupError, TypeError, ValueError, AttributeError, OverflowError),)


class BadSource(InputError):
    """A file has no contributions and no amounts to make shares of."""


class BadSharesFile(InputError):
    """A file is not what `flo rewards propose` writes, or is for another contract."""


# ---------------------------------------------------------------------- what the amounts follow


@dataclass(frozen=True, slots=True)
class Source:
    """A report of contributions, or a list of amounts.

    ``by_round`` has the value of each party in each round that was measured, ``left_out`` the
    rounds that could not be, ``figures`` what a report says of each round and of how it was
    measured; ``amounts`` is the list, in wei, and None for a report. ``file`` is the sha256 of the
    file.
    """

    path: Path
    file: bytes
    amounts: Mapping[str, int] | None = None
    by_round: Mapping[int, Mapping[str, Fraction]] = field(default_factory=dict)
    left_out: frozenset[int] = frozenset()
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def last_round(self) -> int | None:
        """The last round that was measured; None for a list."""
        return None if self.amounts is not None else max(self.by_round, default=0)

    def digest(self, first: int, last: int) -> bytes:
        """What the shares for these rounds say that they follow. Raises BadSource.

        Of a list, the sha256 of the file. Of a report, that of the canonical JSON (RFC 8785) of
        what is measured, how, on which data, and of the figures of these rounds: everybody with the
        same data and seed has the same, also when later rounds were measured too.
        """
        if self.amounts is not None:
            return self.file
        rounds = [one for one in self.figures["rounds"] if first <= one["round"] <= last]
        # The canonical form has no integers beyond 2^53.
        said = {**self.figures, "rounds": rounds, "seed": str(self.figures["seed"])}
        try:
            return hashlib.sha256(rfc8785.dumps(said)).digest()
        except rfc8785.CanonicalizationError as error:
            raise BadSource(f"{self.path} has a number that is none: {error}.", _HOW) from error

    def shares(self, first: int, last: int, amount: int | None) -> tuple[Share, ...]:
        """Divide an amount in wei; a list has its own, which sum to no more. Raises BadSource.

        A party gets its part of the sum of the values over the rounds from ``first`` to ``last``,
        rounded down. Negative sums count as zero.
        """
        if self.amounts is not None:
            total = sum(self.amounts.values())
            if amount is not None and total > amount:
                raise BadSource(
                    f"The amounts of {self.path} sum to {ether(total)}, more than {ether(amount)}.",
                    "Give a larger --amount, or none.",
                )
            return ordered(dict(self.amounts))
        if amount is None:
            raise BadSource("A report has no amounts.", "Say what to divide with --amount.")
        return ordered(divided(self._values(first, last), amount))

    def _values(self, first: int, last: int) -> dict[str, Fraction]:
        values: dict[str, Fraction] = {}
        if any(first <= number <= last for number in self.left_out):
            raise BadSource(
                f"{self.path} left out rounds of {first} to {last}: their models were not "
                "computed again.",
                "Make the report where all updates can be fetched, or choose other rounds.",
            )
        for number, parties in self.by_round.items():
            if first <= number <= last:
                for party, value in parties.items():
                    values[party] = values.get(party, Fraction(0)) + value
        if not any(value > 0 for value in values.values()):
            raise BadSource(
                f"In {self.path} no party has contributed anything in the rounds {first} to "
                f"{last}.",
                "There is nothing to divide by; give a list of amounts instead.",
            )
        return values


def divided(values: Mapping[str, Fraction], amount: int) -> dict[str, int]:
    """An amount in parts that are proportional to values; negative ones count as zero.

    Each is rounded down, so that they sum to no more.
    """
    counted = {party: max(value, Fraction(0)) for party, value in values.items()}
    total = sum(counted.values())
    return {party: math.floor(amount * value / total) for party, value in counted.items()}


def read_source(path: Path, federation: Federation) -> Source:
    """Read the JSON of `flo report --contributions`, or a list as JSON or CSV. Raises BadSource."""
    data = _read(path, _LARGEST_REPORT, BadSource)
    file = hashlib.sha256(data).digest()
    try:
        found = from_json(data)
    except ValueError:
        return Source(path, file, _amounts(path, _table(path, data)))
    if isinstance(found, list):
        try:
            rows = [(str(one["account"]), str(one["amount"])) for one in found]
        except _MALFORMED as error:
            raise BadSource(f"{path} lists no accounts with amounts.", _HOW) from error
        return Source(path, file, _amounts(path, rows))
    try:
        return _report(path, file, found, federation)
    except _MALFORMED as error:
        raise BadSource(f"{path} has no contributions.", _HOW) from error


_HOW: Final = (
    "Give the output of `flo report --contributions --json`, or a list with the columns account "
    "and amount, in ETH."
)


def _report(path: Path, file: bytes, found: Any, federation: Federation) -> Source:
    home = found["federation"]
    if (home["chainId"], home["address"]) != (federation.chain_id, federation.address):
        raise BadSource(
            f"{path} is a report on another federation.", "Make the report of this one."
        )
    measured = found["contributions"]
    by_round = {
        _number(one["round"]): {
            parse_address(party["party"]): _value(party["shapley"]) for party in one["parties"]
        }
        for one in measured["rounds"]
    }
    left_out = frozenset(_number(one["round"]) for one in measured["leftOut"])
    figures = {name: measured[name] for name in _FIGURES}
    return Source(path, file, None, by_round, left_out, figures)


def _number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("a round has a whole number")
    return value


def _value(number: Any) -> Fraction:
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError("a contribution is a number")
    return Fraction(number)


def _table(path: Path, data: bytes) -> list[tuple[str, str]]:
    try:
        text = decoded(data)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator_of(text))
        cells = [[cell.strip() for cell in row] for row in rows if any(row)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadSource(f"{path} is no table: {error}.", _HOW) from error
    if not cells or [cell.lower() for cell in cells[0]] != _COLUMNS:
        raise BadSource(f"{path} has no contributions, and not the columns of a list.", _HOW)
    if any(len(row) != len(_COLUMNS) for row in cells):
        raise BadSource(f"{path} has a line without an account and an amount.", _HOW)
    return [(account, amount) for account, amount in cells[1:]]


def _amounts(path: Path, rows: Iterable[tuple[str, str]]) -> dict[str, int]:
    amounts: dict[str, int] = {}
    for account, amount in rows:
        address = parse_address(account)
        if address in amounts:
            raise BadSource(f"{path} has {address} twice.", "List each account once.")
        amounts[address] = parse_ether(amount)
    if not any(amounts.values()):
        raise BadSource(f"{path} gives nothing to anybody.", _HOW)
    return amounts


# ---------------------------------------------------------------------- the file to sign


@dataclass(frozen=True, slots=True)
class Proposal:
    """Shares for a contract. ``amount`` is what was divided, in wei: only to divide it again."""

    shares: Shares
    amount: int

    def write(self, path: Path, contract: RewardShares) -> None:
        """Raises BadSharesFile."""
        shares = self.shares
        found = {
            "chainId": contract.chain_id,
            "rewards": contract.address,
            "number": shares.number,
            "fromRound": shares.from_round,
            "toRound": shares.to_round,
            "validUntil": shares.valid_until,
            "report": "0x" + shares.report.hex(),
            "divided": str(self.amount),
            "shares": [{"account": s.account, "wei": str(s.amount)} for s in shares.parts],
        }
        try:
            write_whole(path, to_json(found, indent=2) + "\n")
        except OSError as error:
            raise BadSharesFile(
                f"{path} cannot be written: {error.strerror}.", "Give another --output."
            ) from error

    @classmethod
    def read(cls, path: Path, contract: RewardShares) -> Proposal:
        """Raises BadSharesFile."""
        data = _read(path, LARGEST_FILE, BadSharesFile)
        try:
            found = from_json(data)
            place = (found["chainId"], parse_address(found["rewards"]))
            parts = tuple(
                Share(parse_address(one["account"]), _whole(one["wei"], AMOUNT_LIMIT))
                for one in found["shares"]
            )
            shares = Shares(
                _whole(found["number"], 1 << 64),
                _whole(found["fromRound"], 1 << 32),
                _whole(found["toRound"], 1 << 32),
                _whole(found["validUntil"], 1 << 64),
                _digest(found["report"]),
                parts,
            )
            amount = _whole(found["divided"], 1 << 256)
        except (*_MALFORMED, InputError) as error:
            raise BadSharesFile(
                f"{path} has no shares that can be read.", "Write it with `flo rewards propose`."
            ) from error
        if place != (contract.chain_id, contract.address):
            raise BadSharesFile(
                f"{path} has shares for {place[1]} on chain {place[0]}, not for "
                f"{contract.address} on chain {contract.chain_id}.",
                "Name the right contract with --rewards, or propose the shares again.",
            )
        return cls(shares, amount)

    def require_from(self, source: Source) -> None:
        """Raise BadSharesFile unless these are the shares of the source."""
        shares = self.shares
        again = source.shares(shares.from_round, shares.to_round, self.amount)
        digest = source.digest(shares.from_round, shares.to_round)
        if (digest, again) != (shares.report, shares.parts):
            raise BadSharesFile(
                f"The shares are not those that follow from {source.path}.",
                "Ask who proposed them for the source, and compare its figures with yours.",
            )


def _whole(value: Any, limit: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError("it is no whole number")
    number = int(value)
    if not 0 <= number < limit:
        raise ValueError("it is out of range")
    return number


def _digest(value: str) -> bytes:
    digest = bytes.fromhex(value.removeprefix("0x"))
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError("it is no sha256")
    return digest


def _read(path: Path, limit: int, refused: type[InputError]) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise refused(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    if len(data) > limit:
        raise refused(f"{path} has more than {limit:,} bytes.", "Give another file.")
    return data
