"""`flo keeper`: open rounds, relay messages, make rounds final and distribute rewards."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from fl_orchestrator.cli.console import JsonOption, err, interruptible, print_json, say
from fl_orchestrator.cli.following import head_json
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.roles.service import Process, ServiceSite
from fl_orchestrator.cli.site import with_options
from fl_orchestrator.errors import ToolchainError

if TYPE_CHECKING:
    from fl_orchestrator.chain.types import Observation
    from fl_orchestrator.content.store import ContentStore
    from fl_orchestrator.roles.relay import Mailbox

app = Noun("Open rounds and bring them to their end. Anyone can.")

ListenOption = Annotated[
    str,
    typer.Option(
        "--relay",
        help="Accept messages and updates from parties over HTTP here. Needs a --store.",
        metavar="[HOST:]PORT",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperSite(ServiceSite):
    """The options of a keeper. Its --relay is the address to listen on; only that needs a store."""

    relay: ListenOption = ""

    def open_store(self) -> ContentStore:
        return ServiceSite.open_store(dataclasses.replace(self, relay=""))


@app.command()
@with_options
def run(
    site: KeeperSite,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after this many rounds. Default: never."),
    ] = None,
    settle: Annotated[
        bool,
        typer.Option(
            "--settle", help="With --rounds: stop when they are final and their rewards credited."
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Open the next rounds, bring them to their end, and distribute their rewards.

    With --relay it also accepts signed messages and updates, so that parties need no coin and only
    outbound HTTP. It listens on loopback unless a host is given, without TLS: put a reverse proxy
    in front of it. Safe to interrupt and to repeat.

    Example: flo keeper run --key keeper.json --rounds 10
    """
    sentence = "Run the same command again to continue; any other keeper can continue too."
    with (
        interruptible(sentence),
        site.running("keeper") as process,
        _mailbox(process, site) as mailbox,
    ):
        from fl_orchestrator.chain.contract.private import PrivateFederation
        from fl_orchestrator.chain.types import Phase
        from fl_orchestrator.roles.keeper.keeper import Keeper
        from fl_orchestrator.roles.keeper.private import PrivateKeeper

        ended = (Phase.IDLE, Phase.ACCEPTED, Phase.VOID)
        current = process.observe().current
        begun = 0 if current.phase in ended else 1
        last = None if rounds is None else current.round + rounds - begun
        kind = PrivateKeeper if isinstance(process.chain, PrivateFederation) else Keeper
        keeper = kind(
            process.chain,
            process.sender,
            mailbox,
            process.deployed_at,
            lambda round_number: last is None or round_number <= last,
            process.metrics,
            time.monotonic,
        )

        def finished() -> bool:
            seen = process.chain.last_seen
            if last is None or seen is None or seen.current.round < last:
                return False
            return seen.current.phase in ended and (not settle or keeper.has_settled(seen))

        process.serve(keeper, finished=finished)
        seen = process.chain.observe(process.sender.address)
    _show(seen, json_output)


@contextlib.contextmanager
def _mailbox(process: Process, site: KeeperSite) -> Iterator[Mailbox]:
    """The mailbox of the relay's messages: in a file, and filled over HTTP if --relay is given."""
    from fl_orchestrator.roles.relay import Mailbox

    if not site.relay:
        yield Mailbox()
        return
    try:
        from fl_orchestrator.relay.box import StoredMailbox
        from fl_orchestrator.relay.service import RelayServer, relay_app
        from fl_orchestrator.relay.serving import serving
    except ModuleNotFoundError as error:
        raise ToolchainError(
            f"A relay needs the Python package {error.name}, which is not installed.",
            "Install it with: pip install 'fl-orchestrator[relay]'.",
        ) from error
    from fl_orchestrator.service.metrics import parse_listen

    # A connection of its own, so that the relay's threads do not wait for the keeper's requests.
    chain = process.waiting.until_had("the chain", site.open_federation)
    manifest = process.manifest()
    with contextlib.closing(StoredMailbox(process.home / "relay" / "box.sqlite")) as box:
        relay = RelayServer.of(chain, process.store, manifest, box, process.home / "relay")
        with serving(relay_app(relay), *parse_listen(site.relay)) as url:
            err.print(f"The relay is at {url}.")
            yield box


def _show(seen: Observation, json_output: bool) -> None:
    phase = seen.current.phase.name.lower()
    if json_output:
        print_json({"round": seen.current.round, "phase": phase, **head_json(seen)})
        return
    say(
        f"Round {seen.current.round} is {phase}; the head is the model "
        f"of round {seen.head.round}, {seen.head.cid}."
    )
