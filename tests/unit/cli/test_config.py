"""The settings file: what comes first, what is refused, and that `flo init` writes a right one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.flo import flo
from typer.main import get_command

from fl_orchestrator.cli import config
from fl_orchestrator.cli.config import BadConfig, defaults
from fl_orchestrator.cli.main import app

ACCOUNT = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str, file: str = "flo.toml") -> Path:
    path = Path(file)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    return path


def read(text: str) -> dict[str, Any]:
    """The defaults that a settings file gives to all commands."""
    return defaults(get_command(app), config._parsed(written(text)), Path("flo.toml"))


def endpoint_of(*arguments: str) -> str:
    """The endpoint that a command connects to, by its complaint that there is none."""
    found = re.search(r"http://127\.0\.0\.1:\d+", flo(*arguments).refused(3).err)
    assert found
    return found.group()


def test_an_option_comes_before_the_environment_before_the_file_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status = ("party", "status", ACCOUNT)
    written('rpc = "http://127.0.0.1:1"')
    assert endpoint_of(*status) == "http://127.0.0.1:1"
    monkeypatch.setenv("FLO_RPC", "http://127.0.0.1:2")
    assert endpoint_of(*status) == "http://127.0.0.1:2"
    assert endpoint_of(*status, "--rpc", "http://127.0.0.1:3") == "http://127.0.0.1:3"


def test_another_file_is_named_by_the_option_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written('rpc = "http://127.0.0.1:1"')
    other = written('rpc = "http://127.0.0.1:2"', "elsewhere/site.toml")
    status = ("party", "status", ACCOUNT)
    assert endpoint_of("--config", str(other), *status) == "http://127.0.0.1:2"
    monkeypatch.setenv("FLO_CONFIG", str(other))
    assert endpoint_of(*status) == "http://127.0.0.1:2"
    flo("--config", "no.toml", *status).refused(2, "no.toml cannot be read", "--config")


def test_a_section_holds_for_its_role_alone() -> None:
    found = read('key = "/k.json"\n[keeper]\nkey = "/keeper.json"')
    assert found["keeper"]["run"]["key"] == "/keeper.json"
    assert found["party"]["register"]["key"] == "/k.json"
    assert found["federation"]["fund"]["key"] == "/k.json"


def test_paths_are_relative_to_the_file_and_know_home_directories(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/flo")
    settings = {"key": "key.json", "home": "~/private"}
    found = defaults(get_command(app), settings, Path("/srv/flo/flo.toml"))["party"]["submit"]
    assert found["key"] == "/srv/flo/key.json"
    assert found["home"] == "/home/flo/private"


def test_the_url_of_a_signer_is_no_path() -> None:
    url = f"http://127.0.0.1:8550#{ACCOUNT}"
    assert read(f'key = "{url}"')["party"]["register"]["key"] == url


def test_several_endpoints_are_a_list() -> None:
    found = read('rpc = ["http://a:1", "http://b:2"]')
    assert found["party"]["status"]["rpc"] == "http://a:1,http://b:2"


def test_an_amount_may_be_a_number_and_a_number_has_to_be_one() -> None:
    assert read("[watcher]\nmax-bond = 0.5")["watcher"]["run"]["max_bond"] == "0.5"
    with pytest.raises(BadConfig, match="timeout = 'soon' cannot be used"):
        read('[party]\ntimeout = "soon"')
    with pytest.raises(BadConfig, match=r"key = True cannot be used: It is not a path\."):
        read("key = true")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('rcp = "http://127.0.0.1:1"', ("no setting 'rcp'", "Did you mean rpc?")),
        ('[party]\nstroe = "file:///srv"', ("flo.toml, [party]", "'stroe'", "mean store?")),
        ("[wacther]", ("no setting 'wacther'", "Did you mean watcher?")),
        ('max-bond = "1"', ("'max-bond' is a setting of some roles", "below [watcher]")),
        ("party = 3", ("party is a section", "[party]")),
        ("rpc = ", ("is not TOML",)),
        pytest.param("chain-id = " + 5000 * "9", ("is not TOML",), id="5000 digits"),
        pytest.param("rpc = " + 100_000 * "[", ("is not TOML",), id="100 000 brackets"),
        ("json = true", ("no setting 'json'",)),
        ("federation = [[1]]\n[federation.x]", ("is not TOML",)),
        ("[party]\ntimeout = 1979-05-27", ("timeout",)),
        ("[party]\nkey = {a = 1}", ("key",)),
    ],
)
def test_what_no_command_understands_is_refused_with_its_name(
    text: str, words: tuple[str, ...]
) -> None:
    written(text)
    flo("party", "status", ACCOUNT).refused(2, *words)


def test_help_is_there_whatever_the_file_says() -> None:
    written("nonsense = 1")
    flo("--help").succeeded()


def test_help_does_not_show_an_endpoint_that_may_have_a_key_in_it() -> None:
    written('rpc = "https://node.example.org/v3/secret"')
    assert "secret" not in flo("party", "status", "--help").succeeded().out


@pytest.mark.parametrize("role", config.ROLES)
def test_init_writes_a_file_that_is_understood_with_every_line_switched_on(role: str) -> None:
    flo("init", "--role", role).succeeded()
    text = Path("flo.toml").read_text()
    assert f"[{role}]" in text
    everything = re.sub(r"^#(?=\S+ = )", "", text, flags=re.MULTILINE)
    assert everything.count(" = ") > text.count("\n#") / 2
    for variant in (text, everything):
        assert read(variant)["party"]["status"]["rpc"] == "http://127.0.0.1:8545"


def test_what_init_writes_stays_right_when_its_directory_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = tmp_path / "before", tmp_path / "after it was moved"
    before.mkdir()
    flo("init", before / "flo.toml").succeeded()
    assert str(tmp_path) not in (before / "flo.toml").read_text()
    before.rename(after)
    monkeypatch.chdir(after)
    found = read((after / "flo.toml").read_text())["party"]["run"]
    assert found["store"] == (after / "store").as_uri()
    assert found["home"] == str(after / "home")


def test_a_store_of_any_other_form_is_left_as_it_is() -> None:
    for url in ("file:///srv/flo", "kubo+http://127.0.0.1:5001", "file:"):
        assert read(f'store = "{url}"')["party"]["run"]["store"] == url


def test_init_never_overwrites() -> None:
    written("kept = 1", "site.toml")
    flo("init", "site.toml").refused(2, "site.toml exists already")
    assert Path("site.toml").read_text() == "kept = 1"
    flo("init", "--role", "owner").refused(2, "no role 'owner'")
    flo("init", "no/such/flo.toml").refused(2, "cannot be written")


def test_every_shared_setting_is_an_option_of_a_role() -> None:
    root = get_command(app)
    options = {
        name
        for role in config.ROLES
        for name in config._options_of(root.commands[role])  # type: ignore[attr-defined]
    }
    assert set(config.SHARED) <= options


def test_a_command_says_where_to_name_what_it_needs() -> None:
    written('rpc = "http://127.0.0.1:1"')
    flo("keys", "new").refused(2, "file")
