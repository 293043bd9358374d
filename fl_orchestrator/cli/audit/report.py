"""`flo report`: a federation on paper, for an auditor."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from fl_orchestrator.cli.audit.contributions import (
    ContributionsOption,
    MeasureOption,
    Measuring,
    PermutationsOption,
    SeedOption,
    measured,
    measuring,
)
from fl_orchestrator.cli.audit.lineage import AncestorRpcOption, line_of
from fl_orchestrator.cli.console import JsonOption, interruptible, print_json, safe, say, working
from fl_orchestrator.cli.options.trainers import TrainerOption
from fl_orchestrator.cli.site import Reader, deployed_at, with_options
from fl_orchestrator.errors import VerificationError

if TYPE_CHECKING:
    from fl_orchestrator.audit.federation import Federation as Auditor
    from fl_orchestrator.audit.history import History
    from fl_orchestrator.audit.lineage import Ancestor
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.dashboard.report.gather import Report


class WrongModels(VerificationError):
    """A model of the history is not what the protocol says."""


@with_options
def report(
    site: Reader,
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIRECTORY]",
            help="The --out directory of `flo demo`. Default: the federation on the chain.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The HTML file to write.")
    ] = Path("report.html"),
    contributions: ContributionsOption = False,
    trainer: TrainerOption = None,
    permutations: PermutationsOption = None,
    seed: SeedOption = None,
    measure: MeasureOption = None,
    ancestor_rpc: AncestorRpcOption = "",
    json_output: JsonOption = False,
) -> None:
    """Write what a federation has done, for an auditor: one HTML file that needs no script.

    With --store, or of a recorded run, it computes every model again from its updates. It has the
    model's lineage from genesis to the head, all rounds, members, what each party did, disputes and
    terms, the commands that reproduce it, and what it does not show. Exits 1 if a model is wrong.
    A federation that goes on from another one is followed back, also to other chains.

    With --contributions it says what each party's updates were worth on the validation data of
    --trainer; nothing of the data leaves this machine. A run of `flo demo` needs no trainer:
    `flo report flo-demo --contributions` measures on its test set.

    Example: flo report --store kubo+http://127.0.0.1:5001 --out report.html
    """
    wanted = measuring(contributions, trainer, permutations, seed, measure)
    with interruptible("Nothing was written; run it again."):
        from fl_orchestrator.dashboard.report.outcome import WRONG

        subject = _subject(site, directory, ancestor_rpc)
        found = _gathered(subject, wanted)
        if json_output:
            print_json(found.to_json())
        else:
            from fl_orchestrator.dashboard.report.page import Place, render
            from fl_orchestrator.files import write_whole

            chains = shlex.quote(_public(ancestor_rpc)) if ancestor_rpc else ""
            place = Place(_public(site.rpc), _public(site.store), subject.run, chains)
            write_whole(output, render(found, place))
            say(f"Written to {safe(output)}; the lineage is sha256:{found.lineage_digest}.")
    wrong = found.checked(WRONG)
    if wrong:
        raise WrongModels(
            f"The model of round {', '.join(wrong)} is not what the protocol says.",
            "The report has the first wrong coordinate; `flo watcher run` proves it on the chain.",
        )
    for line in found.lines(WRONG):
        from fl_orchestrator.audit.lineage import BrokenLineage

        raise BrokenLineage(line["reason"], "The report says which federation it names.")


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is reported on. ``run`` is the directory of a recorded run, ``history`` its record."""

    chain: Federation
    auditor: Auditor | None
    deployed_at: int = 0
    run: Path | None = None
    history: History | None = None
    before: Iterable[Ancestor] = ()


def _subject(site: Reader, directory: Path | None, ancestor_rpc: str) -> _Subject:
    if directory is not None:
        from fl_orchestrator.audit.federation import Federation as Auditor
        from fl_orchestrator.audit.recorded_run import open_run
        from fl_orchestrator.audit.run_directory import check_recorded

        check_recorded(directory)
        with working("Replaying the recorded transactions on a new chain …"):
            run = open_run(directory)
        auditor = Auditor(run.federation, run.store)
        return _Subject(run.federation, auditor, run=directory, history=run.history)
    chain = site.open_federation(any_version=True)
    block = deployed_at(chain, site.deployments)
    if not site.store:
        return _Subject(chain, None, block)
    from fl_orchestrator.audit.federation import Federation as Auditor

    opened = Auditor(chain, site.open_store(), block)
    return _Subject(chain, opened, block, before=line_of(opened, site, ancestor_rpc))


def _gathered(subject: _Subject, wanted: Measuring | None) -> Report:
    from fl_orchestrator.dashboard.report.gather import gather

    with (
        measured(wanted, subject.auditor, subject.history) as contributions,
        tempfile.TemporaryDirectory(prefix="flo-report-") as directory,
        # What measures has a status line of its own.
        contextlib.nullcontext() if contributions else working("Reading the chain …") as show,
    ):

        def progress(done: int, total: int) -> None:
            if show is not None:
                show(f"Computing the models again: {done} of {total} …")

        return gather(
            subject.chain,
            Path(directory) / "index.sqlite",
            subject.deployed_at,
            subject.auditor,
            progress,
            contributions,
            subject.before,
        )


def _public(urls: str) -> str:
    """URLs without what may be secret: user, password, path beyond the first part, and query."""
    shown = []
    for url in urls.split(","):
        parts = urlsplit(url.strip())
        host = parts.netloc.rpartition("@")[2]
        path = parts.path if parts.scheme == "file" else ""
        shown.append(parts._replace(netloc=host, path=path, query="", fragment="").geturl())
    return ",".join(shown)
