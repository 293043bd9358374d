"""`flo verify`: replay and recompute a recorded run."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from fl_orchestrator.cli.console import JsonOption, duration, interruptible, out, print_json, short


def verify(
    directory: Annotated[Path, typer.Argument(help="The --out directory of `flo demo`.")],
    json_output: JsonOption = False,
) -> None:
    """Check a recorded run: replay its transactions, recompute every model.

    Nothing of the run is believed. The signed transactions are sent to a fresh chain; every root
    comes from there; every model is computed again from the stored updates. Exits 1 and names the
    round and the first wrong coordinate if anything was changed.

    Example: flo verify flo-demo
    """
    from fl_orchestrator.roles.auditor import Audit

    started = time.monotonic()
    rounds = []
    with (
        interruptible("Nothing was changed; run it again."),
        tempfile.TemporaryDirectory(prefix="flo-verify-") as workspace,
    ):
        if not json_output:
            out.print("Replaying the recorded transactions on a fresh chain …")
        audit = Audit(directory, Path(workspace))
        for checked in audit.rounds():
            rounds.append(checked)
            if not json_output:
                out.print(
                    f"round {checked.round:>3}  {checked.updates} updates  "
                    f"root {short('0x' + checked.root.hex())}  recomputed and equal"
                )
        audit.check_exports()
    seconds = time.monotonic() - started
    if json_output:
        print_json(
            {
                "verified": True,
                "rounds": len(rounds),
                "head_root": audit.head_root,
                "seconds": round(seconds, 1),
            }
        )
        return
    out.print(
        f"[bold green]Verified:[/] {len(rounds)} rounds, head {short(audit.head_root)}, "
        f"in {duration(seconds)}."
    )
