"""Amounts, durations, addresses and hashes, as people write and read them."""

from __future__ import annotations

import datetime
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from web3 import Web3

from fl_orchestrator.cli.console import duration, end_in_words, ether, progress, short
from fl_orchestrator.cli.site import parse_address
from fl_orchestrator.errors import InputError
from fl_orchestrator.units import parse_ether, parse_gwei

WEI = st.integers(0, 2**96 - 1)
ADDRESS = st.binary(min_size=20, max_size=20).map(lambda raw: Web3.to_checksum_address(raw))


@given(WEI)
def test_an_amount_is_read_exactly(wei: int) -> None:
    whole, fraction = divmod(wei, 10**18)
    assert parse_ether(f"{whole}.{fraction:018}") == wei
    assert parse_ether(f"{wei}e-18") == wei


@pytest.mark.parametrize("text", ["", "abc", "1,5", "0x1", "1 ETH", "nan", "snan", "--1"])
def test_what_is_no_number_is_no_amount(text: str) -> None:
    with pytest.raises(InputError, match=r"is not an amount\. Write it in ETH, such as 0\.1\."):
        parse_ether(text)


def test_a_fee_for_a_unit_of_gas_is_in_gwei() -> None:
    assert parse_gwei("1.5") == 1_500_000_000
    with pytest.raises(InputError, match=r"is not an amount\. Write it in gwei, such as 0\.1\."):
        parse_gwei("much")


@pytest.mark.parametrize("text", ["1e-19", "0.1234567890123456789", "1e-999999999"])
def test_less_than_a_wei_is_no_amount(text: str) -> None:
    with pytest.raises(InputError, match="at most 18 decimals"):
        parse_ether(text)


@pytest.mark.parametrize("text", ["-1", "-1e-18", "inf", "79228162514.264337593543950336", "1e99"])
def test_an_amount_that_no_contract_holds_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="0 to 79,228,162,514 ETH"):
        parse_ether(text)


def test_amounts_too_large_for_decimal_arithmetic_are_refused() -> None:
    with pytest.raises(InputError, match="0 to 79,228,162,514 ETH"):
        parse_ether("1e999999")


@given(WEI)
def test_a_shown_amount_is_right_to_six_decimals_and_never_hides_one(wei: int) -> None:
    shown = ether(wei)
    number, unit = shown.split()
    if unit == "wei":
        assert int(number.replace(",", "")) == wei
    else:
        assert abs(Decimal(number) * 10**18 - wei) <= 10**12 / 2
        assert (Decimal(number) == 0) == (wei == 0)
    assert "E" not in number


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (1.4, "1 s"),
        (99.4, "99 s"),
        (600, "10 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (86_400, "1 d"),
        (90_000, "1 d 1 h"),
        (604_800, "7 d"),
        (2**31 - 1, "24855 d 3 h"),
    ],
)
def test_a_duration_is_shown_in_its_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@given(ADDRESS)
def test_an_address_is_read_with_its_checksum_or_without_one(address: str) -> None:
    lower = address.lower()
    for text in (address, lower, "0x" + lower[2:].upper()):
        assert parse_address(text) == address


@given(ADDRESS, st.integers(2, 41))
def test_an_address_with_one_letter_in_the_wrong_case_is_refused(address: str, at: int) -> None:
    wrong = address[:at] + address[at].swapcase() + address[at + 1 :]
    digits = wrong[2:]
    if wrong == address or digits in (digits.lower(), digits.upper()):
        return
    with pytest.raises(InputError, match="is mistyped"):
        parse_address(wrong)


@pytest.mark.parametrize(
    "text", ["", "0x", "0x12", "hospital.eth", "0x" + "g" * 40, "0x" + "1" * 41, "1" * 40]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not an address"):
        parse_address(text)


def test_a_hash_is_whole_in_a_pipe_and_short_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    root = "0x" + "ab" * 32
    assert short(root) == root
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    assert short(root) == "0xababab…ababab"
    assert short("weighted-mean") == "weighted-mean"


NOON = datetime.datetime(2026, 6, 1, 12, 0).timestamp()  # noqa: DTZ001 (a person's own clock)


@pytest.mark.parametrize(
    ("seconds", "done", "total", "words"),
    [
        (60, 1, 3, "2 min left, until 12:03"),
        (60, 3, 3, "0 s left, until 12:01"),
        (30, 30, 100, "70 s left, until 12:01"),
        (86_400, 1, 3, "2 d left, until 2026-06-04 12:00"),
    ],
)
def test_the_end_of_what_takes_long_is_told(
    seconds: int, done: int, total: int, words: str
) -> None:
    assert end_in_words(NOON, NOON + seconds, done, total) == words


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_shown_on_a_terminal_alone(is_terminal: bool) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=is_terminal, width=100)
    with progress(console, "recomputing", 2) as advance:
        advance()
        console.print("round 1")
        advance()
    if not is_terminal:
        assert shown.getvalue() == "round 1\n"
        return
    for words in ("recomputing", "2/2", "0 s left, until "):
        assert words in shown.getvalue()
