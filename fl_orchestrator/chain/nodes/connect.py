"""Connects to a chain by its JSON-RPC endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fl_orchestrator.chain.nodes.endpoints import Endpoints, RpcUnavailable, WrongChain
from fl_orchestrator.chain.nodes.node import Node
from fl_orchestrator.errors import InputError
from fl_orchestrator.transport.http import shown_url

if TYPE_CHECKING:
    from web3 import Web3

__all__ = ["RpcUnavailable", "WrongChain", "connect", "reach"]


def reach(rpc: str | Sequence[str], expected_chain_id: int | None = None) -> Node:
    """Reach a chain by the http(s) URLs of its endpoints: one, or several with commas.

    The first endpoint that responds is used until it fails, then the next one of the same chain.
    Raises InputError for another kind of URL, RpcUnavailable and WrongChain; later use of the
    connection raises the latter two as well.
    """
    urls = rpc.split(",") if isinstance(rpc, str) else rpc
    urls = [url.strip() for url in urls]
    for url in urls or [""]:
        shown = shown_url(url)
        if not shown.startswith(("http://", "https://")):
            raise InputError(
                f"{shown} is not an http(s) URL.", "Example: --rpc http://127.0.0.1:8545"
            )
    node = Node(Endpoints(urls, expected_chain_id))
    # Check the connection and the chain id now, so that errors appear at the start.
    _ = node.chain_id
    return node


def connect(rpc: str | Sequence[str], expected_chain_id: int | None = None) -> Web3:
    """The chain as web3.py has it, for those who send; raises what `reach` raises."""
    return reach(rpc, expected_chain_id).web3
