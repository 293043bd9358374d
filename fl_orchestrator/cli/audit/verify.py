"""`flo verify`: replay and recompute a recorded run."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from fl_orchestrator.cli.console import (
    JsonOption,
    duration,
    interruptible,
    print_json,
    print_pairs,
    quiet_if,
    say,
    short,
)
from fl_orchestrator.errors import VerificationError


class DroppedUpdates(VerificationError):
    """A part of the run cannot be checked, because its updates were dropped."""


class UnexpectedHead(VerificationError):
    """The run's head is not the one that the auditor expected."""


def verify(
    directory: Annotated[Path, typer.Argument(help="The --out directory of `flo demo`.")],
    expect_head: Annotated[str, typer.Option(help="The root that the run's head must have.")] = "",
    kept: Annotated[
        bool,
        typer.Option(
            "--kept",
            help="Of a run with --keep: compute only the models again whose updates it has kept.",
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Check a recorded run: replay its transactions, recompute every model.

    The signed transactions are sent to a new chain, and must deploy this version's contract. Every
    root is read from that chain, and every model is computed again from the stored updates. Exits 1
    and names the round and the first wrong coordinate if a model, an included update, a block or a
    root was changed.

    This shows that the record is consistent. To know that it is the run you mean, compare the
    printed addresses and roots with those that you got elsewhere (--expect-head). Accuracies and
    losses are not checked, because that needs the data.

    Example: flo verify flo-demo
    """
    with interruptible("Nothing was changed; run it again."):
        from fl_orchestrator.audit.run_directory import check_recorded

        started = time.monotonic()
        console = quiet_if(json_output)
        check_recorded(directory)
        with tempfile.TemporaryDirectory(prefix="flo-verify-") as workspace:
            with console.status("Replaying the recorded transactions on a new chain …"):
                from fl_orchestrator.audit.auditor import Audit

                audit = Audit(directory, Path(workspace))
            if audit.dropped and not kept:
                raise DroppedUpdates(
                    f"The run has dropped the updates of {audit.dropped} accepted rounds (--keep), "
                    "so their models cannot be computed again.",
                    "Check its transactions and the models of the other rounds with --kept.",
                )
            rounds = 0
            for checked in audit.rounds():
                rounds += 1
                console.print(
                    f"round {checked.round:>4}  {checked.included.bit_count():>3} updates  "
                    f"root {short('0x' + checked.global_root.hex())}  recomputed and equal",
                    soft_wrap=True,
                )
            audit.check_exports()
            if expect_head and expect_head.lower() != audit.head_root:
                raise UnexpectedHead(
                    f"The run is consistent, but its head is {audit.head_root}.",
                    "This is not the run you asked for.",
                )
    seconds = time.monotonic() - started
    if json_output:
        print_json(
            {
                "verified": True,
                "complete": audit.history.complete,
                "rounds": rounds,
                **({"not_recomputed": audit.dropped} if audit.dropped else {}),
                **audit.identity,
                "seconds": round(seconds, 1),
            }
        )
        return
    say(
        f"[bold green]Verified:[/] {rounds} rounds, head {short(audit.head_root)}, "
        f"in {duration(seconds)}."
    )
    if audit.dropped:
        say(
            f"[yellow]{audit.dropped} earlier rounds were not computed again:[/] their updates "
            "were dropped. Their transactions are those of the record."
        )
    # Short names, so that complete roots fit into 80 columns.
    print_pairs((name.partition("_")[0], value) for name, value in audit.identity.items())
    if not audit.history.complete:
        say("The run was stopped before its end, so it has no comparison and no final model.")
