"""`flo keeper`: open rounds, relay messages, make rounds final and distribute rewards."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fl_orchestrator.cli.console import JsonOption, err, interruptible, print_json, say
from fl_orchestrator.cli.following import head_json
from fl_orchestrator.cli.groups import Noun
from fl_orchestrator.cli.roles.service import ServiceSite
from fl_orchestrator.cli.site import with_options
from fl_orchestrator.errors import ToolchainError, install_hint

if TYPE_CHECKING:
    from fl_orchestrator.chain.types import Observation
    from fl_orchestrator.content.store import ContentStore
    from fl_orchestrator.relay.service import RelayServer
    from fl_orchestrator.roles.relay import Mailbox
    from fl_orchestrator.service.process import Process

_ANY_PORT: Final = "127.0.0.1:0"

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


KafkaOption = Annotated[
    str,
    typer.Option(
        "--kafka-relay",
        help="Accept the same through topics of a Kafka broker, for parties that reach only that.",
        metavar="kafka://HOST:PORT/TOPIC",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperSite(ServiceSite):
    """The options of a keeper. Its --relay is the address to listen on; only that needs a store."""

    relay: ListenOption = ""
    kafka_relay: KafkaOption = ""

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
        site.running("keeper", show=True) as process,
        _mailbox(process, site) as mailbox,
    ):
        from fl_orchestrator.members.keeper import Keeper

        Keeper(process, mailbox=mailbox).run(rounds, settle=settle)
        seen = process.chain.observe(process.sender.address)
    _show(seen, json_output)


@contextlib.contextmanager
def _mailbox(process: Process, site: KeeperSite) -> Iterator[Mailbox]:
    """The mailbox of the relay's messages: in a file, and filled over HTTP if --relay is given."""
    from fl_orchestrator.roles.relay import Mailbox

    if not site.relay and not site.kafka_relay:
        yield Mailbox()
        return
    try:
        from fl_orchestrator.relay.box import StoredMailbox
        from fl_orchestrator.relay.service import RelayServer, relay_app
        from fl_orchestrator.relay.serving import serving
    except ModuleNotFoundError as error:
        raise ToolchainError(
            f"A relay needs the Python package {error.name}, which is not installed.",
            install_hint("relay"),
        ) from error
    from fl_orchestrator.service.listen import parse_listen

    # A connection of its own, so that the relay's threads do not wait for the keeper's requests.
    chain = process.waiting.until_had("the chain", site.open_federation)
    chain.share()  # all parties of a round post
    manifest = process.manifest()
    with contextlib.closing(StoredMailbox(process.home / "relay" / "box.sqlite")) as box:
        relay = RelayServer.of(chain, process.store, manifest, box, process.home / "relay")
        listen = parse_listen(site.relay or _ANY_PORT)
        with serving(relay_app(relay), *listen) as url, _bridged(site, relay, url):
            if site.relay:
                err.print(f"The relay is at {url}.")
            yield box


@contextlib.contextmanager
def _bridged(site: KeeperSite, relay: RelayServer, url: str) -> Iterator[None]:
    """The relay behind Kafka too, if --kafka-relay is given."""
    if not site.kafka_relay:
        yield
        return
    from fl_orchestrator.tracking.kafka_address import kafka_address

    settings, topic = kafka_address(site.kafka_relay)
    try:
        from fl_orchestrator.relay.kafka.bridge import Bridge, bridged
    except ModuleNotFoundError as error:
        raise ToolchainError(
            f"A relay behind Kafka needs the package {error.name}, which is not installed.",
            install_hint("relay,kafka"),
        ) from error
    with bridged(Bridge(settings, topic, url, relay.federation.address, relay.max_content_bytes)):
        err.print(f"The relay is behind {site.kafka_relay.partition('?')[0]}.")
        yield


def _show(seen: Observation, json_output: bool) -> None:
    phase = seen.current.phase.name.lower()
    if json_output:
        print_json({"round": seen.current.round, "phase": phase, **head_json(seen)})
        return
    say(
        f"Round {seen.current.round} is {phase}; the head is the model "
        f"of round {seen.head.round}, {seen.head.cid}."
    )
