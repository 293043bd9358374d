"""The command line: `flo <noun> <verb>`."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Final

import typer
from rich.markup import escape

import fl_orchestrator
from fl_orchestrator.cli import init, keys
from fl_orchestrator.cli.audit import model, rounds, verify
from fl_orchestrator.cli.config import ConfigOption
from fl_orchestrator.cli.console import err
from fl_orchestrator.cli.consortium import contracts, federation, manifest
from fl_orchestrator.cli.roles import aggregator, keeper, party, watcher
from fl_orchestrator.cli.trial import demo, up
from fl_orchestrator.errors import ContentError, FloError, ToolchainError

_FILE_HINT: Final = "Check that the file system has room and that you may write there."
_DEFECT: Final = 70  # EX_SOFTWARE of sysexits.h

app = typer.Typer(
    name="flo",
    help="Federated learning that nobody has to trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Unlike "rich", this joins the lines of a paragraph.
    rich_markup_mode="markdown",
)
app.command("demo")(demo.demo)
app.command("up")(up.up)
app.command("verify")(verify.verify)
app.command("init")(init.init)
app.add_typer(federation.app, name="federation")
app.add_typer(party.app, name="party")
app.add_typer(aggregator.app, name="aggregator")
app.add_typer(keeper.app, name="keeper")
app.add_typer(watcher.app, name="watcher")
app.add_typer(manifest.app, name="manifest")
app.add_typer(rounds.app, name="round")
app.add_typer(model.app, name="model")
app.add_typer(keys.app, name="keys")
app.add_typer(contracts.app, name="contracts")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(fl_orchestrator.__version__)
        raise typer.Exit


@app.callback()
def _options(
    _config: ConfigOption = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and log to stderr.")
    ] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    from fl_orchestrator.cli.logs import configure

    configure(debug)


def main() -> None:
    """Run the command line; errors become a sentence and an exit code."""
    try:
        app()
    except FloError as error:
        _explain(f"[bold red]Error:[/] {escape(error.message)}", error.hint)
        sys.exit(error.exit_code)
    except OSError as error:
        # Stores, keys and chains explain their own failures; this is any other file's.
        what = "" if error.filename is None else f"{error.filename}: "
        _explain(f"[bold red]Error:[/] {escape(what)}{error.strerror or error}.", _FILE_HINT)
        sys.exit(ContentError.exit_code)
    except ModuleNotFoundError as error:
        _explain(
            f"[bold red]Error:[/] The Python package {escape(str(error.name))} is not installed.",
            "Install it with: pip install 'fl-orchestrator[demo]'.",
        )
        sys.exit(ToolchainError.exit_code)
    except Exception as error:
        _explain(
            f"[bold red]Unexpected error:[/] {escape(f'{type(error).__name__}: {error}')}",
            "This is a defect of flo; run it again with `flo --debug …` for the details.",
        )
        sys.exit(_DEFECT)


def _explain(sentence: str, hint: str | None) -> None:
    """Show the error being handled; all of it with --debug."""
    if "--debug" in sys.argv:
        traceback.print_exc()
    err.print(sentence, soft_wrap=True)
    if hint:
        err.print(escape(hint), soft_wrap=True)
