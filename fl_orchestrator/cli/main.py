"""The command line: `flo <noun> <verb>`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape

import fl_orchestrator
from fl_orchestrator.cli import (
    aggregator,
    contracts,
    demo,
    deploy,
    federation,
    keeper,
    keys,
    model,
    party,
    verify,
)
from fl_orchestrator.cli.console import err
from fl_orchestrator.errors import FloError

app = typer.Typer(
    name="flo",
    help="Federated learning that nobody has to trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo.demo)
app.command("verify")(verify.verify)
app.command("deploy")(deploy.deploy)
app.add_typer(federation.app, name="federation")
app.add_typer(party.app, name="party")
app.add_typer(aggregator.app, name="aggregator")
app.add_typer(keeper.app, name="keeper")
app.add_typer(model.app, name="model")
app.add_typer(keys.app, name="keys")
app.add_typer(contracts.app, name="contracts")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(fl_orchestrator.__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option(help="Show tracebacks and log to stderr.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    from fl_orchestrator.cli.logs import configure

    configure(debug)


def main() -> None:
    """Run the command line; errors become one sentence and an exit code."""
    debug = "--debug" in sys.argv
    try:
        app()
    except FloError as error:
        if debug:
            raise
        err.print(f"[bold red]Error:[/] {escape(error.message)}", soft_wrap=True)
        if error.hint:
            err.print(escape(error.hint), soft_wrap=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        err.print(
            f"[bold red]Unexpected error:[/] {escape(type(error).__name__)}: {escape(str(error))}",
            soft_wrap=True,
        )
        err.print("This is a defect of flo; run it again with `flo --debug …` for the details.")
        sys.exit(70)
