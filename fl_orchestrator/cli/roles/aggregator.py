"""`flo aggregator`: register, show the status, attest to rounds, and answer demands."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from fl_orchestrator.cli.console import JsonOption, interruptible, print_json, say
from fl_orchestrator.cli.encryption import EncryptionOption, open_vault, password_of
from fl_orchestrator.cli.following import follow, head_json
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.roles.service import (
    SAFE_TO_STOP,
    BlockTimeoutOption,
    OnceOption,
    ServiceSite,
    show_done,
)
from fl_orchestrator.cli.roles.stake import (
    OfOption,
    collect_rewards,
    register_role,
    show_account,
    withdraw_stake,
)
from fl_orchestrator.cli.site import (
    TIMEOUT_DEFAULT,
    Account,
    DryRunOption,
    Payer,
    Site,
    TimeoutOption,
    expanded,
    with_options,
)
from fl_orchestrator.errors import ChainError

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.types import Observation

app = Noun("Compute and attest to global models.")


class NotAttesting(ChainError):
    """The account cannot attest in this round."""


@app.command()
@with_options
def register(
    site: Payer,
    stake: Annotated[str, typer.Option(help="The stake in ETH. Default: the minimum.")] = "",
    beneficiary: Annotated[
        str, typer.Option(help="Who is paid stake and rewards. Default: this account.")
    ] = "",
    encryption: EncryptionOption = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Register this account as an aggregator, with stake.

    In a private federation it also registers the encryption key, which is made if there is none.

    Example: flo aggregator register --key aggregator.json
    """
    from fl_orchestrator.chain.contract.private import PrivateFederation
    from fl_orchestrator.chain.types import Role

    def key_of(chain: Federation, account: str) -> bytes | None:
        if not isinstance(chain, PrivateFederation):
            return None
        with contextlib.closing(open_vault(site, encryption, chain, account, make=True)) as vault:
            return vault.newest

    register_role(Role.AGGREGATOR, site, stake, beneficiary, dry_run, json_output, key_of)


@app.command()
@with_options
def status(
    site: Account,
    address: Annotated[str, typer.Argument(help="The account. Default: the key's.")] = "",
    json_output: JsonOption = False,
) -> None:
    """Show the on-chain state of an aggregator and of the current round.

    Example: flo aggregator status 0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC
    """
    show_account("aggregator", address, site, json_output)


@app.command()
@with_options
def attest(
    site: Site, timeout: TimeoutOption = TIMEOUT_DEFAULT, json_output: JsonOption = False
) -> None:
    """Aggregate the current round and attest to the result.

    Waits for the reveal phase to close, fetches and checks every update, computes the next global
    model, stores it and sends the signature. Idempotent: safe to interrupt and to repeat.

    Example: flo aggregator attest --key aggregator.json --store file:///srv/flo
    """
    with interruptible(SAFE_TO_STOP), contextlib.ExitStack() as stack:
        from fl_orchestrator.chain.contract.private import PrivateFederation
        from fl_orchestrator.chain.types import Phase
        from fl_orchestrator.roles.aggregator.aggregator import Aggregator
        from fl_orchestrator.roles.context import Context
        from fl_orchestrator.roles.manifests import manifest_of
        from fl_orchestrator.roles.retention import Retention

        chain, content = site.open_federation(), site.open_store()
        if isinstance(chain, PrivateFederation):
            raise NotAttesting(
                "In a private federation an aggregator claims and releases before it attests.",
                "Start `flo aggregator run` instead.",
            )
        manifest = manifest_of(content, chain)
        sender = site.open_sender(chain)
        stack.enter_context(site.alone_with(chain, sender.address))
        seen = chain.observe(sender.address)
        if seen.aggregator.stake == 0:
            raise NotAttesting(
                "This account is not registered as an aggregator.",
                "Run `flo aggregator register` first.",
            )
        own = site.role_home(chain, sender.address)
        retention = Retention(chain, content, own / "kept-as-aggregator.json")
        context = Context(
            federation=chain,
            sender=sender,
            store=content,
            manifest=manifest,
            home=own,
            relay=site.open_relay(),
            retention=retention,
        )
        role = Aggregator(context)
        ended = seen.current.phase in (Phase.IDLE, Phase.VOID)
        first = seen.current.round + ended

        def done(seen: Observation) -> bool:
            return role.has_attested(first) or not _may_attest(seen, first)

        seen, _ = follow(chain, sender.address, role, done, timeout)
        if not role.has_attested(first):
            raise NotAttesting(
                f"There is no result to attest to: round {seen.current.round} is "
                f"{seen.current.phase.name.lower()}.",
                "Run it again when the next round is open.",
            )
    accepted = seen.current.phase is Phase.ACCEPTED
    if json_output:
        print_json({"round": seen.current.round, "accepted": accepted, **head_json(seen)})
        return
    state = "accepted" if accepted else "waiting for more than 2/3 of the aggregators' stake"
    say(f"[green]Attested[/] to round {seen.current.round}: {state}.")


