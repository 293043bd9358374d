"""Keystore files: what they keep, what is refused, and that no secret is shown."""

import copy
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.chain.signing.keys import (
    MAX_KEYSTORE_BYTES,
    LocalSigner,
    compact,
    keystore_address,
    load_keystore,
    save_keystore,
)
from fl_orchestrator.errors import KeyStoreError

SECRET = bytes(range(1, 33))
ADDRESS = str(Account.from_key(SECRET).address)
PASSWORD = "pässwörd\u2603"
# A cheap key derivation: the files that the tests damage need no security.
KEYSTORE: dict[str, Any] = Account.encrypt(SECRET, PASSWORD, kdf="pbkdf2", iterations=2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "party.json"


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_a_saved_key_is_loaded_with_its_password_and_no_other(path: Path) -> None:
    assert save_keystore(path, SECRET, PASSWORD) == ADDRESS
    assert load_keystore(path, PASSWORD).address == ADDRESS
    with pytest.raises(KeyStoreError, match="password does not open") as refusal:
        load_keystore(path, PASSWORD + "x")
    assert PASSWORD not in str(refusal.value)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SECRET.hex() not in path.read_text()
    assert list(path.parent.iterdir()) == [path]


def test_a_key_file_is_never_overwritten(path: Path) -> None:
    write(path, b"something")
    with pytest.raises(KeyStoreError, match="exists already"):
        save_keystore(path, SECRET, PASSWORD)
    assert path.read_bytes() == b"something"
    assert list(path.parent.iterdir()) == [path]


def test_a_key_that_appears_in_the_meantime_is_not_overwritten(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encrypt_slowly(*_: Any) -> dict[str, Any]:
        path.write_bytes(b"something")
        return KEYSTORE

    monkeypatch.setattr(Account, "encrypt", encrypt_slowly)
    with pytest.raises(KeyStoreError, match="exists already"):
        save_keystore(path, SECRET, PASSWORD)
    assert path.read_bytes() == b"something"
    assert list(path.parent.iterdir()) == [path]


def test_a_dangling_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyStoreError, match="exists already"):
        save_keystore(path, SECRET, PASSWORD)
    assert not (tmp_path / "elsewhere").exists()


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyStoreError, match="cannot be written"):
        save_keystore(tmp_path / "file" / "party.json", SECRET, PASSWORD)


def test_a_missing_file_is_an_error(path: Path) -> None:
    with pytest.raises(KeyStoreError, match="cannot be read: No such file") as refusal:
        load_keystore(path, PASSWORD)
    assert refusal.value.hint == "Check --key."


def test_a_directory_is_not_a_key_file(tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match="cannot be read"):
        load_keystore(tmp_path, PASSWORD)


def test_a_file_that_is_too_large_is_not_read(path: Path) -> None:
    write(path, {**KEYSTORE, "x": "x" * MAX_KEYSTORE_BYTES})
    with pytest.raises(KeyStoreError, match="too large"):
        load_keystore(path, PASSWORD)


def test_an_endless_file_is_not_read() -> None:
    with pytest.raises(KeyStoreError, match="too large"):
        load_keystore(Path(os.devnull).with_name("zero"), PASSWORD)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"not json",
        b"[" * (MAX_KEYSTORE_BYTES - 1),
        b"[]",
        b"5",
        b"null",
        b"{}",
        {**KEYSTORE, "version": 2},
        {**KEYSTORE, "version": "2"},
        {**KEYSTORE, "version": True},
        {key: value for key, value in KEYSTORE.items() if key != "crypto"},
    ],
    ids=lambda content: str(content)[:20],
)
def test_what_is_not_a_keystore_is_refused(path: Path, content: Any) -> None:
    with pytest.raises(KeyStoreError, match="is not a Web3 Secret Storage file"):
        load_keystore(write(path, content), PASSWORD)


@pytest.mark.parametrize("value", [None, -5, 0, [], "x", {}, "00", "é" * 16, 2**70])
@pytest.mark.parametrize(
    "field",
    [
        ("crypto",),
        ("crypto", "cipherparams"),
        ("crypto", "cipherparams", "iv"),
        ("crypto", "ciphertext"),
        ("crypto", "kdf"),
        ("crypto", "kdfparams"),
        ("crypto", "kdfparams", "c"),
        ("crypto", "kdfparams", "dklen"),
        ("crypto", "kdfparams", "prf"),
        ("crypto", "kdfparams", "salt"),
        ("crypto", "mac"),
        ("address",),
    ],
    ids=".".join,
)
def test_a_damaged_field_never_gives_another_key(
    path: Path, field: tuple[str, ...], value: Any
) -> None:
    keystore = copy.deepcopy(KEYSTORE)
    place = keystore
    for key in field[:-1]:
        place = place[key]
    place[field[-1]] = value
    try:
        loaded = load_keystore(write(path, keystore), PASSWORD)
    except KeyStoreError:
        return
    # No key length stands for its default of 32 bytes, and an address is optional.
    assert (field[-1], value) in (("dklen", None), ("address", None))
    assert loaded.address == ADDRESS


