"""`flo keys`: keys go into files and nowhere else."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import eth_account
import pytest
from support.flo import PASSWORD, finish, flo, start_flo
from typer.main import get_command

from fl_orchestrator.chain.signing.keys import MAX_KEYSTORE_BYTES, LocalSigner, load_keystore
from fl_orchestrator.chain.signing.remote_signer import RemoteSigner
from fl_orchestrator.chain.signing.web3signer import Web3Signer
from fl_orchestrator.cli.config import defaults
from fl_orchestrator.cli.main import app
from fl_orchestrator.cli.passwords import read_password
from fl_orchestrator.cli.site import Account, open_signer
from fl_orchestrator.errors import InputError

SECRET = bytes(range(1, 33))
ADDRESS = LocalSigner.from_secret(SECRET).address


@pytest.fixture(autouse=True)
def _fast_key_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = eth_account.Account.encrypt
    monkeypatch.setattr(
        eth_account.Account, "encrypt", lambda secret, password: slow(secret, password, "pbkdf2", 1)
    )


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\r\nsecond line\n")
    return path


def test_an_imported_key_opens_with_its_password(tmp_path: Path, password: Path) -> None:
    key = tmp_path / "keys" / "owner [1].json"
    imported = flo("keys", "import", key, "--password-file", password, typed=SECRET.hex() + "\n")
    assert imported.succeeded().out == f"{ADDRESS} written to {key}\n"
    assert load_keystore(key, PASSWORD).address == ADDRESS
    assert key.stat().st_mode & 0o077 == 0
    with_prefix = ["--json", "--password-file", password]
    other = tmp_path / "other.json"
    again = flo("keys", "import", other, *with_prefix, typed=f"0x{SECRET.hex()}\n")
    assert again.succeeded().json == {"address": ADDRESS, "file": str(other)}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_password_file_that_windows_wrote_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "password"
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    path.write_bytes(f"{mark}pw-öne\r\nanother line\r\n".encode(encoding))
    assert read_password(path, "") == "pw-öne"


def test_a_password_that_powershell_pipes_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\ufeffpw-one\r\n"))
    assert read_password(None, "") == "pw-one"


def test_every_new_key_is_another_one(tmp_path: Path, password: Path) -> None:
    made = [
        flo("keys", "new", tmp_path / name, "--password-file", password, "--json").succeeded().json
        for name in ("a.json", "b.json")
    ]
    assert made[0]["address"] != made[1]["address"]
    for name, one in zip(("a.json", "b.json"), made, strict=True):
        assert load_keystore(tmp_path / name, PASSWORD).address == one["address"]


def test_a_password_and_a_key_can_be_piped_in(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    flo("keys", "import", key, typed=f"{SECRET.hex()}\n{PASSWORD}\n").succeeded()
    assert load_keystore(key, PASSWORD).address == ADDRESS


@pytest.mark.parametrize(
    "typed", ["zz" * 32, SECRET.hex()[:-2], SECRET.hex() + "00", "0" * 64, "f" * 64]
)
def test_what_is_no_private_key_is_refused(tmp_path: Path, password: Path, typed: str) -> None:
    key = tmp_path / "key.json"
    refused = flo("keys", "import", key, "--password-file", password, typed=typed + "\n")
    refused.refused(6, "That is not a private key")
    assert typed not in refused.err
    assert not key.exists()


def test_a_key_file_is_never_overwritten(tmp_path: Path, password: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text("precious")
    for command in ("new", "import"):
        # Before anything is asked for.
        for given in (["--password-file", password], []):
            flo("keys", command, key, *given).refused(6, "key.json exists already", "never overw")
    assert key.read_text() == "precious"


def test_no_key_is_written_without_a_password(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    for content in ("", "\n", "\r\nsecond line\n"):
        (tmp_path / "password").write_text(content)
        refused = flo("keys", "new", key, "--password-file", tmp_path / "password")
        refused.refused(6, "The first line of", "is empty")
    (tmp_path / "password").write_bytes(b"\xff\xfa")
    flo("keys", "new", key, "--password-file", tmp_path / "password").refused(6, "cannot be read")
    flo("keys", "new", key, "--password-file", tmp_path / "none").refused(6, "cannot be read")
    flo("keys", "new", key).refused(6, "nobody is there to type it", "--password-file")
    flo("keys", "import", key).refused(6, "nobody is there to type it", "Pipe it in")
    assert not key.exists()


def test_a_place_where_no_file_can_be_is_named(tmp_path: Path, password: Path) -> None:
    (tmp_path / "file").touch()
    refused = flo("keys", "new", tmp_path / "file" / "key.json", "--password-file", password)
    refused.refused(6, f"{tmp_path}/file/key.json cannot be written")


def test_no_secret_is_ever_shown(tmp_path: Path, password: Path) -> None:
    key = tmp_path / "key.json"
    options = ["--password-file", password]
    typed = SECRET.hex() + "\n"
    (tmp_path / "wrong").write_text("another secret\n")
    register = ["party", "register", "--rpc", "http://127.0.0.1:1"]
    for command in (
        ["keys", "import", key, *options],  # succeeds
        ["keys", "import", key, *options],  # exists
        ["keys", "import", tmp_path / "none" / "\0", *options],  # fails in an unforeseen way
        [*register, "--key", key, *options],
        [*register, "--key", key, "--password-file", tmp_path / "wrong"],
    ):
        done = flo("--debug", *command, typed=typed)
        for secret in (SECRET.hex(), PASSWORD, "another secret", str(int(SECRET.hex(), 16))):
            assert secret not in done.out + done.err


# ---------------------------------------------------------------------- list


def test_the_accounts_in_a_directory_are_listed_without_a_password(
    tmp_path: Path, password: Path
) -> None:
    directory = tmp_path / "keys [1]"
    first = flo("keys", "new", directory / "b.json", "--password-file", password, "--json").json
    flo("keys", "import", directory / "a.json", "--password-file", password, typed=SECRET.hex())
    listed = flo("keys", "list", directory).succeeded()
    assert listed.out.splitlines() == [
        f"{ADDRESS}  {directory}/a.json",
        f"{first['address']}  {directory}/b.json",
    ]
    assert listed.err == ""


def test_what_is_no_key_file_is_named(tmp_path: Path, password: Path) -> None:
    flo("keys", "import", tmp_path / "a.json", "--password-file", password, typed=SECRET.hex())
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "huge.json").write_bytes(b" " * (MAX_KEYSTORE_BYTES + 1))
    (tmp_path / "nameless.json").write_text(json.dumps({"version": 3, "crypto": {}}))
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    (tmp_path / "directory.json").mkdir()
    (tmp_path / ".hidden").write_text("{")
    os.mkfifo(tmp_path / "pipe.json")
    listed = flo("keys", "list", tmp_path).succeeded()
    assert listed.out == f"{ADDRESS}  {tmp_path}/a.json\n"
    assert listed.err.splitlines() == [
        f"{tmp_path}/broken.json is not a Web3 Secret Storage file.",
        f"The key file {tmp_path}/huge.json is too large to be a keystore file.",
        f"The keystore file {tmp_path}/nameless.json does not say whose key it has.",
        f"{tmp_path}/password is not a Web3 Secret Storage file.",
    ]
    in_json = flo("keys", "list", tmp_path, "--json").succeeded().json
    assert in_json["keys"] == [{"address": ADDRESS, "file": f"{tmp_path}/a.json"}]
    assert len(in_json["others"]) == 4


def test_the_default_directory_is_in_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    refused = flo("keys", "list")
    refused.refused(6, f"{tmp_path}/.flo/keys cannot be read", "flo keys new")
    (tmp_path / ".flo/keys").mkdir(parents=True)
    assert flo("keys", "list").succeeded().out == "There are no key files in ~/.flo/keys.\n"


# ---------------------------------------------------------------------- open descriptors


def test_a_password_may_come_from_an_open_descriptor(tmp_path: Path) -> None:
    """Of a pipe, say from a password manager: it is in no file, argument or environment."""
    key = tmp_path / "key.json"
    reading, writing = os.pipe()
    os.write(writing, f"{PASSWORD}\n".encode())
    os.close(writing)
    given = ["--password-file", f"/dev/fd/{reading}"]
    process = start_flo("keys", "new", key, *given, pass_fds=[reading])
    os.close(reading)
    out = finish(process).succeeded().out
    assert load_keystore(key, PASSWORD).address in out


# ---------------------------------------------------------------------- remote signers


def test_a_remote_signer_needs_no_password() -> None:
    key = Path(f"http://user:hunter2@127.0.0.1:8550#{ADDRESS}")
    signer = open_signer(key, None)
    assert isinstance(signer, RemoteSigner)
    assert signer.address == Account(key=key).account() == ADDRESS


def test_an_account_of_web3signer_is_named_by_its_scheme() -> None:
    key = Path(f"web3signer+https://user:hunter2@127.0.0.1:9000#{ADDRESS}")
    signer = open_signer(key, None)
    assert isinstance(signer, Web3Signer)
    assert signer.address == Account(key=key).account() == ADDRESS
    assert repr(signer) == f"Web3Signer({ADDRESS} at https://127.0.0.1:9000)"


@pytest.mark.parametrize("scheme", ["https", "web3signer+http"])
def test_a_settings_file_may_name_a_remote_signer(scheme: str) -> None:
    key = f"{scheme}://127.0.0.1:8550/path#{ADDRESS}"
    commands = defaults(get_command(app), {"key": key}, Path("flo.toml"))
    assert commands["party"]["register"]["key"] == key


def test_a_remote_signer_without_an_account_is_refused() -> None:
    account = Account(key=Path("http://user:hunter2@127.0.0.1:8550"))
    with pytest.raises(InputError, match="does not end with # and the address"):
        account.account()