def _may_attest(seen: Observation, round_number: int) -> bool:
    """Whether the account can still attest to this round, now or later. Raises NotAttesting."""
    from fl_orchestrator.chain.types import Phase

    current = seen.current
    if current.round < round_number or current.phase is Phase.SEEDING:
        return True
    if current.round > round_number or current.phase is Phase.VOID:
        return False
    if seen.aggregator.frozen_stake == 0:
        raise NotAttesting(
            f"The stake does not count in round {round_number}.", "Attest in the next round."
        )
    return current.phase is not Phase.ACCEPTED or seen.timestamp < current.attest_end


@app.command()
@with_options
def run(
    site: ServiceSite,
    encryption: EncryptionOption = None,
    renew_key: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="ROUNDS",
            help="In a private federation: make a new encryption key after so many rounds.",
        ),
    ] = 50,
    json_output: JsonOption = False,
) -> None:
    """Attest to every round and answer every demand, until stopped.

    Fetches and checks the updates of each round, computes the next global model, stores it and
    signs it; keeps the data that a dispute may need, and answers demands with it. Survives outages
    of the node and of the store. SIGTERM and Ctrl-C end it after its current step. Safe to kill and
    to start again.

    In a private federation it sees masked updates only. It claims those that it holds, confirms
    what a quorum has locked, and releases what opens their sum, once in a round.

    Example: flo aggregator run --key aggregator.json --store file:///srv/flo
    """
    with interruptible(SAFE_TO_STOP), site.running("aggregator", show=True) as process:
        from fl_orchestrator.members.aggregator import Aggregator

        member = Aggregator(
            process,
            encryption=expanded(encryption) if encryption else None,
            encryption_password=password_of(site),
            renew_key=renew_key,
            relay=site.open_relay(),
            confirmations=site.confirmations,
        )
        done = member.run()
    show_done(done, json_output)


@app.command()
@with_options
def answer(
    site: ServiceSite,
    once: OnceOption = False,
    timeout: BlockTimeoutOption = TIMEOUT_DEFAULT,
    json_output: JsonOption = False,
) -> None:
    """Answer the demands for data of accepted models, until interrupted.

    The signers of a model must answer until it is final: if a demand stays unanswered, the model
    counts as wrong and its signers are slashed. Anybody who can fetch the model may answer. Safe to
    repeat.

    Example: flo aggregator answer --key aggregator.json --store file:///srv/flo
    """
    with interruptible(SAFE_TO_STOP), site.running("answerer", once=once) as process:
        from fl_orchestrator.roles.aggregator.responder import Responder

        context = process.context(process.manifest())
        role = Responder(context, context.round_index(), at_once=True)
        sent = process.serve(
            role, finished=lambda: once and not role.busy, once=once, timeout=timeout
        )
    if json_output:
        print_json({"sent": {**sent, **({"answer": role.answered} if role.answered else {})}})
        return
    say(f"Answered {role.answered} demands.")


@app.command()
@with_options
def withdraw(
    site: Payer,
    account: OfOption = "",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Request the stake back, or, once it is due, have it paid to the beneficiary. Run it twice.

    A requested stake does not count in new rounds, and can be slashed until it is paid: continue to
    answer demands. The beneficiary may do this too, with a key of its own.

    Example: flo aggregator withdraw --key aggregator.json --dry-run
    """
    from fl_orchestrator.chain.types import Role

    withdraw_stake(Role.AGGREGATOR, site, account, dry_run, json_output)


@app.command()
@with_options
def rewards(
    site: Payer,
    account: OfOption = "",
    collect: Annotated[bool, typer.Option("--collect", help="Pay them out.")] = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Show this account's rewards from all its roles, or have them paid to its beneficiary.

    Example: flo aggregator rewards --key aggregator.json --collect
    """
    collect_rewards(site, account, collect, dry_run, json_output)
