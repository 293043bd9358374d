"""The federations that a federation goes on from, for the commands that check it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from fl_orchestrator.cli.console import progress, quiet_if, say, short
from fl_orchestrator.cli.site import Reader, deployed_at

if TYPE_CHECKING:
    from fl_orchestrator.audit.federation import Federation
    from fl_orchestrator.audit.lineage import Ancestor
    from fl_orchestrator.chain.nodes.node import Node
    from fl_orchestrator.model.digests import Result

AncestorRpcOption = Annotated[
    str,
    typer.Option(
        metavar="URLS",
        help="Endpoints of the chains of the federations that it goes on from, where they are "
        "other chains, separated by commas.",
    ),
]


def say_equal(result: Result) -> None:
    root = short("0x" + result.global_root.hex())
    updates = f"{result.included.bit_count():>3} updates"
    say(f"round {result.round:>4}  {updates}  root {root}  recomputed and equal")


def rounds_json(results: list[Result]) -> list[dict[str, object]]:
    return [
        {
            "round": one.round,
            "updates": one.included.bit_count(),
            "root": "0x" + one.global_root.hex(),
        }
        for one in results
    ]


def follow_lineage(
    federation: Federation, site: Reader, rpc: str, json_output: bool
) -> list[dict[str, object]]:
    """Check the federations before this one, the nearest first, and show them; returns the JSON."""
    return [_checked(ancestor, json_output) for ancestor in line_of(federation, site, rpc)]


def line_of(federation: Federation, site: Reader, rpc: str) -> Iterator[Ancestor]:
    """The federations before this one, as `ancestors` gives them, on its chain or those at URLs."""
    from fl_orchestrator.audit.lineage import ancestors

    chains = _chains(federation.chain.node, rpc)
    return ancestors(federation, chains, lambda chain: deployed_at(chain, site.deployments))


def _chains(own: Node, rpc: str) -> Callable[[int], Node | None]:
    from fl_orchestrator.chain.nodes.connect import reach

    nodes = {own.chain_id: own}
    for url in filter(None, (part.strip() for part in rpc.split(","))):
        node = reach(url)
        nodes.setdefault(node.chain_id, node)
    return nodes.get


def _checked(ancestor: Ancestor, json_output: bool) -> dict[str, object]:
    lineage, before = ancestor.lineage, ancestor.federation
    shown: dict[str, object] = {
        "chain_id": lineage.chain_id,
        "federation": lineage.federation,
        "height": lineage.height,
        "root": "0x" + lineage.root,
        "followed": before is not None,
    }
    where = f"{lineage.federation} on chain {lineage.chain_id}"
    if before is None:
        if not json_output:
            say(
                f"Goes on from {where}, height {lineage.height}: not followed. Give --ancestor-rpc "
                "with an endpoint of that chain."
            )
        return shown
    if not json_output:
        say(
            f"Goes on from {where} (version {before.chain.version}), height {lineage.height}: the "
            "first model is its final one."
        )
    rounds = []
    with progress(quiet_if(json_output), "recomputing", lineage.height) as advance:
        for result in before.checks(up_to=lineage.height):
            rounds.append(result)
            advance()
            if not json_output:
                say_equal(result)
    shown |= {
        "federation": before.address,
        "version": before.chain.version,
        "rounds": rounds_json(rounds),
    }
    return shown
