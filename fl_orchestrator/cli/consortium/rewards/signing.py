"""`flo rewards propose`, `sign` and `distribute`: from a report to credits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fl_orchestrator.cli.console import (
    DAY_SECONDS,
    JsonOption,
    ether,
    interruptible,
    print_json,
    safe,
    say,
)
from fl_orchestrator.cli.consortium.rewards.common import (
    RewardsOption,
    opened_rewards,
    sender_of,
    shares_json,
    show_shares,
)
from fl_orchestrator.cli.consortium.signatures import read_signature, write_signature
from fl_orchestrator.cli.site import (
    DryRunOption,
    Endpoint,
    Holder,
    Payer,
    open_signer,
    with_options,
)
from fl_orchestrator.errors import ChainError, InputError
from fl_orchestrator.model.protocol import MAX_VALID_DAYS
from fl_orchestrator.units import parse_ether

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation
    from fl_orchestrator.chain.shares.shares import RewardShares
    from fl_orchestrator.cli.consortium.rewards.proposal import Proposal, Source
    from fl_orchestrator.members.shares import OpenShares, Quorum

_ALL_SIGN_THE_SAME: Final = "All must sign the same file of shares; a seat may have changed since."

FileArgument = Annotated[Path, typer.Argument(help="What `flo rewards propose` has written.")]


class NotSigned(ChainError):
    """The signatures are not those of a quorum, or the key has no seat."""


@with_options
def propose(
    source: Annotated[
        Path,
        typer.Argument(
            help="The output of `flo report --contributions --json`, or a list with the columns "
            "account and amount (in ETH), as CSV or JSON."
        ),
    ],
    site: Endpoint,
    rewards: RewardsOption = "",
    amount: Annotated[
        str,
        typer.Option(
            metavar="ETH",
            help="What is divided in proportion to the contributions; the most that a list may "
            "sum to. Default: the pot.",
        ),
    ] = "",
    from_round: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Default: after the last round that was distributed for."
        ),
    ] = None,
    to_round: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Default: the last final round in the report."),
    ] = None,
    valid: Annotated[
        int,
        typer.Option(
            metavar="DAYS", min=1, max=MAX_VALID_DAYS, help="How long the signatures are good."
        ),
    ] = 30,
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("shares.json"),
    json_output: JsonOption = False,
) -> None:
    """Write the shares that aggregators then sign, in proportion to what parties contributed.

    Negative contributions count as zero, and amounts are rounded down to a wei. It needs no key,
    and commits nobody to anything.

    Example: flo rewards propose report.json --amount 1.5 --output shares.json
    """
    with interruptible("Nothing was written."):
        from fl_orchestrator.chain.shares.types import Shares
        from fl_orchestrator.cli.consortium.rewards.proposal import Proposal, read_source
        from fl_orchestrator.members.shares import require_payable

        home, opened = opened_rewards(site, rewards)
        contract = opened.contract
        read = read_source(source, home)
        divide = parse_ether(amount) if amount else contract.pot()
        first, last = _rounds(opened, read, from_round, to_round)
        now = home.read_observation(contract.address).timestamp
        shares = Shares(
            contract.number(),
            first,
            last,
            now + valid * DAY_SECONDS,
            read.digest(first, last),
            read.shares(first, last, divide),
        )
        require_payable(contract, home, shares)
        Proposal(shares, divide).write(output, contract)
    show_shares(shares, json_output)
    if not json_output:
        say(f"Written to {safe(output)}. Next: each aggregator runs `flo rewards sign`.")


@with_options
def sign(
    file: FileArgument,
    site: Holder,
    output: Annotated[Path, typer.Option(help="The file to write the signature into.")],
    rewards: RewardsOption = "",
    source: Annotated[
        Path | None,
        typer.Option(
            help="What the amounts follow: your own report on the same data, or the list. Shares "
            "that do not follow from it are refused."
        ),
    ] = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Sign shares as one of the aggregators, after comparing them with the chain.

    Refused are shares with another number than the next distribution, beyond the pot, for rounds
    that are not final, and for accounts that never registered. Nothing is sent.

    Example: flo rewards sign shares.json --source report.json --output mine.json
    """
    with interruptible("Nothing was signed."):
        home, opened = opened_rewards(site, rewards)
        contract = opened.contract
        proposal = _checked(file, home, contract)
        if source is not None:
            from fl_orchestrator.cli.consortium.rewards.proposal import read_source

            proposal.require_from(read_source(source, home))
        shares = proposal.shares
        signer = open_signer(site.key, site.password_file)
        if not any(seat.account == signer.address and seat.stake for seat in contract.seats()):
            raise NotSigned(
                f"{signer.address} has no seat whose signature counts now.",
                "Sign with an aggregator's key. A stake counts from the next round on, and not "
                "while it unbonds.",
            )
        show_shares(shares, json_output)
        if dry_run:
            return
        signed = contract.sign(signer, shares)
        write_signature(output, contract.digest(shares), signer.address, signed)
    if not json_output:
        say(f"Signed, in {safe(output)}.")


