"""`flo federation create`: publish a manifest and its first model, and run the migrations."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fl_orchestrator.cli.console import JsonOption, interruptible
from fl_orchestrator.cli.consortium.deployment import deploy, deployer
from fl_orchestrator.cli.consortium.private_terms import (
    MAX_PERIOD,
    ClaimPeriodOption,
    PrivateOption,
    RelockOption,
    SecrecyOption,
    StepLimitOption,
    private_terms,
)
from fl_orchestrator.cli.options.rule import (
    RULE_DEFAULT,
    chosen_rule,
    clip_option,
    learning_rate_option,
    momentum_option,
    rule_option,
    trim_option,
)
from fl_orchestrator.cli.site import (
    DEPLOYMENTS_DEFAULT,
    RPC_DEFAULT,
    ChainIdOption,
    DeploymentsOption,
    DryRunOption,
    KeyOption,
    PasswordOption,
    RpcOption,
    StoreOption,
    open_content,
)
from fl_orchestrator.errors import InputError
from fl_orchestrator.units import parse_ether

if TYPE_CHECKING:
    from fl_orchestrator.chain.types import Params, PrivateParams
    from fl_orchestrator.content.store import ContentStore
    from fl_orchestrator.model.manifest import Manifest
    from fl_orchestrator.roles.masked.terms import PrivateTerms
    from fl_orchestrator.roles.setup import Terms
    from fl_orchestrator.training.trainer import FloatArray


MODEL: Final = "The model"
MEMBERS: Final = "Who takes part"
ROUNDS: Final = "Rounds"
_MAX_PARTIES: Final = 2**32 - 1


def _number(metavar: str, text: str, panel: str, least: int, most: int) -> Any:
    """An option for an integer. Unlike with Typer's range, the help shows no limits."""

    def check(value: int | None) -> int | None:
        if value is not None and not least <= value <= most:
            raise typer.BadParameter(f"{value} is not in the range {least:,} to {most:,}.")
        return value

    return typer.Option(metavar=metavar, help=text, rich_help_panel=panel, callback=check)


def count(text: str) -> Any:
    return _number("N", text, MEMBERS, 1, _MAX_PARTIES)


def period(text: str, least: int = 1) -> Any:
    return _number("SECONDS", text, ROUNDS, least, MAX_PERIOD)


def amount(text: str, panel: str) -> Any:
    return typer.Option(metavar="ETH", help=text, rich_help_panel=panel)


