"""The command line: `flo <noun> <verb>`."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

import fl_orchestrator
from fl_orchestrator.cli import streams
from fl_orchestrator.cli.config import ConfigOption
from fl_orchestrator.cli.groups import Lazy, LazyGroup, Noun
from fl_orchestrator.errors import ContentError, FloError, ToolchainError, install_hint
from fl_orchestrator.printable import printable_lines

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE_HINT: Final = "Check that the file system has room and that you may write there."
_DEFECT: Final = 70  # EX_SOFTWARE of sysexits.h
_ABORTED: Final = 1
# A click.UsageError, of the click that Typer brings along.
_UsageError: Final[Any] = typer.BadParameter.__base__


def _lazy(module: str, attribute: str, summary: str) -> Lazy:
    return Lazy(f"fl_orchestrator.cli.{module}", attribute, summary)


class _Commands(LazyGroup):
    """All commands. Those with the attribute ``app`` are nouns."""

    lazy: dict[str, Lazy] = {  # noqa: RUF012 (Typer makes the only instance)
        "demo": _lazy(
            "trial.demo",
            "demo",
            "Train a model across parties that share no data, where nobody has to be trusted.",
        ),
        "up": _lazy(
            "trial.up",
            "up",
            "Start a whole local federation: a chain, a store, and a process for each role.",
        ),
        "verify": _lazy(
            "audit.verify",
            "verify",
            "Check a recorded run: replay its transactions, recompute every model.",
        ),
        "init": _lazy(
            "init",
            "init",
            "Write a settings file with comments, to be completed. An existing one is never "
            "overwritten.",
        ),
        "federation": _lazy(
            "consortium.federation",
            "app",
            "Create a federation, admit and remove accounts, fund rewards, show its terms.",
        ),
        "party": _lazy("roles.party", "app", "Take part with your own data."),
        "aggregator": _lazy("roles.aggregator", "app", "Compute and attest to global models."),
        "keeper": _lazy(
            "roles.keeper", "app", "Open rounds and bring them to their end. Anyone can."
        ),
        "watcher": _lazy(
            "roles.watcher", "app", "Check every model, and have wrong ones revoked. Anyone can."
        ),
        "manifest": _lazy("consortium.manifest", "app", "Describe a federation's model."),
        "dashboard": _lazy(
            "audit.dashboard",
            "dashboard",
            "Show a federation live in a browser. It only reads, and needs no key.",
        ),
        "report": _lazy(
            "audit.report",
            "report",
            "Write what a federation has done, for an auditor: one HTML file that needs no script.",
        ),
        "round": _lazy("audit.rounds", "app", "Show rounds and their outcomes."),
        "model": _lazy("audit.model", "app", "Fetch the global model, or compute it again."),
        "keys": _lazy("keys", "app", "Make and list encrypted key files."),
        "mirror": _lazy(
            "consortium.mirror", "app", "Keep the models of a federation on other chains, too."
        ),
        "rewards": _lazy(
            "consortium.rewards.rewards",
            "app",
            "Pay rewards by shares that more than two thirds of the aggregators have signed.",
        ),
        "contracts": _lazy("consortium.contracts", "app", "Compile the contracts."),
    }


app = Noun("Federated learning that nobody has to trust.", _Commands, completion=True)


def _version(wanted: bool) -> None:
    if wanted:
        from fl_orchestrator.artifacts import CONTRACTS_VERSION

        typer.echo(f"flo {fl_orchestrator.__version__}, contracts {CONTRACTS_VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    _config: ConfigOption = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and log to stderr.")
    ] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the versions.")
    ] = False,
) -> None:
    """The options before a command. They are read from the context where they are used."""


def main() -> None:
    """Run the command line; errors become a sentence and an exit code."""
    with streams.prepared():
        code = _outcome(lambda: app(standalone_mode=False))
        # Flush inside the handler: a write error may occur only now.
        code = _outcome(streams.flush) or code
    sys.exit(code)


def _outcome(action: Callable[[], Any]) -> int:
    """Run an action, explain its error if it raises one, and return the exit code."""
    try:
        code = action()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        # The reader has closed the pipe, for example `flo … | head`.
        streams.give_up()
        return _ABORTED
    except typer.Abort:
        sys.stderr.write("Aborted!\n")
        return _ABORTED
    except _UsageError as error:
        return _misused(error)
    except FloError as error:
        return _explain("Error:", error.message, error.hint, error.exit_code)
    except OSError as error:
        # Stores, keys and chains raise errors of their own; this is an error of any other file.
        what = "" if error.filename is None else f"{error.filename}: "
        sentence = f"{what}{error.strerror or error}."
        return _explain("Error:", sentence, _FILE_HINT, ContentError.exit_code)
    except ModuleNotFoundError as error:
        return _explain(
            "Error:",
            f"The Python package {error.name} is not installed.",
            install_hint("demo"),
            ToolchainError.exit_code,
        )
    except Exception as error:
        return _explain(
            "Unexpected error:",
            f"{type(error).__name__}: {error}",
            "This is a defect of flo. Run it again with `flo --debug …` for the details.",
            _DEFECT,
        )
    return code if isinstance(code, int) else 0


def _misused(error: Any) -> int:
    """Show click's message about wrong options, which may come from a settings file."""
    shown = io.StringIO()
    error.show(shown)
    sys.stderr.write(printable_lines(shown.getvalue()))
    return int(error.exit_code)


def _explain(title: str, sentence: str, hint: str | None, code: int) -> int:
    """Show the error that is being handled; with --debug also its traceback."""
    from rich.markup import escape

    from fl_orchestrator.cli.console import err

    try:
        if "--debug" in sys.argv:
            import traceback

            sys.stderr.write(printable_lines(traceback.format_exc().rstrip(), "  ") + "\n")
        text = escape(printable_lines(sentence, "  "))
        err.print(f"[bold red]{title}[/] {text}", soft_wrap=True)
        if hint:
            err.print(escape(printable_lines(hint, "  ")), soft_wrap=True)
    except OSError:
        streams.give_up()  # no stream can be written to; only the exit code reports the error
    return code
