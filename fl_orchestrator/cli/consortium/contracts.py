"""`flo contracts`: compile the Solidity sources of a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fl_orchestrator.cli.console import safe, say
from fl_orchestrator.cli.groups import Noun

app = Noun("Compile the contracts.")


@app.command()
def build(
    project: Annotated[Path, typer.Option(help="The checkout with foundry.toml.")] = Path(),
) -> None:
    """Compile the contracts and write ABI and bytecode into the package.

    Example: flo contracts build
    """
    from fl_orchestrator.chain.deployment.compile import build_contracts

    for path in build_contracts(project):
        say(f"wrote {safe(path)}")
