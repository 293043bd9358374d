"""web3's view of the endpoints of a chain."""

from __future__ import annotations

import warnings
from typing import Any

from web3 import Web3
from web3.middleware import ExtraDataToPOAMiddleware
from web3.providers import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from fl_orchestrator.chain.nodes.endpoints import Endpoints


class FailoverProvider(JSONBaseProvider):
    """Asks the endpoint that worked last, and the others if it fails."""

    def __init__(self, endpoints: Endpoints) -> None:
        super().__init__()
        self.endpoints = endpoints

    def __str__(self) -> str:
        return str(self.endpoints)

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Raises what `Endpoints.answer` raises."""
        return self.endpoints.answer(method, self.encode_rpc_request(method, params))


def web3_of(endpoints: Endpoints) -> Web3:
    """A Web3 that asks these endpoints."""
    # web3 warns at every transaction if the node lacks this method; the user need not act on it.
    warnings.filterwarnings("ignore", "There was an issue with the method eth_max", UserWarning)
    web3 = Web3(FailoverProvider(endpoints))
    # On chains with proof of authority, extraData is longer than web3 accepts by default.
    web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    return web3
