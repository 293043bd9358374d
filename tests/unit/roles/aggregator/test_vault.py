"""An aggregator's secrets: what it wrote once stays so, whatever happens to the process."""

from __future__ import annotations

import dataclasses
import itertools
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from fl_orchestrator.content.store import StoreFull
from fl_orchestrator.errors import KeyStoreError
from fl_orchestrator.privacy.keys import is_public_key, public_key
from fl_orchestrator.roles.aggregator.vault import Lock, LockRefused, Vault

BASE = b"\1" * 32
A, B, C = ("0x" + f"{n:02x}" * 20 for n in (1, 2, 3))
LOCK = Lock(4, BASE, b"\7" * 32, frozenset({(A, 1), (B, 200), (C, 255)}))
OTHER = dataclasses.replace(LOCK, word=b"\x08" * 32, members=frozenset({(A, 1), (B, 200)}))

Open = Callable[..., Vault]


@pytest.fixture
def reopened(tmp_path: Path) -> Open:
    """Opens the vault as a process does that starts; each drawn secret is another one."""
    numbers = itertools.count(1)

    def open_(password: str = "secret") -> Vault:
        return Vault(
            tmp_path / "private" / "vault.sqlite",
            password,
            lambda: next(numbers).to_bytes(32),
            stretch=False,
        )

    return open_


def test_a_key_serves_the_rounds_after_those_that_were_seen(reopened: Open) -> None:
    vault = reopened()
    assert vault.newest is None
    public = vault.make_key(after=7)
    assert is_public_key(public)
    assert vault.secret(public, 7) is None
    secret = vault.secret(public, 8)
    assert secret is not None
    assert public_key(secret) == public == vault.newest == reopened().newest
    assert reopened().secret(public, 8) == secret
    assert vault.secret(b"\2" * 32, 8) is None


def test_an_older_key_stays_while_a_round_needs_it(reopened: Open) -> None:
    vault = reopened()
    old, new = vault.make_key(0), vault.make_key(3)
    assert old != new == vault.newest
    assert vault.erase_keys({old}) == 0
    assert reopened().secret(old, 3) is not None
    assert vault.erase_keys(()) == 1
    for opened in (vault, reopened()):
        assert opened.secret(old, 3) is None
        assert opened.secret(new, 4) is not None


def test_one_lock_is_confirmed_in_a_round(reopened: Open) -> None:
    vault = reopened()
    assert vault.confirmed(4) is None
    vault.confirm(LOCK)
    for opened in (vault, reopened()):
        opened.confirm(LOCK)
        with pytest.raises(LockRefused, match="Another lock of round 4 was confirmed"):
            opened.confirm(OTHER)
        assert (opened.confirmed(4), opened.released(4)) == (LOCK.word, None)
    vault.confirm(dataclasses.replace(OTHER, round=5))


def test_one_lock_is_released_in_a_round_perhaps_not_the_confirmed_one(reopened: Open) -> None:
    vault = reopened()
    vault.confirm(LOCK)
    vault.release(OTHER)
    for opened in (vault, reopened()):
        opened.release(OTHER)
        with pytest.raises(LockRefused, match="Another lock of round 4 was released"):
            opened.release(LOCK)
        assert (opened.confirmed(4), opened.released(4)) == (LOCK.word, OTHER.word)


def test_the_list_of_a_base_is_that_of_its_first_lock_for_ever(reopened: Open) -> None:
    vault = reopened()
    assert vault.list_of(BASE) is None
    vault.confirm(LOCK)
    vault.confirm(dataclasses.replace(OTHER, round=5))
    assert reopened().list_of(BASE) == LOCK.members
    assert vault.list_of(b"\2" * 32) is None


def test_it_is_one_file_that_nobody_else_can_read(reopened: Open, tmp_path: Path) -> None:
    vault = reopened()
    public = vault.make_key(0)
    vault.confirm(LOCK)
    (file,) = (tmp_path / "private").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    secret = vault.secret(public, 1)
    assert secret is not None
    content = file.read_bytes()
    assert secret not in content
    assert secret.hex().encode() not in content


def test_an_erased_key_is_not_in_the_file_any_more(reopened: Open, tmp_path: Path) -> None:
    vault = reopened()
    old = vault.make_key(0)
    vault.make_key(1)
    file = tmp_path / "private" / "vault.sqlite"
    assert old in file.read_bytes()
    vault.erase_keys(())
    assert old not in file.read_bytes()


def test_another_password_does_not_open_it(reopened: Open) -> None:
    reopened().make_key(0)
    with pytest.raises(KeyStoreError, match="does not open"):
        reopened("another")


@pytest.mark.parametrize("damage", [b"no database", b"SQLite format 3\0" + bytes(100)])
def test_a_damaged_file_is_not_used(reopened: Open, tmp_path: Path, damage: bytes) -> None:
    reopened().make_key(0)
    (tmp_path / "private" / "vault.sqlite").write_bytes(damage)
    with pytest.raises(KeyStoreError, match=r"vault\.sqlite") as error:
        reopened()
    assert "older copy" in str(error.value.hint)


def test_a_vault_without_disk_space_records_nothing_and_is_waited_for(
    reopened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = reopened()
    vault._database.execute("PRAGMA max_page_count = 1")
    many = frozenset((f"0x{n:040x}", 1) for n in range(2000))
    # The loop of a process waits for room in a store, and ends for other errors of key files.
    with pytest.raises(StoreFull, match=r"no room on the disk for .*vault\.sqlite"):
        vault.confirm(dataclasses.replace(LOCK, members=many))
    assert (vault.confirmed(4), vault.list_of(BASE)) == (None, None)


def test_a_limit_on_files_is_waited_for_as_a_full_disk_is(reopened: Open) -> None:
    vault = reopened()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(StoreFull, match="no room on the disk"):
            vault.confirm(LOCK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (vault.confirmed(4), vault.list_of(BASE)) == (None, None)
    vault.confirm(LOCK)
    assert reopened().confirmed(4) == LOCK.word


def test_it_is_the_file_of_one_seat(reopened: Open) -> None:
    vault = reopened()
    public = vault.make_key(0)
    vault.bind(1, A, B, opened=6)
    # What was confirmed in the rounds until then is not known.
    assert vault.secret(public, 6) is None
    assert vault.secret(public, 7) is not None
    reopened().bind(1, A.upper().replace("X", "x"), B, opened=9)
    assert vault.secret(public, 7) is not None
    for other in ((2, A, B), (1, C, B), (1, A, C)):
        with pytest.raises(KeyStoreError, match="another federation or account"):
            reopened().bind(*other, opened=0)


def test_who_misdealt_is_remembered(reopened: Open) -> None:
    vault = reopened()
    assert vault.misdealers() == frozenset()
    for party in (A, B, A):
        vault.expel(party)
    assert reopened().misdealers() == {A, B}
