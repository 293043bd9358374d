"""How long Chromium takes to the first paint with content of the dashboard's page."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, expect, sync_playwright

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.dashboard.server.running import Address, running

_TIMES: Final = 5
_OPTIONS: Final = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
_ONE_LINE: Final = "data:text/html,<!doctype html><title>.</title><p>One line"
_PAINTED: Final = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


def first_paints(chromium: str, federation: Federation, index: Path) -> dict[str, Any]:
    """Return the medians in ms, of the page with this index and of a page of one line, in turns."""
    pages, lines = [], []
    with (
        running(federation, None, index, Address()) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_OPTIONS))
        _first_paint(browser, url, _shows_the_curves)  # The server reads the index once.
        for _ in range(_TIMES):
            pages.append(_first_paint(browser, url, _shows_the_curves))
            lines.append(_first_paint(browser, _ONE_LINE, lambda _: None))
        browser.close()
    return {
        "first_paint_ms": round(statistics.median(pages)),
        "first_paint_of_one_line_ms": round(statistics.median(lines)),
    }


def _first_paint(browser: Browser, url: str, complete: Callable[[Any], None]) -> float:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(url)
    complete(page)
    while (painted := page.evaluate(_PAINTED)) is None:
        page.wait_for_timeout(50)
    context.close()
    return float(painted)


def _shows_the_curves(page: Any) -> None:
    expect(page.locator(".curves .readout")).to_contain_text("Round", timeout=120_000)
