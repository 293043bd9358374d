"""``--track``: what happens in the federation, for TensorBoard, W&B, MLflow, Kafka or own code."""

from __future__ import annotations

from typing import Annotated

import typer

from fl_orchestrator.cli.options.trainers import require_trust


def _trusted(
    context: typer.Context, parameter: typer.CallbackParam, names: list[str] | None
) -> list[str]:
    """Ask before running a tracker's code that only the working directory's flo.toml names."""
    for name in names or []:
        if ".py" in name:
            require_trust(context, parameter, name)
    return names or []


TrackOption = Annotated[
    list[str],
    typer.Option(
        "--track",
        metavar="TRACKER",
        callback=_trusted,
        help="Send events to tensorboard:DIR, wandb:PROJECT, mlflow:URL, kafka://HOST:PORT/TOPIC "
        "or FILE.py:FUNCTION; repeatable. See docs/tracking.md.",
    ),
]
