"""`flo keeper`: open rounds, make them final and distribute rewards."""

from __future__ import annotations

from typing import Annotated

import typer

from fl_orchestrator.cli.console import interruptible, out
from fl_orchestrator.cli.site import (
    DEPLOYMENTS_DEFAULT,
    RPC_DEFAULT,
    DeploymentsOption,
    FederationOption,
    KeyOption,
    PasswordOption,
    RpcOption,
    follow,
    open_federation,
    open_sender,
)

app = typer.Typer(help="Move rounds on. Anyone can.", no_args_is_help=True)


@app.callback()
def _noun() -> None:
    """Move rounds on. Anyone can."""


@app.command()
def run(
    key: KeyOption,
    rounds: Annotated[int, typer.Option(min=1, help="Stop after this many rounds.")] = 1,
    rpc: RpcOption = RPC_DEFAULT,
    federation: FederationOption = None,
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT,
    password_file: PasswordOption = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the round to move.")] = 3600,
) -> None:
    """Open the next rounds and see them to their end.

    Example: flo keeper run --key keeper.json --rounds 10
    """
    from fl_orchestrator.chain.connect import connect
    from fl_orchestrator.chain.types import Phase
    from fl_orchestrator.roles.keeper import Keeper
    from fl_orchestrator.roles.relay import Mailbox

    with interruptible("Any keeper can go on: run the same command again."):
        chain = open_federation(connect(rpc), federation, deployments)
        sender = open_sender(chain, key, password_file)
        current = chain.observe(sender.address).current
        ended = (Phase.IDLE, Phase.ACCEPTED, Phase.VOID)
        last = current.round + (rounds if current.phase in ended else rounds - 1)
        keeper = Keeper(chain, sender, Mailbox(), 0, lambda round_number: round_number <= last)

        def done() -> bool:
            seen = chain.observe(sender.address).current
            return seen.round >= last and seen.phase in ended

        follow(chain.web3, keeper, done, timeout)
    seen = chain.observe(sender.address)
    out.print(
        f"Round {seen.current.round} is {seen.current.phase.name.lower()}; the head is the model "
        f"of round {seen.head.round}, {seen.head.cid}."
    )
