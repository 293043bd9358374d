"""The list of members: read as spreadsheets write it, and refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from fl_orchestrator.cli.consortium.kits.table import ListedMember, read_members
from fl_orchestrator.training.csv_table import BadTable

ACCOUNT = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def table(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "members.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        f"name,role,address\nbank-a,party,{ACCOUNT}\nbank-a,aggregator,\n",
        f"\ufeffName;Role;Address\r\nbank-a;Party;{ACCOUNT}\r\n\r\nbank-a;AGGREGATOR\r\n",
        f"role\taddress\tname\nparty\t{ACCOUNT.lower()}\tbank-a\naggregator\t\tbank-a\n",
        f'"name","role","address"\n"bank-a","party","{ACCOUNT}"\n"bank-a","aggregator",""',
        f"name,role,address,,\nbank-a,party,{ACCOUNT},,\nbank-a,aggregator,,,\n".encode("utf-16"),
    ],
)
def test_a_table_is_read_as_spreadsheets_write_it(tmp_path: Path, text: str | bytes) -> None:
    assert read_members(table(tmp_path, text)) == [
        ListedMember("bank-a", "party", ACCOUNT),
        ListedMember("bank-a", "aggregator"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("..", ".", "../x", "a/b", "a\\b", "/etc", ".hidden", "-rf", "a..b", "a.", "a b", "a\nb"),
        *("bänk", "а-bank", "a\x1b[31m", "a\u202eb", "$(id)", "~", "con", "NUL.txt", "x" * 65),
        *("[red]", "a:b", "a*"),
    ],
)
def test_a_name_that_is_no_safe_folder_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    path = table(tmp_path, f'name,role\ngood,party\n"{name}",party\n')
    with pytest.raises(BadTable, match=r"members\.csv, line \d: '.* cannot be the name of a mem"):
        read_members(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,role\na,party\nb,owner\n", "line 3: there is no role 'owner'"),
        ("name,role\na,party\nb\n", "line 3: there is no role ''"),
        ("name,role\na,party\n\nb,party\na,party\n", "line 5: the member a as party is already in"),
        ("name,role\nBank,party\nbank,aggregator\n", "line 3: 'bank' is also written 'Bank'"),
        ("name,role,address\na,party,0x12\n", "line 2: '0x12' is not an address"),
        (f"name,role,address\na,party,{ACCOUNT.replace('C8', 'c8')}\n", "line 2: .* is not an add"),
        (
            f"name,role,address\na,party,{ACCOUNT}\nb,party,{ACCOUNT.lower()}\n",
            "line 3: the account 0x7099.* is already in line 2",
        ),
        ("name,role,adress\na,party,\n", "has the columns 'name, role, adress'"),
        ("name,name,role\na,a,party\n", "has the columns"),
        ("name;kind\na;party\n", "has the columns"),
        ("name,role\na,party,more\n", "line 2 has more cells"),
        ("name,role\n", "lists no members"),
        ("", "lists no members"),
        ('name,role\n"a,party\n', "line 2: there is no role|cannot be the name"),
        ("name,role\n" + "x" * 200_000 + ",party\n", "line 2: field larger"),
        (b"name,role\n\x00\x01,party\n", "is no text file"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(BadTable, match=said):
        read_members(table(tmp_path, text))


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadTable, match=r"no\.csv cannot be read"):
        read_members(tmp_path / "no.csv")