def test_a_changed_initialisation_vector_is_noticed(path: Path) -> None:
    keystore = copy.deepcopy(KEYSTORE)
    keystore["crypto"]["cipherparams"]["iv"] = "00" * 16
    with pytest.raises(KeyStoreError, match="its key has another address"):
        load_keystore(write(path, keystore), PASSWORD)


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS.lower(), ADDRESS[2:], None])
def test_the_address_in_the_file_may_be_spelt_in_any_way_or_left_out(
    path: Path, address: str | None
) -> None:
    keystore = {**KEYSTORE, "address": address}
    if address is None:
        del keystore["address"]
    assert load_keystore(write(path, keystore), PASSWORD).address == ADDRESS


def _with(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**KEYSTORE, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    "content",
    [
        _with(crypto=..., Crypto=KEYSTORE["crypto"]),
        _with(crypto=..., CRYPTO=KEYSTORE["crypto"], version=..., Version=3),
        _with(version="3"),
        _with(address=""),
        _with(address=None),
        _with(address=...),
        _with(address="0X" + ADDRESS[2:].upper()),
        b"\xef\xbb\xbf" + json.dumps(KEYSTORE).encode(),
        json.dumps(KEYSTORE).encode("utf-16"),
        json.dumps(KEYSTORE, indent=4).replace("\n", "\r\n").encode(),
    ],
    ids=range(10),
)
def test_key_files_are_read_as_wallets_write_them(path: Path, content: Any) -> None:
    assert load_keystore(write(path, content), PASSWORD).address == ADDRESS


@pytest.mark.parametrize(
    "name",
    [
        "UTC--2026-01-31T12-00-00.000000000Z--" + ADDRESS[2:].lower(),
        "UTC--2026-01-31T12-00-00.000000000Z--" + ADDRESS[2:].lower() + ".json",
        ADDRESS,
        ADDRESS[2:] + ".JSON",
    ],
)
@pytest.mark.parametrize("address", ["", None])
def test_the_name_of_a_file_says_whose_it_is_where_the_file_does_not(
    tmp_path: Path, name: str, address: str | None
) -> None:
    assert keystore_address(write(tmp_path / name, {**KEYSTORE, "address": address})) == ADDRESS


@pytest.mark.parametrize("name", ["party.json", "a" + ADDRESS[2:], ADDRESS[:-1]])
def test_a_file_of_nobody_says_how_to_name_its_account(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyStoreError, match=r"does not say whose key.*address"):
        keystore_address(write(tmp_path / name, {**KEYSTORE, "address": ""}))


def test_a_signer_does_not_show_its_secret() -> None:
    signer = LocalSigner.from_secret(SECRET)
    for text in (repr(signer), str(signer), f"{signer}"):
        assert text == f"LocalSigner({ADDRESS})"
        assert SECRET.hex() not in text


def test_a_compact_signature_recovers_to_the_signer() -> None:
    domain = {"name": "Federation", "version": "1", "chainId": 5, "verifyingContract": ADDRESS}
    types = {"Thing": [{"name": "number", "type": "uint64"}]}
    parities = set()
    for number in range(8):
        signature = LocalSigner.from_secret(SECRET).sign_typed_data(
            domain, types, {"number": number}
        )
        vs = int.from_bytes(signature.vs, "big")
        parity, s = vs >> 255, vs & (1 << 255) - 1
        parities.add(parity)
        message = encode_typed_data(domain, types, {"number": number})
        vrs = (27 + parity, int.from_bytes(signature.r, "big"), s)
        assert Account.recover_message(message, vrs=vrs) == ADDRESS
    assert parities == {0, 1}


@given(st.integers(1, 2**252), st.integers(0, 2**64 - 1), st.binary(max_size=80))
def test_a_signature_is_the_one_that_eth_account_makes(key: int, number: int, text: bytes) -> None:
    """Commits on a recorded chain have these bytes."""
    domain = {"name": "Federation", "version": "1", "chainId": 5, "verifyingContract": ADDRESS}
    types = {
        "Thing": [{"name": "number", "type": "uint64"}, {"name": "part", "type": "Part"}],
        "Part": [{"name": "text", "type": "bytes"}],
    }
    message = {"number": number, "part": {"text": text}}
    account = Account.from_key(key.to_bytes(32))
    theirs = account.sign_typed_data(domain, types, message)
    mine = LocalSigner(account).sign_typed_data(domain, types, message)
    assert mine == compact(theirs.r, theirs.s, theirs.v - 27)
