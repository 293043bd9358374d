"""`flo deploy`: publish a manifest and a genesis model, and run the migrations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fl_orchestrator.cli.console import JsonOption, interruptible, out, print_json
from fl_orchestrator.cli.site import (
    DEPLOYMENTS_DEFAULT,
    RPC_DEFAULT,
    DeploymentsOption,
    DryRunOption,
    KeyOption,
    PasswordOption,
    RpcOption,
    StoreOption,
    open_signer,
)
from fl_orchestrator.cli.stake import parse_ether
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from fl_orchestrator.model.manifest import Manifest
    from fl_orchestrator.training.trainer import FloatArray


class OtherTerms(InputError):
    """A federation is deployed already, and it is not the one described."""


def deploy(
    key: KeyOption,
    store: StoreOption,
    parties: Annotated[int, typer.Option(min=1, help="At most this many parties.")],
    dataset: Annotated[
        str, typer.Option(help="Take model and training from this task of the package; or:")
    ] = "",
    manifest: Annotated[
        Path | None, typer.Option(help="A manifest file (canonical JSON), with --genesis.")
    ] = None,
    genesis: Annotated[
        Path | None, typer.Option(help="Its first weights: .npz, .safetensors or .keras.")
    ] = None,
    participants: Annotated[
        int | None, typer.Option(min=1, help="How many parties a round draws. Default: all.")
    ] = None,
    min_updates: Annotated[
        int, typer.Option(min=0, help="Fewer make a round void. Default: half.")
    ] = 0,
    rule: Annotated[
        str, typer.Option(help="With --dataset: weighted-mean, median or trimmed-mean.")
    ] = "weighted-mean",
    seed: Annotated[int, typer.Option(help="With --dataset: draws the first weights.")] = 0,
    commit_period: Annotated[int, typer.Option(min=1, help="Seconds.")] = 600,
    reveal_period: Annotated[int, typer.Option(min=1, help="Seconds.")] = 600,
    attest_period: Annotated[int, typer.Option(min=1, help="Seconds.")] = 600,
    challenge_period: Annotated[int, typer.Option(min=2, help="Seconds.")] = 86_400,
    answer_period: Annotated[int, typer.Option(min=1, help="Seconds.")] = 3600,
    unbond_period: Annotated[int, typer.Option(min=1, help="Seconds.")] = 604_800,
    party_stake: Annotated[str, typer.Option(help="The least stake of a party, in ETH.")] = "0.1",
    aggregator_stake: Annotated[
        str, typer.Option(help="The stake of an aggregator at least, in ETH.")
    ] = "1",
    reward: Annotated[str, typer.Option(help="Per accepted round, in ETH.")] = "0.01",
    open_admission: Annotated[
        bool, typer.Option(help="Let anybody register as a party; needs --participants.")
    ] = False,
    rpc: RpcOption = RPC_DEFAULT,
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT,
    password_file: PasswordOption = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Deploy a federation; the key's account becomes its owner. Running it twice changes nothing.

    Example: flo deploy --dataset breast-cancer --parties 5 --key owner.json --store file:///srv/flo
    """
    from fl_orchestrator.chain.connect import connect
    from fl_orchestrator.chain.federation import Federation
    from fl_orchestrator.chain.migrate import DeploymentRecord, migrate
    from fl_orchestrator.chain.reverts import RevertDecoder
    from fl_orchestrator.chain.send import Sender
    from fl_orchestrator.content.store import open_store
    from fl_orchestrator.roles.setup import Terms, federation_params, publish

    terms = Terms(
        max_parties=parties,
        participants=participants or parties,
        min_updates=min_updates,
        open_admission=open_admission,
        commit_period=commit_period,
        reveal_period=reveal_period,
        attest_period=attest_period,
        challenge_period=challenge_period,
        answer_period=answer_period,
        unbond_period=unbond_period,
        min_party_stake=parse_ether(party_stake),
        min_aggregator_stake=parse_ether(aggregator_stake),
        reward=parse_ether(reward),
    )
    with interruptible("Run the same command again: nothing is deployed twice."):
        described, weights = _model(dataset, manifest, genesis, rule, seed)
        web3 = connect(rpc)
        sender = Sender(
            web3, open_signer(key, password_file), RevertDecoder.of_artifact("Federation")
        )
        params = federation_params(described, publish(open_store(store), described, weights), terms)
        record = DeploymentRecord(deployments, web3.eth.chain_id)
        if dry_run:
            out.print(f"Would deploy from {sender.address} on chain {web3.eth.chain_id}.")
            return
        federation = migrate(sender, params, record)[-1]
        if Federation(web3, federation.address).params() != params:
            raise OtherTerms(
                f"{record.path} records a federation on this chain with other terms or another "
                f"model, {federation.address}.",
                "Give the terms it has, or another --deployments directory for a second one.",
            )
    if json_output:
        print_json(
            {
                "federation": federation.address,
                "block": federation.block,
                "chain_id": web3.eth.chain_id,
                "code_hash": federation.code_hash,
                "manifest_digest": "0x" + params.manifest_digest.hex(),
                "genesis_root": "0x" + params.genesis_root.hex(),
                "genesis_cid": str(params.genesis_cid),
                "record": str(record.path),
            }
        )
        return
    out.print(f"Federation {federation.address}, block {federation.block}; see {record.path}.")
    out.print("Next: `flo federation admit`, then parties and aggregators register.")


def _model(
    dataset: str, manifest: Path | None, genesis: Path | None, rule: str, seed: int
) -> tuple[Manifest, list[FloatArray]]:
    """The manifest and the first weights, from a task of the package or from files."""
    if bool(dataset) == (manifest is not None) or (manifest is None) != (genesis is None):
        raise InputError(
            "A federation needs a model.", "Give --dataset, or --manifest and --genesis."
        )
    if manifest is None or genesis is None:
        from fl_orchestrator.experiment import Options, manifest_for
        from fl_orchestrator.training.tasks import task_named

        task = task_named(dataset)
        model = task.keras_model(seed)
        options = Options(dataset=dataset, rule=rule, seed=seed)
        return manifest_for(task, model, options), model.initial_weights
    from fl_orchestrator.model.manifest import MAX_MANIFEST_BYTES, Manifest
    from fl_orchestrator.training.trainer import TensorSpec
    from fl_orchestrator.training.weights_file import load_weights

    try:
        with manifest.open("rb") as file:
            described = Manifest.from_bytes(file.read(MAX_MANIFEST_BYTES + 1))
    except OSError as error:
        raise InputError(f"{manifest} cannot be read: {error.strerror}.") from error
    tensors = [TensorSpec(tensor.name, tensor.shape) for tensor in described.tensors]
    return described, load_weights(genesis, tensors)
