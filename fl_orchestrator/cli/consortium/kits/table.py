"""The list of members, as a table comes out of a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fl_orchestrator.cli.site import parse_address
from fl_orchestrator.errors import InputError
from fl_orchestrator.training.csv_table import BadTable, separator_of, table_text

if TYPE_CHECKING:
    from fl_orchestrator.members.answer import MemberRole

_COLUMNS: Final = ("name", "role", "address")
_NEEDED: Final = _COLUMNS[:2]
_MOST_MEMBERS: Final = 10_000
_SHOWN_CHARACTERS: Final = 40


@dataclass(frozen=True, slots=True)
class ListedMember:
    """A line of the list. ``address`` is empty if the member has not named its account yet."""

    name: str
    role: MemberRole
    address: str = ""


def read_members(path: Path) -> list[ListedMember]:
    """Read a list of members, in its order.

    Raises BadTable, with the line, for a name that cannot be a folder's, an unknown role, an
    address that is none, and a member, role or address that is there twice.
    """
    members: list[ListedMember] = []
    seen: dict[str, int] = {}
    spelled: dict[str, str] = {}
    for line, cells in _rows(path):
        where = f"{path}, line {line}"
        member = _member(cells, where)
        folded = member.name.casefold()
        if spelled.setdefault(folded, member.name) != member.name:
            raise BadTable(
                f"{where}: {member.name!r} is also written {spelled[folded]!r}.",
                "Write a member's name in one way: on some systems both are one folder.",
            )
        once = {f"{member.name} as {member.role}": "member", member.address: "account"}
        for value, what in once.items():
            if value and seen.setdefault(value, line) != line:
                raise BadTable(
                    f"{where}: the {what} {value} is already in line {seen[value]}.",
                    "List each member once for each role, with an account for each.",
                )
        members.append(member)
        if len(members) > _MOST_MEMBERS:
            raise BadTable(f"{path} has more than {_MOST_MEMBERS:,} members.", "Give a list.")
    if not members:
        raise BadTable(f"{path} lists no members.", "Give a line for each: name, role.")
    return members


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The line and the cells by column of each row that is not empty."""
    text = table_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator_of(text))
    columns: list[str] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not columns:
                columns = _checked([cell.lower() for cell in cells], path)
                continue
            if any(cells[len(columns) :]):
                raise BadTable(
                    f"{path}, line {reader.line_num} has more cells than there are columns.",
                    f"The columns are {', '.join(columns)}.",
                )
            yield reader.line_num, dict(zip(columns, cells, strict=False))
    except csv.Error as error:
        raise BadTable(f"{path}, line {reader.line_num}: {error}.", "Export it as CSV.") from error


def _checked(columns: list[str], path: Path) -> list[str]:
    while columns and not columns[-1]:
        columns.pop()
    known = set(columns) <= set(_COLUMNS) and len(set(columns)) == len(columns)
    if not known or not set(_NEEDED) <= set(columns):
        raise BadTable(
            f"{path} has the columns {_shown(', '.join(columns))}.",
            "Its first line names the columns name, role and, if you like, address; no others.",
        )
    return columns


def _member(cells: dict[str, str], where: str) -> ListedMember:
    from fl_orchestrator.members.answer import is_member_name

    name, role, account = (cells.get(column, "") for column in _COLUMNS)
    if not is_member_name(name):
        raise BadTable(
            f"{where}: {_shown(name)} cannot be the name of a member.",
            "It becomes a folder's name: 1 to 64 letters (A to Z), digits, '-', '_' and single "
            "'.', beginning with a letter or a digit.",
        )
    try:
        address = parse_address(account) if account else ""
    except InputError as error:
        raise BadTable(f"{where}: {_shown(account)} is not an address.", error.hint) from error
    match role.lower():
        case "party" | "aggregator" as known:
            return ListedMember(name, known, address)
    raise BadTable(f"{where}: there is no role {_shown(role)}.", "Use party or aggregator.")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")
