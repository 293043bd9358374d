"""`flo model`: fetch a federation's global model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from fl_orchestrator.cli.console import JsonOption, interruptible, print_json, say, short
from fl_orchestrator.cli.site import (
    DEPLOYMENTS_DEFAULT,
    RPC_DEFAULT,
    DeploymentsOption,
    FederationOption,
    RpcOption,
    StoreOption,
    open_federation,
)

app = typer.Typer(help="Fetch the global model.", no_args_is_help=True)


@app.callback()
def _noun() -> None:
    """Fetch the global model."""


@app.command()
def get(
    file: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    store: StoreOption,
    rpc: RpcOption = RPC_DEFAULT,
    federation: FederationOption = None,
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT,
    json_output: JsonOption = False,
) -> None:
    """Fetch the head's model, check it against its root on-chain, and write its float32 weights.

    Example: flo model get global.safetensors --store file:///srv/flo
    """
    from fl_orchestrator.chain.connect import connect
    from fl_orchestrator.content.store import open_store
    from fl_orchestrator.model.fixed_point import float_view
    from fl_orchestrator.roles.manifests import fetch_manifest
    from fl_orchestrator.roles.vectors import Origin, VectorCache
    from fl_orchestrator.training.trainer import TensorSpec
    from fl_orchestrator.training.weights_file import save_safetensors

    with (
        interruptible("Nothing was written."),
        tempfile.TemporaryDirectory(prefix="flo-model-") as workspace,
    ):
        chain = open_federation(connect(rpc), federation, deployments)
        content = open_store(store)
        manifest = fetch_manifest(content, chain.params())
        cache = VectorCache(Path(workspace), manifest)
        head = chain.head()
        origin = Origin(chain.chain_id, chain.address)
        state = cache.load(cache.fetch(content, head.cid, head.root, origin.state(head.round)))
        weights = float_view(manifest.layout, state)
        save_safetensors(file, weights, [TensorSpec(t.name, t.shape) for t in manifest.tensors])
    root, cid = "0x" + head.root.hex(), str(head.cid)
    if json_output:
        print_json({"round": head.round, "root": root, "cid": cid, "file": str(file)})
        return
    say(f"The model of round {head.round}, root {short(root)}, is in {escape(str(file))}.")