@with_options
def distribute(
    file: FileArgument,
    site: Payer,
    signature: Annotated[
        list[Path],
        typer.Option(help="What `flo rewards sign` has written. Repeat it for every one."),
    ],
    rewards: RewardsOption = "",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Credit shares that a quorum has signed. By anyone who has the signatures.

    The signers need more than two thirds of the stake, and have to be more than half of the
    aggregators.

    Example: flo rewards distribute shares.json --signature a.json --signature b.json
    """
    with interruptible("Run the same command again: a distribution is done once."):
        from fl_orchestrator.members.shares import Quorum

        home, opened = opened_rewards(site, rewards)
        contract = opened.contract
        shares = _checked(file, home, contract).shares
        seats = contract.seats()
        places = {seat.account: seat.number for seat in seats}
        digest = contract.digest(shares)
        command = "flo rewards sign --output"
        given = dict(
            read_signature(path, digest, places, command, _ALL_SIGN_THE_SAME) for path in signature
        )
        quorum = Quorum.of(seats, given)
        if not quorum.is_reached:
            raise _no_quorum(quorum)
        sender = sender_of(site, home, contract.reverts)
        call = contract.distribute(shares, given)
        gas = sender.check(call) if dry_run else sender.send(call).gas_used
    if json_output:
        signers = [seat.account for seat in quorum.signed]
        print_json({**shares_json(shares), "signers": signers, "gas": gas, "dry_run": dry_run})
    else:
        would = "Would credit" if dry_run else "Credited"
        accounts = len(shares.parts)
        say(f"{would} {ether(shares.total)} to {accounts} accounts; {gas:,} gas.")
        if not dry_run:
            say("Each has it paid with `flo rewards withdraw`.")


def _rounds(
    opened: OpenShares, read: Source, first: int | None, last: int | None
) -> tuple[int, int]:
    """The rounds to pay for: those that were asked for, or what is final and not yet paid for."""
    contract = opened.contract
    if first is None:
        done = [one.to_round for one in contract.distributions(opened.from_block)]
        first = max(done, default=0) + 1
    if last is None:
        final = contract.final_round()
        last = final if read.last_round is None else min(final, read.last_round)
    if first > last:
        raise InputError(
            f"No round from {first} on is final, and in the report.",
            "Wait for one, or name rounds with --from-round and --to-round.",
        )
    return first, last


def _checked(file: Path, home: Federation, contract: RewardShares) -> Proposal:
    """The proposal in a file, which the contract would take with a quorum."""
    from fl_orchestrator.cli.consortium.rewards.proposal import Proposal
    from fl_orchestrator.members.shares import require_payable

    proposal = Proposal.read(file, contract)
    require_payable(contract, home, proposal.shares)
    return proposal


def _no_quorum(quorum: Quorum) -> NotSigned:
    everybody = (*quorum.signed, *quorum.missing)
    stake, total = (sum(s.stake for s in seats) for seats in (quorum.signed, everybody))
    missing = ", ".join(seat.account for seat in quorum.missing)
    return NotSigned(
        f"{len(quorum.signed)} of {len(everybody)} aggregators have signed, with {ether(stake)} of "
        f"{ether(total)}. More than half of them are needed, with more than two thirds.",
        f"These have not signed: {missing}.",
    )
