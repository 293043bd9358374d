"""How the commands that create a contract send it, and what they say of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fl_orchestrator.cli.console import print_json, safe, say
from fl_orchestrator.cli.site import open_signer
from fl_orchestrator.errors import InputError

if TYPE_CHECKING:
    from web3 import Web3

    from fl_orchestrator.chain.deployment.record import DeploymentRecord
    from fl_orchestrator.chain.sending.send import Sender
    from fl_orchestrator.chain.types import Params, PrivateParams


class OtherTerms(InputError):
    """A federation is already deployed, with other terms or another model than given."""


def deployer(
    contract: str,
    rpc: str,
    chain_id: int | None,
    deployments: Path,
    key: Path | None,
    password_file: Path | None,
) -> tuple[Sender, DeploymentRecord]:
    """What deploys a contract of this name with a key, and the record of the chain."""
    from fl_orchestrator.chain.contract.reverts import RevertDecoder
    from fl_orchestrator.chain.deployment.record import DeploymentRecord
    from fl_orchestrator.chain.nodes.connect import connect
    from fl_orchestrator.chain.sending.send import Sender

    web3 = connect(rpc, chain_id)
    signer = open_signer(key, password_file)
    sender = Sender(web3, signer, RevertDecoder.of_artifact(contract))
    return sender, DeploymentRecord(deployments, web3.eth.chain_id)


def deploy(
    sender: Sender,
    terms: tuple[Params, PrivateParams | None],
    record: DeploymentRecord,
    dry_run: bool,
    json_output: bool,
    more: Mapping[str, object],
) -> None:
    """Run the migrations and show what came of it, or with ``dry_run`` the gas they need."""
    from fl_orchestrator.chain.deployment.migrate import migrate
    from fl_orchestrator.roles.masked.terms import at_a_glance

    params, own = terms
    if dry_run:
        _check(sender, params, own, record, json_output)
        return
    deployed = migrate(sender, params, record, own)[-1]
    _compare_terms(sender.web3, deployed.address, params, own, record)
    if json_output:
        print_json(
            {
                "federation": deployed.address,
                "block": deployed.block,
                "chain_id": sender.web3.eth.chain_id,
                "code_hash": deployed.code_hash,
                "manifest_digest": "0x" + params.manifest_digest.hex(),
                "genesis_root": "0x" + params.genesis_root.hex(),
                "genesis_cid": str(params.genesis_cid),
                "private": own is not None,
                "record": str(record.path),
                **more,
            }
        )
        return
    say(f"Federation {deployed.address}, block {deployed.block}; recorded in {safe(record.path)}.")
    say(at_a_glance(own))
    say("Next: `flo federation admit`, then parties and aggregators register.")


def _check(
    sender: Sender,
    params: Params,
    private: PrivateParams | None,
    record: DeploymentRecord,
    json_output: bool,
) -> None:
    """Check the deployment without sending, and print the gas that it needs."""
    from fl_orchestrator.chain.deployment.migrate import gas_to_migrate

    gas = gas_to_migrate(sender, params, record, private)
    kind = "Federation" if private is None else "PrivateFederation"
    for known in record.load().values():
        if gas == 0 and known.contract == kind:
            _compare_terms(sender.web3, known.address, params, private, record)
    chain_id = sender.web3.eth.chain_id
    if json_output:
        print_json({"from": sender.address, "chain_id": chain_id, "gas": gas, "dry_run": True})
    elif gas:
        say(f"Would deploy from {sender.address} on chain {chain_id}; {gas:,} gas.")
    else:
        say(f"Would change nothing: the federation is on chain {chain_id}.")


def _compare_terms(
    web3: Web3,
    address: str,
    params: Params,
    private: PrivateParams | None,
    record: DeploymentRecord,
) -> None:
    from fl_orchestrator.chain.contract.private import PrivateFederation, open_federation

    chain = open_federation(web3, address)
    own = chain.private_params() if isinstance(chain, PrivateFederation) else None
    if (chain.params(), own) != (params, private):
        raise OtherTerms(
            f"{record.path} records a federation on this chain with other terms or another "
            f"model, {address}.",
            "Give the same terms, or another --deployments directory for a second federation.",
        )
