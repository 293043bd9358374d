"""The dashboard of a run in this process: it is there while the run goes on, and until Ctrl-C."""

from __future__ import annotations

import io
import os
import signal
import threading
from pathlib import Path

import requests
from rich.console import Console
from support.federation import Build
from support.fixtures import build

from fl_orchestrator.cli.trial.serving import serving_demo, serving_up

__all__ = ["build"]


def test_a_demo_is_served_until_it_is_interrupted(build: Build, tmp_path: Path) -> None:
    world = build(parties=2)
    text = io.StringIO()
    console = Console(file=text, width=200)
    seen = []
    with serving_demo(world.federation, world.store, tmp_path, console, wanted=True):
        url = text.getvalue().split()[-1]
        world.run_round(world.everybody())
        seen.append(requests.get(f"{url}healthz", timeout=20).status_code)
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert seen == [200]
    assert "stays at" in text.getvalue()


def test_nothing_is_served_unless_it_is_wanted(build: Build, tmp_path: Path) -> None:
    world = build(parties=1)
    text = io.StringIO()
    with serving_demo(world.federation, world.store, tmp_path, Console(file=text), wanted=False):
        pass
    with serving_up(tmp_path, "http://127.0.0.1:9", "0x", world.store, "none") as measured:
        measured(1, accuracy=0.5)
    assert text.getvalue() == ""
