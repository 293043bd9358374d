"""Weights & Biases: online, or offline as ``WANDB_MODE`` says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

# Before the import: reports of its own failures would go to its maker.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb

from fl_orchestrator.tracking.event import Event
from fl_orchestrator.tracking.scalars import ScalarTracker


class WandbTracker(ScalarTracker):
    """Logs to one run of a project; ``run`` identifies what a restarted process continues.

    No console, no code, no git, no machine and no statistics are sent. Its own version, that of
    Python, the kind of platform, and which well-known libraries are imported cannot be left out.
    """

    def __init__(self, project: str, run: str, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            save_code=False,
            silent=True,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        self._run = wandb.init(
            project=project,
            id=hashlib.sha256(run.encode()).hexdigest()[:16],
            name=run,
            resume="allow",
            dir=str(directory),
            settings=settings,
        )
        self._run.define_metric("round")
        self._run.define_metric("*", step_metric="round")

    def write(self, event: Event, step: int, numbers: Mapping[str, float]) -> None:  # noqa: ARG002
        self._run.log({**numbers, "round": step})

    def note(self, event: Event, text: str) -> None:
        self._run.alert(title=event.kind, text=text)

    def close(self) -> None:
        self._run.finish()
