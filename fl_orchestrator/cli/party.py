"""`flo party`: register, look, and submit an update that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fl_orchestrator.cli.console import JsonOption, interruptible, out, print_json
from fl_orchestrator.cli.site import (
    DEPLOYMENTS_DEFAULT,
    HOME_DEFAULT,
    RPC_DEFAULT,
    DeploymentsOption,
    DryRunOption,
    FederationOption,
    HomeOption,
    KeyOption,
    PasswordOption,
    RpcOption,
    StoreOption,
    follow,
    open_federation,
    open_sender,
    role_home,
)
from fl_orchestrator.cli.stake import register_role, show_account
from fl_orchestrator.errors import ChainError

if TYPE_CHECKING:
    from fl_orchestrator.chain.types import Observation
    from fl_orchestrator.training.trainer import FloatArray

app = typer.Typer(help="Take part with your own data.", no_args_is_help=True)


class NotTakingPart(ChainError):
    """The account cannot submit an update in this round."""


@app.command()
def register(
    key: KeyOption,
    stake: Annotated[str, typer.Option(help="The stake in ETH. Default: the minimum.")] = "",
    beneficiary: Annotated[
        str, typer.Option(help="Who gets stake and rewards back. Default: this account.")
    ] = "",
    rpc: RpcOption = RPC_DEFAULT,
    federation: FederationOption = None,
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT,
    password_file: PasswordOption = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Register this account as a party, with stake.

    Example: flo party register --key party.json --stake 0.1
    """
    from fl_orchestrator.chain.types import Role

    register_role(
        Role.PARTY,
        rpc,
        federation,
        deployments,
        (key, password_file),
        stake,
        beneficiary,
        dry_run,
        json_output,
    )


@app.command()
def status(
    address: Annotated[str, typer.Argument(help="The party's account.")],
    rpc: RpcOption = RPC_DEFAULT,
    federation: FederationOption = None,
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT,
    json_output: JsonOption = False,
) -> None:
    """Show what the chain knows of a party and of the current round.

    Example: flo party status 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
    """
    show_account("party", address, rpc, federation, deployments, json_output)


@app.command()
def submit(
    weights: Annotated[Path, typer.Argument(help="A .npz, .safetensors or .keras file.")],
    samples: Annotated[int, typer.Option(min=1, help="How many samples it was trained on.")],
    key: KeyOption,
    store: StoreOption,
    rpc: RpcOption = RPC_DEFAULT,
    federation: FederationOption = None,
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT,
    home: HomeOption = HOME_DEFAULT,
    password_file: PasswordOption = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the round to move.")] = 3600,
    json_output: JsonOption = False,
) -> None:
    """Submit weights that were trained from the current global model.

    Encodes the difference to the global model, commits to it, waits for the commit phase to close,
    stores the update and reveals it. Safe to interrupt: run it again and it goes on.

    Example: flo party submit local.npz --samples 120 --key party.json --store file:///srv/flo
    """
    from fl_orchestrator.chain.connect import connect
    from fl_orchestrator.content.store import open_store
    from fl_orchestrator.roles.manifests import fetch_manifest
    from fl_orchestrator.roles.party import Party, PartySettings
    from fl_orchestrator.training.trainer import TensorSpec
    from fl_orchestrator.training.weights_file import load_weights

    with interruptible("Nothing is lost: run the same command again to go on."):
        chain = open_federation(connect(rpc), federation, deployments)
        content = open_store(store)
        manifest = fetch_manifest(content, chain.params())
        tensors = [TensorSpec(tensor.name, tensor.shape) for tensor in manifest.tensors]
        trained = load_weights(weights, tensors)
        sender = open_sender(chain, key, password_file)
        party = Party(
            chain,
            sender,
            content,
            manifest,
            _Trained(trained, samples),
            role_home(home, chain, sender.address),
            PartySettings(run_seed=0),
        )
        round_number = 0

        def done() -> bool:
            nonlocal round_number
            seen = chain.observe(sender.address)
            round_number = round_number or _joined_round(seen)
            return bool(round_number) and _is_over(seen, round_number)

        acted = follow(chain.web3, party, done, timeout)
    _report(chain.observe(sender.address), round_number, acted, json_output)


class _Trained:
    """A trainer that has trained already."""

    def __init__(self, weights: list[FloatArray], samples: int) -> None:
        self._weights = weights
        self._samples = samples

    def fit(
        self,
        weights: list[FloatArray],  # noqa: ARG002
        config: dict[str, Any],  # noqa: ARG002
    ) -> tuple[list[FloatArray], int, dict[str, float]]:
        return self._weights, self._samples, {}

    def evaluate(
        self, weights: list[FloatArray], config: dict[str, Any]
    ) -> tuple[float, int, dict[str, float]]:
        raise NotImplementedError("weights from a file are not evaluated here")


def _joined_round(seen: Observation) -> int:
    """The round in which the party takes part; 0 while it has to wait for one.

    Raises NotTakingPart when waiting would not help.
    """
    from fl_orchestrator.chain.types import Phase

    if seen.party.stake == 0:
        raise NotTakingPart(
            "This account is not registered as a party.", "Run `flo party register` first."
        )
    if seen.committed.round == seen.current.round and seen.current.round > 0:
        return seen.current.round
    if seen.current.phase is Phase.COMMIT:
        if seen.party.frozen_stake == 0:
            raise NotTakingPart(
                f"The stake does not count in round {seen.current.round} yet.",
                "Submit in the next round.",
            )
        if not seen.drawn:
            raise NotTakingPart(
                f"This party was not drawn in round {seen.current.round}.",
                "Submit when it is drawn; `flo party status` tells.",
            )
    return 0


def _is_over(seen: Observation, round_number: int) -> bool:
    """Whether the party has nothing to do any more in the round it joined."""
    from fl_orchestrator.chain.types import Phase

    if seen.current.round != round_number:
        return True
    revealed = seen.committed.round == round_number and seen.committed.revealed
    return revealed or seen.current.phase not in (Phase.COMMIT, Phase.REVEAL)


def _report(seen: Observation, round_number: int, acted: bool, json_output: bool) -> None:
    revealed = seen.committed.round == round_number and seen.committed.revealed
    if json_output:
        print_json({"round": round_number, "revealed": revealed})
    elif revealed and acted:
        out.print(f"[green]Revealed[/] in round {round_number}.")
    elif revealed:
        out.print(
            f"The update of round {round_number} was revealed before; nothing was sent. The next "
            "one can be submitted when the next round is open."
        )
    if not revealed:
        raise NotTakingPart(
            f"The update was not revealed in round {round_number}: the round ended first.",
            "If it was void for want of commits nothing is owed; otherwise see `flo party status`.",
        )
