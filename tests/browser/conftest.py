"""Chromium, and dashboards to look at. Every page that a test opens has to be free of messages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from support.pages import Watched, watched

OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(OPTIONS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a page of a size and a colour scheme; at the end no page may have said anything."""
    opened: list[Watched] = []

    def opened_page(url: str, width: int = 1280, height: int = 800, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            permissions=["clipboard-read", "clipboard-write"],
        )
        page = watched(context.new_page(), url)
        opened.append(page)
        page.page.goto(url)
        return page.page

    yield opened_page
    for page in opened:
        page.page.context.close()
    assert [said for page in opened for said in page.said] == []
    assert [url for page in opened for url in page.elsewhere] == []


@pytest.fixture(scope="session")
def long_run(checkout: Path) -> Iterator[tuple[str, str]]:
    """A node with a thousand rounds of ten parties, and the federation's address."""
    command = [sys.executable, "-m", "_dashboard.node", "--rounds", "1000", "--parties", "10"]
    with subprocess.Popen(
        command,
        cwd=checkout / "benchmarks",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as node:
        assert node.stdout is not None
        assert node.stdin is not None
        url, address = node.stdout.readline().split()
        yield url, address
        node.stdin.close()
