"""A member's kit: its files are complete, and a second run changes nothing that is there."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.flo import flo, write_key
from typer.main import get_command

from fl_orchestrator.cli.config import defaults
from fl_orchestrator.cli.consortium.kits.answer import show_code
from fl_orchestrator.cli.consortium.kits.folder import (
    BadKit,
    Kit,
    compared,
    has_own_unit,
    kit_files,
    write_kit,
)
from fl_orchestrator.cli.consortium.kits.table import ListedMember
from fl_orchestrator.cli.init import settings_text
from fl_orchestrator.cli.main import app
from fl_orchestrator.errors import ToolchainError
from fl_orchestrator.members.answer import MemberRole
from fl_orchestrator.members.terms import AgreedTerms

CHECKOUT = Path(__file__).resolve().parents[4]
TERMS = AgreedTerms(
    31337, "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", bytes(range(32)), bytes(range(32, 64))
)
RPC = ["https://a.example", "https://b.example"]


def files(role: MemberRole, **more: str) -> dict[str, str]:
    values: dict[str, str | int | list[str]] = {"rpc": RPC, "store": "file:store", **more}
    return kit_files(ListedMember("bank-a", role), TERMS, values)


@pytest.mark.parametrize("role", ["party", "aggregator"])
def test_the_settings_of_a_kit_are_understood_and_complete(
    role: MemberRole, tmp_path: Path
) -> None:
    path = tmp_path / "flo.toml"
    path.write_text(files(role, relay="https://relay.example")["flo.toml"])
    found = defaults(get_command(app), tomllib.loads(path.read_text()), path)[role]["register"]
    assert found["rpc"] == ",".join(RPC)
    assert found["chain_id"] == "31337"
    assert found["federation"] == TERMS.federation
    assert found["key"] == str(tmp_path / f"{role}.json")
    run = defaults(get_command(app), tomllib.loads(path.read_text()), path)[role]["run"]
    assert run["relay"] == "https://relay.example"
    assert run["store"] == (tmp_path / "store").as_uri()


def test_a_setting_is_written_as_it_is_whatever_it_holds() -> None:
    for value in ('"quoted" \\1 \\g<0>', "ä🏦", "a # b"):
        assert tomllib.loads(settings_text("party", {"store": value}))["store"] == value
    with pytest.raises(KeyError):
        settings_text("aggregator", {"trainer": "x"})


def test_every_file_of_a_kit_is_filled_in() -> None:
    for role in ("party", "aggregator"):
        written = files(role)
        assert f"flo-{role}.service" in written
        for text in (written["README.md"], written["compare.txt"], written[f"flo-{role}.service"]):
            assert "$" not in text
        assert written["README.md"].startswith(f"# bank-a: {role}\n")
        assert f"flo keys new {role}.json" in written["README.md"]
        assert written["compare.txt"] == compared(TERMS)
        for name, number, words in TERMS.rows():
            assert f"\n{name}\n    {number}\n" in written["compare.txt"]
            assert words in written["compare.txt"]


def test_the_unit_of_an_aggregator_is_the_example_for_that_role() -> None:
    example = (CHECKOUT / "examples/operation/flo@.service").read_text().replace("%i", "aggregator")
    unit = files("aggregator")["flo-aggregator.service"]
    assert unit[unit.index("[Unit]") :] == example[example.index("[Unit]") :]


def test_the_unit_of_a_party_is_that_of_the_page_with_its_password() -> None:
    page = (CHECKOUT / "docs/operating-a-party.md").read_text()
    example = page[page.index("[Unit]") : page.index("```", page.index("[Unit]"))]
    unit = files("party")["flo-party.service"]
    password = " \\\n    --password-file /srv/flo/party.password"
    assert unit[unit.index("[Unit]") :].replace(password, "") == example
    assert password in unit


def test_a_second_run_writes_what_is_missing_and_keeps_what_was_edited(tmp_path: Path) -> None:
    folder = tmp_path / "bank-a" / "party"
    first = write_kit(folder, files("party"))
    assert set(first.values()) == {"written"}
    assert {path.name for path in folder.iterdir()} == set(first)
    assert write_kit(folder, files("party")) == {}
    (folder / "flo.toml").write_text("mine")
    (folder / "README.md").unlink()
    assert write_kit(folder, files("party")) == {"flo.toml": "kept", "README.md": "written"}
    assert (folder / "flo.toml").read_text() == "mine"


def test_a_link_in_a_kit_is_never_written_through(tmp_path: Path) -> None:
    folder, target = tmp_path / "kit", tmp_path / "target"
    folder.mkdir()
    (folder / "flo.toml").symlink_to(target)
    assert write_kit(folder, files("party"))["flo.toml"] == "kept"
    assert not target.exists()
    (tmp_path / "file").touch()
    with pytest.raises(BadKit, match="cannot be written"):
        write_kit(tmp_path / "file", files("party"))


@pytest.mark.parametrize("role", ["party", "aggregator"])
def test_a_unit_that_was_changed_on_its_way_is_noticed(role: MemberRole, tmp_path: Path) -> None:
    assert has_own_unit(tmp_path, role)
    write_kit(tmp_path, files(role))
    assert has_own_unit(tmp_path, role)
    unit = tmp_path / f"flo-{role}.service"
    unit.write_text(unit.read_text().replace("/opt/flo/bin/flo", "/srv/flo/flo"))
    assert not has_own_unit(tmp_path, role)
    unit.unlink()
    unit.symlink_to(tmp_path / "none")
    assert not has_own_unit(tmp_path, role)


def test_a_kit_is_read_back_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    account = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
    kit = Kit.of(ListedMember("bank-a", "party", account), TERMS)
    path = tmp_path / "kit.json"
    path.write_text(kit.model_dump_json())
    assert Kit.read(tmp_path) == kit
    assert kit.terms() == TERMS
    path.write_text(json.dumps(kit.model_dump() | {"name": "../x"}))
    with pytest.raises(BadKit, match="none of this version"):
        Kit.read(tmp_path)
    path.unlink()
    with pytest.raises(BadKit, match="No such file"):
        Kit.read(tmp_path)


def test_the_owners_secret_endpoint_does_not_get_into_kits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("members.csv").write_text("name,role\na,party\n")
    for url in ("https://node.example/v3/secret", "https://u:secret@node.example", "http://a/?k=s"):
        refused = flo("federation", "kit", "members.csv", "--rpc", url).refused(2, "--member-rpc")
        assert "secret" not in refused.err
    assert not Path("kits").exists()


def test_the_key_of_another_account_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = write_key(Path("party.json"), bytes(range(1, 33)))
    Path("kit.json").write_text(
        Kit.of(ListedMember("a", "party", TERMS.federation), TERMS).model_dump_json()
    )
    refused = flo("federation", "answer", "--key", "party.json").refused(2, "The kit is for the")
    assert key.address in refused.err
    assert not Path("answer.json").exists()


def test_two_rows_of_a_qr_code_are_one_line_light_on_dark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dark = [[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]]
    code = SimpleNamespace(matrix_iter=lambda border: iter(dark))
    monkeypatch.setitem(sys.modules, "segno", SimpleNamespace(make=lambda text, **_: code))
    show_code("answer")
    # A third line without a partner gets a light one.
    assert capsys.readouterr().out == " ▄▀█\n█▄█▄\n"


def test_without_its_package_a_qr_code_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    with pytest.raises(ToolchainError, match="the answer is written all the same"):
        show_code("answer")