def create(
    parties: Annotated[int, count("The largest number of parties.")],
    dataset: Annotated[
        str,
        typer.Option(help="The model of this task of the package; or:", rich_help_panel=MODEL),
    ] = "",
    manifest: Annotated[
        Path | None,
        typer.Option(help="A manifest (canonical JSON), with --weights.", rich_help_panel=MODEL),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Its first weights: .npz, .safetensors or .keras.", rich_help_panel=MODEL
        ),
    ] = None,
    rule: Annotated[
        str | None, rule_option(MODEL, "With --dataset: ", f" Default: {RULE_DEFAULT}.")
    ] = None,
    trim: Annotated[float | None, trim_option(MODEL)] = None,
    server_learning_rate: Annotated[float | None, learning_rate_option(MODEL)] = None,
    server_momentum: Annotated[float | None, momentum_option(MODEL)] = None,
    clip_norm: Annotated[float | None, clip_option(MODEL)] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --dataset: the seed of the first weights. Default: 0.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    participants: Annotated[
        int | None, count("How many parties a round draws. Default: all.")
    ] = None,
    open_admission: Annotated[
        bool,
        typer.Option(
            "--open-admission",
            help="Let anybody register as a party; needs --participants.",
            rich_help_panel=MEMBERS,
        ),
    ] = False,
    party_stake: Annotated[str, amount("The minimum stake of a party.", MEMBERS)] = "0.1",
    aggregator_stake: Annotated[str, amount("The minimum stake of an aggregator.", MEMBERS)] = "1",
    min_updates: Annotated[
        int | None,
        count(
            "Fewer updates make a round void. Default: half of the participants, 2 at least of 3."
        ),
    ] = None,
    commit_period: Annotated[int, period("For parties to train and commit.")] = 600,
    reveal_period: Annotated[int, period("For parties to reveal.")] = 600,
    attest_period: Annotated[int, period("For aggregators to attest.")] = 600,
    challenge_period: Annotated[
        int, period("For anybody to challenge a result.", least=2)
    ] = 86_400,
    answer_period: Annotated[int, period("To answer in a dispute.")] = 3600,
    demand_bond: Annotated[
        str | None,
        amount("The bond of a demand; such that floods cost too much by default.", ROUNDS),
    ] = None,
    block_time: Annotated[
        int, period("At most, between two blocks, where it is not 12: for that bond.")
    ] = 12,
    unbond_period: Annotated[int, period("From requesting a stake to its payout.")] = 604_800,
    reward: Annotated[str, amount("The reward of an accepted round.", ROUNDS)] = "0.01",
    private: PrivateOption = False,
    secrecy: SecrecyOption = None,
    relock: RelockOption = False,
    step_limit: StepLimitOption = None,
    claim_period: ClaimPeriodOption = None,
    key: KeyOption = None,
    store: StoreOption = "",
    rpc: RpcOption = RPC_DEFAULT,
    chain_id: ChainIdOption = None,
    deployments: DeploymentsOption = DEPLOYMENTS_DEFAULT,
    password_file: PasswordOption = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Create a federation; the key's account becomes its owner. Running it twice changes nothing.

    Its terms cannot be changed later. --dry-run shows the gas that it needs.

    Example: flo federation create --manifest manifest.json --weights genesis.npz --parties 5
    """
    with interruptible("Run the same command again; it deploys nothing twice."):
        from fl_orchestrator.roles.masked.terms import for_private
        from fl_orchestrator.roles.setup import Terms

        if participants is not None and participants > parties:
            raise InputError(
                f"{participants} of {parties} parties cannot be drawn.", "Check --participants."
            )
        masked = private_terms(private, secrecy, relock, step_limit, claim_period)
        terms = Terms(
            max_parties=parties,
            participants=participants or parties,
            min_updates=min_updates or 0,
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
            demand_bond=bond_of(
                demand_bond, answer_period, parse_ether(aggregator_stake), block_time
            ),
        )
        if masked is not None:
            terms = for_private(terms, masked)
        ruled = {
            "trim": trim,
            "server_learning_rate": server_learning_rate,
            "server_momentum": server_momentum,
        }
        described, initial = _model(
            dataset, manifest, weights, rule, ruled, clip_norm, seed, private
        )
        sender, record = deployer("Federation", rpc, chain_id, deployments, key, password_file)
        content = open_content(store, "", "")
        with scratch_store() if dry_run else contextlib.nullcontext(content) as published:
            params, own = _params(published, described, initial, terms, masked)
        deploy(sender, (params, own), record, dry_run, json_output, {})


def bond_of(given: str | None, answer_period: int, aggregator_stake: int, block_time: int) -> int:
    """The bond that was asked for, or the default one, in wei. Raises FloodedTerms."""
    from fl_orchestrator.chain.deployment.flood import DEMAND_BOND, least_bond, require_bond

    if given is None:
        return max(DEMAND_BOND, least_bond(answer_period, aggregator_stake, block_time))
    bond = parse_ether(given)
    require_bond(bond, answer_period, aggregator_stake, block_time)
    return bond


@contextlib.contextmanager
def scratch_store() -> Iterator[ContentStore]:
    from fl_orchestrator.content.local import LocalStore

    with tempfile.TemporaryDirectory(prefix="flo-create-") as directory:
        yield LocalStore(Path(directory))


def _params(
    store: ContentStore,
    manifest: Manifest,
    initial: list[FloatArray],
    terms: Terms,
    private: PrivateTerms | None,
) -> tuple[Params, PrivateParams | None]:
    """The contract's parameters. The manifest and the model are stored only if it takes them."""
    from fl_orchestrator.roles.masked.terms import private_params, require_plain_manifest
    from fl_orchestrator.roles.setup import ANY_GENESIS, federation_params, publish

    own = None
    if private is None:
        require_plain_manifest(manifest)
    else:
        own = private_params(manifest, federation_params(manifest, ANY_GENESIS, terms), private)
    return federation_params(manifest, publish(store, manifest, initial), terms), own


def _model(
    dataset: str,
    manifest: Path | None,
    weights: Path | None,
    rule: str | None,
    ruled: Mapping[str, float | None],
    clip_norm: float | None,
    seed: int | None,
    private: bool,
) -> tuple[Manifest, list[FloatArray]]:
    """The manifest and the first weights, from a task of the package or from files."""
    if bool(dataset) == (manifest is not None) or (manifest is None) != (weights is None):
        raise InputError(
            "A federation needs exactly one model.",
            "Give --dataset, or both --manifest and --weights.",
        )
    if manifest is not None and weights is not None:
        if any(given is not None for given in (rule, seed, clip_norm, *ruled.values())):
            raise InputError(
                "The manifest already defines the rule.",
                "Leave out --rule and its parameters, and --seed; or leave out --manifest.",
            )
        return _model_in_files(manifest, weights)
    from fl_orchestrator.simulation.options import Options, manifest_for
    from fl_orchestrator.training.tasks import task_named

    task = task_named(dataset)
    chosen = chosen_rule(RULE_DEFAULT if rule is None else rule, **ruled)
    options = Options(
        dataset=dataset, rule=chosen, clip_norm=clip_norm, seed=seed or 0, private=private
    )
    model = task.keras_model(options.seed)
    return manifest_for(task, model, options), model.initial_weights


def _model_in_files(manifest: Path, weights: Path) -> tuple[Manifest, list[FloatArray]]:
    from fl_orchestrator.model.manifest import read_manifest
    from fl_orchestrator.training.trainer import WeightSpec
    from fl_orchestrator.training.weights_file import load_weights

    described = read_manifest(manifest)
    tensors = [WeightSpec(tensor.name, tensor.shape) for tensor in described.tensors]
    return described, load_weights(weights, tensors)
