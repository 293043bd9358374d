"""Which aggregators a party trusts together with its updates, in a private federation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fl_orchestrator.cli.console import err
from fl_orchestrator.cli.site import parse_address, shared

if TYPE_CHECKING:
    from fl_orchestrator.chain.contract.federation import Federation

TrustOption = Annotated[
    str,
    shared(
        "--trust",
        "In a private federation: the accounts of the aggregators that this site trusts. It sits "
        "out if the others could together read its update. Default: all that the owner admits.",
        metavar="ACCOUNTS",
        show_default=False,
    ),
]


def parse_trust(text: str) -> frozenset[str] | None:
    """The accounts of a list with commas; None if it is empty. Raises InputError."""
    accounts = [account for part in text.split(",") if (account := part.strip())]
    return frozenset(map(parse_address, accounts)) if accounts else None


def warn_of_trust(chain: Federation, trusted: frozenset[str] | None) -> None:
    """Name trusted accounts that are no aggregators here: perhaps they are mistyped."""
    from fl_orchestrator.chain.contract.private import PrivateFederation

    if trusted is None:
        return
    if not isinstance(chain, PrivateFederation):
        err.print(
            "[yellow]--trust has no effect:[/] this federation is not private, so whoever reads "
            "the store reads every update.",
            soft_wrap=True,
        )
        return
    for account in sorted(trusted):
        if not chain.observe(account).aggregator.stake:
            err.print(
                f"[yellow]{account} is not an aggregator of this federation now:[/] check --trust.",
                soft_wrap=True,
            )
