"""Options of a simulated run that change nothing of its result."""

from __future__ import annotations

from typing import Annotated

import typer

WorkersOption = Annotated[
    int,
    typer.Option(
        min=1,
        help="In how many processes the parties train at the same time. The same bits for any "
        "number. Without --trainer each of them loads TensorFlow.",
    ),
]
KeepOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Of how many of the last rounds the updates stay on the disk, for `flo verify "
        "--kept`. Default: all.",
    ),
]
