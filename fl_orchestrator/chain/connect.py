"""Connects to a JSON-RPC endpoint, with every failure of the wire as one clear error."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from web3 import HTTPProvider, Web3
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint, RPCResponse

from fl_orchestrator.errors import ChainError, InputError

_TIMEOUT_SECONDS: Final = 20.0


class RpcUnavailable(ChainError):
    """The endpoint does not answer, or not with JSON-RPC."""


class WrongChain(ChainError):
    """The endpoint serves another chain than the one expected."""


class _Provider(HTTPProvider):
    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        try:
            return super().make_request(method, params)
        except (requests.RequestException, json.JSONDecodeError, OSError) as error:
            raise RpcUnavailable(
                f"The RPC endpoint {_shown(str(self.endpoint_uri))} does not answer.",
                "Start the node, or check --rpc.",
            ) from error


def connect(url: str, expected_chain_id: int | None = None) -> Web3:
    """A connection to the JSON-RPC endpoint at an http(s) URL.

    Raises InputError for another kind of URL, RpcUnavailable and WrongChain.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise InputError(f"{url!r} is not an http(s) URL.", "Example: --rpc http://127.0.0.1:8545")
    web3 = Web3(_Provider(url, request_kwargs={"timeout": _TIMEOUT_SECONDS}))
    try:
        chain_id = web3.eth.chain_id
    except (Web3Exception, ValueError, TypeError, KeyError) as error:
        raise RpcUnavailable(
            f"{_shown(url)} does not speak Ethereum's JSON-RPC.", "Check --rpc."
        ) from error
    if expected_chain_id is not None and chain_id != expected_chain_id:
        raise WrongChain(f"{_shown(url)} serves chain {chain_id}, not {expected_chain_id}.")
    return web3


def _shown(url: str) -> str:
    """The URL without credentials or keys, which often stand in its user part, path or query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
