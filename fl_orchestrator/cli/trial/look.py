"""`flo demo --private --look`: what a reader of the store can reconstruct, in two federations."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fl_orchestrator.cli.console import (
    duration,
    interruptible,
    out,
    print_json,
    quiet_if,
    safe,
    say,
)
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from fl_orchestrator.simulation.look import Look

COMBINES: Final = frozenset({"private", "look", "seed", "output", "json_output"})


class NotPrivateLook(InputError):
    """--look without --private."""


def show_look(private: bool, seed: int, directory: Path, json_output: bool) -> None:
    """Run the same federation in the clear and in private, and show what the store tells."""
    if not private:
        raise NotPrivateLook(
            "--look compares a private federation with a plain one.", "Give --private too."
        )
    started = time.monotonic()
    console = quiet_if(json_output)
    with (
        interruptible("Run the same command again: it starts over."),
        console.status("Running the same round in the clear and in private …"),
    ):
        from fl_orchestrator.audit.run_directory import start_run
        from fl_orchestrator.simulation.look import look
        from fl_orchestrator.simulation.look_picture import PICTURE, draw_look

        start_run(directory)
        found = look(directory, seed)
        draw_look(found, directory / PICTURE)
    seconds = time.monotonic() - started
    if json_output:
        print_json(_as_json(found, seed, directory / PICTURE, seconds))
        return
    say(
        "Five parties of breast cancer, one round; party 1 has a single patient. Its update is a "
        "multiple of that patient's measurements, and another number of it tells which multiple."
    )
    out.print("\n[italic]What a reader of the store reconstructs of that patient[/]")
    out.print(_table(found))
    say(
        "\nThe sum of all updates is what everybody may read, in both federations. Its correlation "
        "is not zero, because patients resemble each other. Only noise hides what a sum tells."
    )
    same = "the same" if found.equal == found.values else "NOT the same"
    say(
        f"The models after the round are {same}: {found.equal} of {found.values} values are equal, "
        "bit for bit."
    )
    shown = safe(directory)
    say(
        f"Written to {shown}: {PICTURE}; both stores, in plain/store and private/store. Time: "
        f"{duration(seconds)}."
    )


def _table(found: Look) -> Table:
    from rich.table import Table

    table = Table()
    table.add_column("")
    table.add_column("the patient", justify="right")
    for reading in found.readings:
        table.add_column(reading.name, justify="right")
    for number, name in enumerate(found.features):
        values = [found.row, *(reading.row for reading in found.readings)]
        table.add_row(name, *(f"{value[number]:,.2f}" for value in values))
    for name, numbers in (
        ("correlation, all 30", [reading.row_correlation for reading in found.readings]),
        ("… of the update", [reading.update_correlation for reading in found.readings]),
    ):
        table.add_row(name, "", *(f"{number:.3f}" for number in numbers))
    return table


def _as_json(found: Look, seed: int, picture: Path, seconds: float) -> dict[str, Any]:
    return {
        "seed": seed,
        "patient": found.row.tolist(),
        "readings": [
            {
                "of": reading.name,
                "patient": reading.row.tolist(),
                "patient_correlation": reading.row_correlation,
                "update_correlation": reading.update_correlation,
            }
            for reading in found.readings
        ],
        "model_values": found.values,
        "model_values_equal": found.equal,
        "picture": str(picture),
        "seconds": round(seconds, 1),
    }
