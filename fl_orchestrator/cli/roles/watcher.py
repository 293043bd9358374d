"""`flo watcher`: compute every model again, and have wrong ones revoked."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from fl_orchestrator.cli.console import JsonOption, interruptible, out, print_json, safe, say
from fl_orchestrator.cli.following import head_json
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.roles.service import (
    SAFE_TO_STOP,
    BlockTimeoutOption,
    OnceOption,
    ServiceSite,
)
from fl_orchestrator.cli.site import TIMEOUT_DEFAULT, with_options
from fl_orchestrator.errors import VerificationError
from fl_orchestrator.units import parse_ether

if TYPE_CHECKING:
    from fl_orchestrator.roles.watcher.alerts import Alert

app = Noun("Check every model, and have wrong ones revoked. Anyone can.")


@app.command()
@with_options
def run(
    site: ServiceSite,
    max_bond: Annotated[
        str,
        typer.Option(
            metavar="ETH",
            help="The largest bond for one demand. It is refunded if the model was wrong. "
            "Default: the account's balance, less the gas for a proof.",
        ),
    ] = "",
    keep_all: Annotated[
        bool,
        typer.Option(
            "--keep-all",
            help="Unpin nothing: keep an archive with which auditors can check every round. "
            "It needs a store that no other role unpins from.",
        ),
    ] = False,
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            "--mirror",
            metavar="URL[#ADDRESS]",
            help="Guard a mirror too: an RPC endpoint of its chain, and its address if it is not "
            "recorded. The account needs coin there. Repeat it for several.",
        ),
    ] = None,
    once: OnceOption = False,
    timeout: BlockTimeoutOption = TIMEOUT_DEFAULT,
    json_output: JsonOption = False,
) -> None:
    """Compute every accepted model again, from the first round on, and every new one.

    If a model is wrong, proves it to the contract, which revokes the model and slashes its signers;
    this account gets half of that stake. It needs coin for gas, and for bonds where nobody shows
    a model. A model that cannot be checked raises an alert on stderr; with --once it also makes the
    exit code 1. Safe to interrupt and to repeat.

    Example: flo watcher run --key watcher.json --store file:///srv/flo
    """
    with interruptible(SAFE_TO_STOP), site.running("watcher", once=once, show=not once) as process:
        from fl_orchestrator.members.mirrors import open_mirror
        from fl_orchestrator.members.watcher import Watcher

        places = mirror or []
        opened = [partial(open_mirror, place, site.deployments, process.chain) for place in places]
        mirrors = [process.waiting.until_had("the mirror", one) for one in opened]
        bond = parse_ether(max_bond) if max_bond else None
        role = Watcher(process, max_bond=bond, keep_all=keep_all, mirrors=mirrors)
        done = role.run(once=once, timeout=timeout)
        seen = process.chain.observe(process.sender.address)
        unchecked = role.unchecked_rounds
        doubts = role.doubts
    checked, alerts = done.pop("check", 0), role.alerts
    if json_output:
        shown = [alert.to_json() for alert in alerts]
        print_json(
            {
                "checked": checked,
                "unchecked_rounds": unchecked,
                "sent": dict(done),
                "alerts": shown,
                "mirror_doubts": doubts,
                **head_json(seen),
            }
        )
    else:
        _show(checked, unchecked, done, alerts)
        for doubt in doubts:
            out.print(f"[bold red]Alert[/] (mirror): {safe(doubt)}", soft_wrap=True)
    if doubts or any(alert.is_doubt for alert in alerts):
        raise typer.Exit(VerificationError.exit_code)


def _show(
    checked: int, unchecked: tuple[int, ...], sent: dict[str, int], alerts: tuple[Alert, ...]
) -> None:
    say(f"Models computed again: {checked}.")
    if unchecked:
        say(
            f"[yellow]Not checked:[/] {len(unchecked)} rounds that are final, the last of them "
            f"round {unchecked[-1]}: their data is no longer available, and nobody has to keep it."
        )
    if sent:
        say("Sent: " + ", ".join(f"{label} {count}" for label, count in sent.items()) + ".")
    for alert in alerts:
        out.print(f"[bold red]Alert[/] ({alert.kind}): {safe(alert.message)}", soft_wrap=True)
        for signer in alert.signers:
            seat = "has left" if signer.seat is None else f"seat {signer.seat}"
            out.print(f"  signed by {signer.address} ({seat})", soft_wrap=True)
    if not any(alert.is_doubt for alert in alerts):
        say(f"[green]Every model that {'was checked' if unchecked else 'stands'} is right.[/]")
