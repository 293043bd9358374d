"""`flo report`: a federation on paper, for an auditor."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from fl_orchestrator.cli.console import JsonOption, err, interruptible, print_json, safe, say
from fl_orchestrator.cli.site import Reader, deployed_at, with_options
from fl_orchestrator.errors import VerificationError

if TYPE_CHECKING:
    from fl_orchestrator.dashboard.report.gather import Report


class WrongModels(VerificationError):
    """A model of the history is not what the protocol says."""


@with_options
def report(
    site: Reader,
    output: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The HTML file to write.")
    ] = Path("report.html"),
    json_output: JsonOption = False,
) -> None:
    """Write what a federation has done, for an auditor: one HTML file that needs no script.

    With --store it computes every model again from its updates. It has the model's lineage from
    genesis to the head, all rounds, members, disputes and terms, the commands that reproduce it,
    and what it does not show. Exits 1 if a model is wrong.

    Example: flo report --store kubo+http://127.0.0.1:5001 --out report.html
    """
    with interruptible("Nothing was written; run it again."):
        found = _gathered(site)
        if json_output:
            print_json(found.to_json())
        else:
            from fl_orchestrator.dashboard.report.page import render
            from fl_orchestrator.files import write_whole

            write_whole(output, render(found, _public(site.rpc), _public(site.store)))
            say(f"Written to {safe(output)}; the lineage is sha256:{found.lineage_digest}.")
    wrong = [str(one["round"]) for one in found.checked("wrong")]
    if wrong:
        raise WrongModels(
            f"The model of round {', '.join(wrong)} is not what the protocol says.",
            "The report has the first wrong coordinate; `flo watcher run` proves it on the chain.",
        )


def _gathered(site: Reader) -> Report:
    from fl_orchestrator.dashboard.report.gather import gather

    chain = site.open_federation(any_version=True)
    block = deployed_at(chain, site.deployments)
    auditor = None
    if site.store:
        from fl_orchestrator.audit.federation import Federation

        auditor = Federation(chain, site.open_store(), block)
    with (
        tempfile.TemporaryDirectory(prefix="flo-report-") as directory,
        err.status("Reading the chain …") as status,
    ):

        def progress(done: int, total: int) -> None:
            status.update(f"Computing the models again: {done} of {total} …")

        return gather(chain, Path(directory) / "index.sqlite", block, auditor, progress)


def _public(urls: str) -> str:
    """URLs without what may be secret: user, password, path beyond the first part, and query."""
    shown = []
    for url in urls.split(","):
        parts = urlsplit(url.strip())
        host = parts.netloc.rpartition("@")[2]
        path = parts.path if parts.scheme == "file" else ""
        shown.append(parts._replace(netloc=host, path=path, query="", fragment="").geturl())
    return ",".join(shown)
