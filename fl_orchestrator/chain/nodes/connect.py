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
    """Connect to a chain by the http(s) URLs of its endpoints: one, or several with commas.

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
    # web3 warns at every transaction if the node lacks this method; the user need not act on it.
    warnings.filterwarnings("ignore", "There was an issue with the method eth_max", UserWarning)
    web3 = Web3(FailoverProvider(urls, expected_chain_id))
    # On chains with proof of authority, extraData is longer than web3 accepts by default.
    web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    # Check the connection and the chain id now, so that errors appear at the start.
    _ = web3.eth.chain_id
    return web3
