"""`flo keeper`: open rounds, make them final and distribute rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fl_orchestrator.cli.console import JsonOption, interruptible, print_json, say
from fl_orchestrator.cli.site import (
    DEPLOYMENTS_DEFAULT,
    RPC_DEFAULT,
    TIMEOUT_DEFAULT,
    DeploymentsOption,
    FederationOption,
    KeyOption,
    PasswordOption,
    RpcOption,
    TimeoutOption,
    deployed_at,
    follow,
    head_json,
    open_federation,
    open_sender,
)

if TYPE_CHECKING:
    from fl_orchestrator.chain.types import Observation

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
    timeout: TimeoutOption = TIMEOUT_DEFAULT,
    json_output: JsonOption = False,
) -> None:
    """Open the next rounds and see them to their end.

    Example: flo keeper run --key keeper.json --rounds 10
    """
    with interruptible("Any keeper can go on: run the same command again."):
        from fl_orchestrator.chain.connect import connect
        from fl_orchestrator.chain.types import Phase
        from fl_orchestrator.roles.keeper import Keeper
        from fl_orchestrator.roles.relay import Mailbox

        chain = open_federation(connect(rpc), federation, deployments)
        sender = open_sender(chain, key, password_file)
        current = chain.observe(sender.address).current
        ended = (Phase.IDLE, Phase.ACCEPTED, Phase.VOID)
        last = current.round + (rounds if current.phase in ended else rounds - 1)
        first_block = deployed_at(chain, deployments)
        keeper = Keeper(
            chain, sender, Mailbox(), first_block, lambda round_number: round_number <= last
        )

        def done(seen: Observation) -> bool:
            return seen.current.round >= last and seen.current.phase in ended

        seen, _ = follow(chain, sender.address, keeper, done, timeout)
    phase = seen.current.phase.name.lower()
    if json_output:
        print_json({"round": seen.current.round, "phase": phase, **head_json(seen)})
        return
    say(
        f"Round {seen.current.round} is {phase}; the head is the model "
        f"of round {seen.head.round}, {seen.head.cid}."
    )
