"""`flo federation migrate`: a new federation that goes on from another one's final model."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fl_orchestrator.cli.console import JsonOption, interruptible, say, short
from fl_orchestrator.cli.consortium.create import (
    MEMBERS,
    MODEL,
    ROUNDS,
    amount,
    bond_of,
    count,
    period,
    scratch_store,
)
from fl_orchestrator.cli.consortium.deployment import deploy, deployer
from fl_orchestrator.cli.site import (
    DEPLOYMENTS_DEFAULT,
    RPC_DEFAULT,
    ChainIdOption,
    DeploymentsOption,
    DryRunOption,
    GatewaysOption,
    KeyOption,
    PasswordOption,
    RpcOption,
    StoreOption,
    open_content,
    parse_address,
)
from fl_orchestrator.errors import InputError
from fl_orchestrator.units import parse_ether

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.types import Params, PrivateParams
    from fl_orchestrator.content.store import ContentStore
    from fl_orchestrator.model.manifest import Manifest
    from fl_orchestrator.roles.setup import Genesis, Terms

_OLD: Final = "The old federation"


def migrate(
    old: Annotated[
        str, typer.Option("--from", metavar="ADDRESS", help="Its address.", rich_help_panel=_OLD)
    ],
    from_rpc: Annotated[
        str,
        typer.Option(metavar="URLS", help="Its chain, if it is another one.", rich_help_panel=_OLD),
    ] = "",
    from_store: Annotated[
        str, typer.Option(metavar="URL", help="Its store, if another one.", rich_help_panel=_OLD)
    ] = "",
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="Another manifest of the same tensors: a new rule, or other training.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    parties: Annotated[int | None, count("The largest number of parties.")] = None,
    participants: Annotated[int | None, count("How many parties a round draws.")] = None,
    min_updates: Annotated[int | None, count("Fewer updates make a round void.")] = None,
    party_stake: Annotated[str, amount("The minimum stake of a party.", MEMBERS)] = "",
    aggregator_stake: Annotated[str, amount("The minimum stake of an aggregator.", MEMBERS)] = "",
    commit_period: Annotated[int | None, period("For parties to train and commit.")] = None,
    reveal_period: Annotated[int | None, period("For parties to reveal.")] = None,
    attest_period: Annotated[int | None, period("For aggregators to attest.")] = None,
    challenge_period: Annotated[int | None, period("To challenge a result.", least=2)] = None,
    answer_period: Annotated[int | None, period("To answer in a dispute.")] = None,
    unbond_period: Annotated[int | None, period("From asking for a stake to its payout.")] = None,
    reward: Annotated[str, amount("The reward of an accepted round.", ROUNDS)] = "",
    key: KeyOption = None,
    store: StoreOption = "",
    gateways: GatewaysOption = "",
    rpc: RpcOption = RPC_DEFAULT,
    chain_id: ChainIdOption = None,
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT,
    password_file: PasswordOption = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Start a new federation from another one's final model, also from one of an earlier version.

    Its first model is the old one's last final model, and its manifest names the old federation,
    that model's height and root; `flo model verify --all` follows. Terms that are not given stay as
    they were. The old federation is only read: end it as before. The new one needs a directory of
    its own for its record (--deployments). Running it twice changes nothing.

    Example: flo federation migrate --from 0x… --deployments deployments-2 --key owner.json
    """
    with interruptible("Run the same command again; it deploys nothing twice."):
        from fl_orchestrator.audit.first_model import final_model
        from fl_orchestrator.chain.contract.private import open_federation
        from fl_orchestrator.chain.nodes.connect import reach
        from fl_orchestrator.roles.setup import federation_params

        source = reach(from_rpc or rpc, None if from_rpc else chain_id)
        before = open_federation(source, parse_address(old), any_version=True)
        given = {
            "max_parties": parties,
            "participants": participants or parties,
            "min_updates": min_updates,
            "commit_period": commit_period,
            "reveal_period": reveal_period,
            "attest_period": attest_period,
            "challenge_period": challenge_period,
            "answer_period": answer_period,
            "unbond_period": unbond_period,
            "min_party_stake": parse_ether(party_stake) if party_stake else None,
            "min_aggregator_stake": parse_ether(aggregator_stake) if aggregator_stake else None,
            "reward": parse_ether(reward) if reward else None,
        }
        terms = _terms(before.params(), {name: n for name, n in given.items() if n is not None})
        sender, record = deployer("Federation", rpc, chain_id, deployments, key, password_file)
        content = open_content(store, gateways, "")
        theirs = open_content(from_store, gateways, "") if from_store else content
        model = final_model(before)
        with scratch_store() if dry_run else contextlib.nullcontext(content) as published:
            described, genesis = _published(published, theirs, before, manifest)
            terms, own = _private(before, described, terms)
            params = federation_params(described, genesis, terms)
        lineage = {
            "chain_id": before.chain_id,
            "federation": before.address,
            "version": before.version,
            "height": model.height,
            "round": model.round,
            "root": "0x" + model.root.hex(),
        }
        if not json_output:
            _say_model(before, lineage)
        deploy(sender, (params, own), record, dry_run, json_output, {"lineage": lineage})


