"""Makes the pictures of docs/dashboard.md: of `flo demo --serve`, in Chromium.

    .venv/bin/python scripts/dashboard_screenshots.py

It takes two minutes, and needs Chromium beside what `make test` installs.
"""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
#: Name, page, width, height and colours.
PICTURES: Final = (
    ("dashboard", "", 1280, 800, "light"),
    ("dashboard-round", "#/round/9", 1280, 800, "dark"),
    ("dashboard-phone", "", 360, 780, "light"),
)


def take(browser: Browser, url: str) -> None:
    for name, page_of, width, height, colours in PICTURES:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=colours
        )
        page = context.new_page()
        page.goto(url + page_of)
        expect(page.locator("h1").first).to_contain_text("Round")
        if not page_of and width > 1000:
            page.get_by_role("button", name="Recompute").click()
            expect(page.locator(".verify .outcome")).to_contain_text("equal", timeout=60_000)
            expect(page.locator("#said")).to_be_empty()
        page.wait_for_timeout(1500)
        picture = Image.open(io.BytesIO(page.screenshot()))
        # A page has few colours: with a palette a picture takes a third of the bytes.
        picture.convert("RGB").quantize(128).save(DOCS / f"{name}.png", optimize=True)
        context.close()


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as directory:
        demo = [Path(sys.executable).with_name("flo"), "demo", "--serve", "--out"]
        with subprocess.Popen(
            [*demo, Path(directory) / "run"], stdout=subprocess.PIPE, text=True
        ) as process:
            said = process.stdout or ()
            url = next(found[1] for line in said if (found := re.search(r"stays at (\S+)", line)))
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
                )
                take(browser, url)
                browser.close()
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


if __name__ == "__main__":
    main()
