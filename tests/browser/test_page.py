"""The page in a browser: a round goes by, a wrong model is found, and nothing is said in secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.adversary import run_to_attest
from support.disputes import accept_a_lie, off_by_one
from support.federation import SmallFederation, small_manifest
from support.pages import served
from support.private_federation import SmallPrivateFederation

from fl_orchestrator.audit import federation as audit
from fl_orchestrator.chain.contract.private import open_federation
from fl_orchestrator.chain.nodes.connect import connect
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.dashboard.report.gather import gather
from fl_orchestrator.dashboard.report.page import Place, render
from fl_orchestrator.dashboard.server.running import Address, running

Open = Callable[..., Page]
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def lied_to(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a federation whose only model is wrong by one unit."""
    world = SmallFederation(
        tmp_path_factory.mktemp("lied"), 3, 2, manifest=small_manifest(name=HOSTILE)
    )
    run_to_attest(world)
    accept_a_lie(world, off_by_one(3))
    with served(world) as (url, measures):
        measures.add(1, accuracy=0.75, loss=0.5)
        yield url


def text_of(page: Page, selector: str) -> str:
    return page.locator(selector).inner_text()


def test_a_round_goes_by(open_page: Open, tmp_path: Path) -> None:
    world = SmallFederation(tmp_path, 3, 2)
    with served(world) as (url, _):
        page = open_page(url)
        sentence = page.locator("#h-now")
        expect(sentence).to_contain_text("No round was opened yet")
        world.run_to(Phase.COMMIT, [world.keeper(1)], 1)
        expect(sentence).to_contain_text("Round 1: committing, 0 of 3")
        expect(sentence).to_contain_text("void below 1")
        expect(sentence.locator("a.mono")).to_have_count(3)
        world.run_to(Phase.ATTEST, [*(world.party(i) for i in range(3)), world.keeper(1)], 1)
        expect(sentence).to_contain_text("Round 1: attesting, 0 of 2")
        world.run_round(world.everybody())
        expect(sentence).to_contain_text("Round 1: accepted")
        head = "0x" + world.federation.head().root.hex()
        expect(page.locator("#facts")).to_contain_text(head[-4:])
        expect(page.locator(".curves .readout")).to_contain_text("3 of 3 included")
        expect(page.locator(".alerts")).to_contain_text("No dispute in 1 round.")
        page.close()  # before the server ends: a page that has lost it says so


def test_a_model_that_was_changed_by_one_unit_is_found(open_page: Open, lied_to: str) -> None:
    page = open_page(lied_to)
    expect(page.locator("#verify-round")).to_have_value("1")
    page.get_by_role("button", name="Recompute").click()
    outcome = page.locator(".verify .outcome")
    expect(outcome).to_contain_text("Round 1: wrong", timeout=30_000)
    expect(outcome).to_contain_text("the first wrong coordinate is 3")


def test_a_hostile_name_is_shown_as_text(open_page: Open, lied_to: str) -> None:
    page = open_page(lied_to)
    expect(page.locator("#name")).to_have_text(HOSTILE)
    expect(page).to_have_title(f"Round 1 – {HOSTILE}")
    assert page.locator("script").count() == 2


def test_everything_can_be_reached_with_the_keyboard(open_page: Open, lied_to: str) -> None:
    page = open_page(lied_to)
    expect(page.locator(".curves .readout")).to_contain_text("accuracy 0.750")
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("(e => e.id || e.className || e.textContent)(document.activeElement)")
        )
    assert {"theme", "verify-round", "plots", "sort", "value", "copy"} <= reached
    page.locator(".plots").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Round 1")
    expect(page.locator("h1")).to_be_focused()
    page.get_by_role("link", name=re.compile("^0x")).first.press("Enter")
    expect(page.locator("h1")).to_contain_text("Account 0x")