def _terms(params: Params, given: dict[str, int]) -> Terms:
    """The terms of the old federation, but for those that are given."""
    from fl_orchestrator.roles.setup import Terms

    names = [field.name for field in dataclasses.fields(Terms)]
    kept = {name: getattr(params, name) for name in names}
    if "max_parties" in given and "min_updates" not in given:
        kept["min_updates"] = 0  # the default for so many
    changed = {**kept, **given}
    if changed["participants"] > changed["max_parties"]:
        raise InputError(
            f"{changed['participants']} of {changed['max_parties']} parties cannot be drawn.",
            "Check --parties and --participants.",
        )
    stakes = (changed["answer_period"], changed["min_aggregator_stake"])
    if stakes != (kept["answer_period"], kept["min_aggregator_stake"]):
        changed["demand_bond"] = max(kept["demand_bond"], bond_of(None, *stakes, block_time=12))
    return Terms(**changed)


def _published(
    store: ContentStore, theirs: ContentStore, before: Federation, manifest: Path | None
) -> tuple[Manifest, Genesis]:
    """The manifest with its lineage and the genesis, both stored; the model is checked."""
    from fl_orchestrator.audit.first_model import (
        descended,
        fetch_model,
        final_model,
        publish_descended,
    )
    from fl_orchestrator.model.manifest import read_manifest
    from fl_orchestrator.roles.manifests import manifest_of
    from fl_orchestrator.roles.vectors import VectorCache

    old = manifest_of(theirs, before)
    model = final_model(before)
    described = descended(before, model, old if manifest is None else read_manifest(manifest))
    with tempfile.TemporaryDirectory(prefix="flo-migrate-") as workspace:
        file = fetch_model(theirs, before, VectorCache(Path(workspace), old), model)
        return described, publish_descended(store, described, old, file)


def _private(
    before: Federation, manifest: Manifest, terms: Terms
) -> tuple[Terms, PrivateParams | None]:
    """The terms and parameters that a private federation has; it stays as private as it was."""
    from fl_orchestrator.chain.contract.private import PrivateFederation
    from fl_orchestrator.roles.masked.terms import (
        PrivateTerms,
        for_private,
        private_params,
        require_plain_manifest,
    )
    from fl_orchestrator.roles.setup import ANY_GENESIS, federation_params

    if not isinstance(before, PrivateFederation):
        require_plain_manifest(manifest)
        return terms, None
    kept = before.private_params()
    masked = PrivateTerms(kept.step_limit, kept.claim_period, kept.secrecy, kept.relock)
    terms = for_private(terms, masked)
    params = federation_params(manifest, ANY_GENESIS, terms)
    return terms, private_params(manifest, params, masked)


def _say_model(before: Federation, lineage: dict[str, object]) -> None:
    left = before.head().height - int(str(lineage["height"]))
    say(
        f"Goes on from {before.address} (chain {before.chain_id}, version {before.version}): its "
        f"final model of round {lineage['round']}, root {short(str(lineage['root']))}."
    )
    if left:
        say(
            f"Leaves out {left} accepted but not yet final "
            f"{'round' if left == 1 else 'rounds'} of it: wait, if they should count."
        )
