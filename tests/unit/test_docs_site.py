"""The documentation's site: what is generated is complete, and a page that asks others is found."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

import fl_orchestrator
from fl_orchestrator.artifacts import load_artifact
from fl_orchestrator.cli.main import app

# `Ownable2Step`, which the contracts inherit.
OF_OPENZEPPELIN = {
    *("OwnableInvalidOwner", "OwnableUnauthorizedAccount"),
    *("OwnershipTransferStarted", "OwnershipTransferred"),
    *("acceptOwnership", "owner", "pendingOwner", "renounceOwnership", "transferOwnership"),
}


@pytest.fixture(scope="module")
def site(checkout: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_site", checkout / "scripts/docs_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def prepared(site: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "docs"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FLO_STORE", "file:///of-this-machine")
        site.prepare(folder)
    return folder


def names(command: Any, words: str = "flo") -> list[str]:
    inner = getattr(command, "commands", {})
    return [words, *(n for name in inner for n in names(inner[name], f"{words} {name}"))]


def test_the_reference_has_every_command_and_nothing_of_this_machine(prepared: Path) -> None:
    text = (prepared / "docs/reference/commands.md").read_text()
    headings = re.findall(r"^#+ (flo.*)$", text, re.MULTILINE)
    assert headings == names(get_command(app))
    assert "of-this-machine" not in text


def test_the_reference_has_every_public_name(prepared: Path) -> None:
    text = (prepared / "docs/reference/python.md").read_text()
    shown = [line.rpartition(".")[2] for line in text.splitlines() if line.startswith(":::")]
    assert shown == list(fl_orchestrator.__all__)


def test_the_reference_has_every_event_error_and_function(prepared: Path) -> None:
    text = (prepared / "docs/reference/contracts.md").read_text()
    missing = set()
    for contract in ("Federation", "PrivateFederation"):
        for entry in load_artifact(contract).abi:
            kind, name = entry["type"], entry.get("name")
            if kind in ("event", "error", "function") and f"### {kind} {name}\n" not in text:
                missing.add(name)
    assert missing == OF_OPENZEPPELIN
    assert "### struct Params\n" in text
    assert "///" not in text


def test_every_page_is_listed_for_programs_and_in_the_navigation(
    prepared: Path, checkout: Path
) -> None:
    listed = (prepared / "llms.txt").read_text()
    navigation = (checkout / "mkdocs.yml").read_text()
    for path in sorted((checkout / "docs").glob("*.md")):
        assert f"](docs/{path.stem}/): " in listed
        assert f": docs/{path.name}\n" in navigation


def test_lists_are_written_as_the_site_reads_them(site: ModuleType, checkout: Path) -> None:
    page = checkout / "docs" / "not-there.md"
    written = (
        "Text:\n- one\n  more\n- [two\n  lines](data.md#x)\n\n```\nText:\n- code\n  code\n```\n"
    )

    class Page(type(page)):  # type: ignore[misc]
        def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
            return written

    text, linked = site.page(Page(page))
    assert text == (
        "Text:\n\n- one\n    more\n- [two lines](data.md#x)\n\n```\nText:\n- code\n  code\n```\n"
    )
    assert [path.name for path in linked] == ["data.md"]


def test_a_link_to_nothing_is_named(
    site: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "CHECKOUT", tmp_path)
    (tmp_path / "page.md").write_text("[gone](gone.md)")
    with pytest.raises(SystemExit, match=r"page\.md links to gone\.md, which is no file"):
        site.page(tmp_path / "page.md")
    (tmp_path / "page.md").write_text("[outside](../../etc)")
    with pytest.raises(SystemExit, match="which is no file"):
        site.page(tmp_path / "page.md")


@pytest.mark.parametrize(
    ("html", "asks"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', True),
        ('<img src="http://images.example/x.png">', True),
        ('<link rel="canonical" href="https://me.example/">', False),
        ('<a href="https://example.org">a link to click</a><img src="x.png">', False),
    ],
)
def test_a_page_that_asks_another_host_is_found(
    site: ModuleType, tmp_path: Path, html: str, asks: bool
) -> None:
    (tmp_path / "index.html").write_text(html)
    assert bool(site.outside_requests(tmp_path)) is asks
    (tmp_path / "style.css").write_text("a { background: url(https://x.example/a.png) }")
    assert any(found.startswith("style.css") for found in site.outside_requests(tmp_path))