def test_a_value_is_copied_whole(open_page: Open, lied_to: str) -> None:
    page = open_page(lied_to)
    button = page.locator("#facts .value").last
    whole = str(button.get_attribute("data-copy"))
    assert re.fullmatch("0x[0-9a-f]{64}", whole)
    button.click()
    expect(page.locator("#said")).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == whole


@pytest.mark.parametrize("path", ["", "#/rounds", "#/round/1", "#/round/7"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_hard_to_read_or_to_reach(
    open_page: Open, lied_to: str, checkout: Path, path: str, scheme: str
) -> None:
    page = open_page(lied_to + path, scheme=scheme)
    expect(page.locator("h1").first).to_be_visible()
    expect(page.locator("#facts dd").first).to_be_visible()
    page.evaluate((checkout / "node_modules/axe-core/axe.min.js").read_text())
    found: Any = page.evaluate("axe.run()")
    serious = [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("path", ["", "#/rounds", "#/round/1"])
def test_a_phone_shows_it_in_one_column(open_page: Open, lied_to: str, path: str) -> None:
    page = open_page(lied_to + path, width=360, height=740)
    expect(page.locator("#facts dd").first).to_be_visible()
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_one_screen_shows_it_all(open_page: Open, lied_to: str) -> None:
    page = open_page(lied_to)
    expect(page.locator(".curves .readout")).to_contain_text("Round 1")
    assert page.evaluate("document.documentElement.scrollHeight") <= 800


def test_a_thousand_rounds_load_in_few_bytes(
    open_page: Open, long_run: tuple[str, str], tmp_path: Path
) -> None:
    rpc, address = long_run
    chain = open_federation(connect(rpc), address)
    with running(chain, None, tmp_path / "index.sqlite", Address()) as url:
        page = open_page(url)
        expect(page.locator(".curves .readout")).to_contain_text("Round 1001", timeout=120_000)
        page.wait_for_timeout(1000)
        page.reload()
        expect(page.locator(".curves .readout")).to_contain_text("Round 1001")
        expect(page.locator(".accounts tbody tr")).to_have_count(10)
        sizes: Any = page.evaluate(
            "performance.getEntriesByType('resource').concat("
            "performance.getEntriesByType('navigation')).map(e => e.transferSize)"
        )
        assert sum(sizes) < 150_000
        page.close()


def test_a_report_fits_on_paper(open_page: Open, tmp_path: Path) -> None:
    world = SmallFederation(tmp_path, 3, 2)
    for number in (1, 2):  # one round is no curve
        world.run_round(world.everybody(), number)
    block = world.deployment.block
    auditor = audit.Federation(world.federation, world.store, block)
    report = gather(world.federation, tmp_path / "report.sqlite", block, auditor)
    file = tmp_path / "report.html"
    file.write_text(render(report, Place("http://127.0.0.1:8545", "file:///srv/flo")))
    page = open_page(file.as_uri(), width=717)  # A4 without margins of 1 cm
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 717
    captions = page.locator("p.soft:has(+ svg)")
    assert captions.count() > 0
    styles = captions.evaluate_all("all => all.map(one => getComputedStyle(one).breakAfter)")
    assert set(styles) == {"avoid"}
    assert page.pdf(format="A4").startswith(b"%PDF-")


def test_a_private_round_shows_its_claims_and_its_lock(open_page: Open, tmp_path: Path) -> None:
    world = SmallPrivateFederation(tmp_path, 3, 4)
    world.run_round(world.everybody())
    with served(world) as (url, _):
        page = open_page(f"{url}#/round/1")
        card = page.locator(".card", has=page.get_by_role("heading", name="How it was opened"))
        expect(card).to_contain_text("3 updates were locked")
        expect(card.get_by_role("region", name="Claims").locator("tbody tr")).to_have_count(4)
        page.get_by_role("link", name="Overview").click()
        expect(page.locator(".phases")).to_contain_text("Claim")
        expect(page.locator("#facts")).to_contain_text("masked")
        expect(page.locator("#facts")).to_contain_text("weighted-mean")
        page.close()
