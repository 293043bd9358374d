"""The file of an aggregator's encryption keys, and the aggregators that a party trusts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from support.federation import SmallFederation
from support.flo import PASSWORD, flo
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.cli.encryption import open_vault
from fl_orchestrator.cli.roles.trust import parse_trust, warn_of_trust
from fl_orchestrator.cli.roles.what_leaves import Leaves, NotTrusted, leaves_of
from fl_orchestrator.cli.site import Payer
from fl_orchestrator.errors import InputError, KeyStoreError
from fl_orchestrator.privacy.keys import is_public_key
from fl_orchestrator.roles.aggregator.vault import Vault


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> SmallPrivateFederation:
    return SmallPrivateFederation(tmp_path_factory.mktemp("private"), 3, 3)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> SmallPrivateFederation:
    """With a single seat."""
    return SmallPrivateFederation(tmp_path_factory.mktemp("other"), 3, 1)


@pytest.fixture
def site(tmp_path: Path) -> Payer:
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    return Payer(home=tmp_path / "home", password_file=password)


def made(path: Path, password: str = PASSWORD) -> bytes:
    """A file that opens fast."""
    vault = Vault(path, password, stretch=False)
    key = vault.make_key(0)
    vault.close()
    return key


def test_a_file_with_a_key_is_made_and_never_overwritten(tmp_path: Path, site: Payer) -> None:
    file = tmp_path / "encryption.sqlite"
    new = ["keys", "new", "--encryption", str(file), "--password-file", str(site.password_file)]
    found = flo(*new, "--json").succeeded().json
    key = bytes.fromhex(found["encryption_key"][2:])
    assert is_public_key(key)
    assert Vault(file, PASSWORD).newest == key
    flo(*new).refused(6, "exists already", "never overwritten")
    assert Vault(file, PASSWORD).newest == key


def test_without_a_file_one_is_made_that_backups_leave_out(
    private: SmallPrivateFederation, site: Payer
) -> None:
    account = private.aggregators[0].address
    vault = open_vault(site, None, private.federation, account, make=True)
    home = site.role_home(private.federation, account)
    assert vault.newest is not None
    assert (home / "private" / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172")
    assert (home / "private" / "vault.sqlite").exists()
    again = open_vault(site, None, private.federation, account, make=True)
    assert again.newest == vault.newest


def test_the_file_of_another_federation_or_account_is_refused(
    private: SmallPrivateFederation, tmp_path: Path, site: Payer
) -> None:
    file = tmp_path / "vault.sqlite"
    elsewhere: Any = copy.copy(private.federation)
    elsewhere.address = private.outsider.address
    elsewhere.observe = private.federation.observe
    key = made(file)
    first, second = (private.aggregators[i].address for i in (0, 1))
    assert open_vault(site, file, private.federation, first, make=False).newest == key
    for chain, account in ((private.federation, second), (elsewhere, first)):
        with pytest.raises(KeyStoreError, match="is of another federation or account"):
            open_vault(site, file, chain, account, make=False)


def test_a_wrong_password_a_damaged_and_a_missing_file_are_refused(
    private: SmallPrivateFederation, tmp_path: Path, site: Payer
) -> None:
    account = private.aggregators[0].address
    locked, damaged = tmp_path / "locked", tmp_path / "damaged"
    made(locked, "another password")
    damaged.write_bytes(b"no database at all" * 100)
    for file, words in (
        (locked, "does not open"),
        (damaged, "is damaged"),
        (tmp_path / "missing", "There is no file"),
    ):
        with pytest.raises(KeyStoreError, match=words):
            open_vault(site, file, private.federation, account, make=False)
    assert not (tmp_path / "missing").exists()


# Trust


def test_a_list_with_a_typo_is_refused(private: SmallPrivateFederation) -> None:
    right = private.aggregators[0].address
    assert parse_trust("") is None
    assert parse_trust(f" {right} ,{right.lower()},") == frozenset({right})
    swapped = right[:-1] + ("0" if right[-1] != "0" else "1")
    for wrong in (right[:-1], swapped, "0xAggregator", f"{right};{right}"):
        with pytest.raises(InputError, match=r"address|mistyped"):
            parse_trust(wrong)


def test_a_trusted_account_that_is_no_aggregator_is_named(
    private: SmallPrivateFederation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = private.outsider.address
    warn_of_trust(private.federation, frozenset({stranger, private.aggregators[0].address}))
    said = capsys.readouterr().err
    assert f"{stranger} is not an aggregator" in said
    assert private.aggregators[0].address not in said
    plain = SmallFederation(tmp_path, parties=1)
    warn_of_trust(plain.federation, frozenset({stranger}))
    assert "--trust has no effect" in capsys.readouterr().err


def leaves(private: SmallPrivateFederation, trusted: frozenset[str] | None) -> Leaves:
    found = leaves_of(private.federation, private.manifest, trusted, private.deployment.block)
    assert found is not None
    return found


def test_a_party_is_told_who_could_learn_what(private: SmallPrivateFederation) -> None:
    found = leaves(private, None)
    said = " ".join(found.sentences())
    assert "looks random" in said
    assert "of at least 3 parties" in said
    assert "more than 2/3 of the aggregators' stake" in said
    assert "at least 3 of the 3 now" in said
    assert f"{private.aggregators[1].address} (33.3%)" in said
    found.require_trust()
    assert found.as_json()["aggregators"][private.aggregators[0].address] == 10**18


def test_terms_that_its_own_list_does_not_accept_are_refused(
    private: SmallPrivateFederation,
) -> None:
    one = leaves(private, frozenset({private.aggregators[0].address}))
    one.require_trust()
    assert "66.7% of the stake: they cannot read" in " ".join(one.sentences())
    none = leaves(private, frozenset({private.outsider.address}))
    assert "they CAN read" in " ".join(none.sentences())
    with pytest.raises(NotTrusted, match="does not trust could together read"):
        none.require_trust()


def test_a_seat_that_reads_alone_is_named(other: SmallPrivateFederation) -> None:
    found = leaves(other, None)
    alone = other.aggregators[0].address
    assert f"WARNING: {alone} alone can read every update." in found.sentences()
    assert found.as_json()["reads_alone"] == alone
