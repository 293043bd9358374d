"""Connects to a chain by its JSON-RPC endpoints."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from web3 import Web3
from web3.middleware import ExtraDataToPOAMiddleware

from fl_orchestrator.chain.nodes.endpoints import FailoverProvider, RpcUnavailable, WrongChain
from fl_orchestrator.errors import InputError
from fl_orchestrator.transport.http import shown_url

__all__ = ["RpcUnavailable", "WrongChain", "connect"]


def connect(rpc: str | Sequence[str], expected_chain_id: int | None = None) -> Web3:
    """A connection to a chain by the http(s) URLs of its endpoints: one, or several with commas.

    The first that answers is used until it fails, then the next one that serves the same chain.
    Raises InputError for another kind of URL, RpcUnavailable and WrongChain, also whenever the
    connection is used.
    """
    urls = rpc.split(",") if isinstance(rpc, str) else rpc
    urls = [url.strip() for url in urls]
    for url in urls or [""]:
        shown = shown_url(url)
        if not shown.startswith(("http://", "https://")):
            raise InputError(
                f"{shown} is not an http(s) URL.", "Example: --rpc http://127.0.0.1:8545"
            )
    # Where a node has no such method, web3 says so at every transaction; nobody has to do anything.
    warnings.filterwarnings("ignore", "There was an issue with the method eth_max", UserWarning)
    web3 = Web3(FailoverProvider(urls, expected_chain_id))
    # Where validators sign the blocks, extraData is longer than web3 otherwise accepts.
    web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    # Now, rather than in the middle of something.
    _ = web3.eth.chain_id
    return web3
