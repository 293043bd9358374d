"""Connects to a JSON-RPC endpoint, with every failure of the wire as one clear error."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import requests
from web3 import HTTPProvider, Web3
from web3.exceptions import Web3Exception
from web3.providers.rpc.utils import ExceptionRetryConfiguration
from web3.types import RPCEndpoint, RPCResponse

from fl_orchestrator.errors import ChainError, InputError

_TIMEOUT_SECONDS: Final = 20.0
# Of requests that a busy node has turned away (HTTP 429, 503); a silent one is not asked again.
_ATTEMPTS: Final = 4


class RpcUnavailable(ChainError):
    """The endpoint does not answer, or not with JSON-RPC."""


class WrongChain(ChainError):
    """The endpoint serves another chain than the one expected."""


class _Provider(HTTPProvider):
    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        endpoint = _shown(str(self.endpoint_uri))
        try:
            response = super().make_request(method, params)
        except requests.RequestException as error:
            # Without their cause: its text has the whole URL, and often a key in it.
            if error.response is not None:
                raise RpcUnavailable(
                    f"The RPC endpoint {endpoint} refuses requests: HTTP status "
                    f"{error.response.status_code}.",
                    "Check --rpc, and the key in it.",
                ) from None
            raise RpcUnavailable(
                f"The RPC endpoint {endpoint} does not answer.", "Start the node, or check --rpc."
            ) from None
        except ValueError as error:
            raise _not_json_rpc(endpoint) from error
        if not isinstance(response, dict) or response.keys().isdisjoint(("result", "error")):
            raise _not_json_rpc(endpoint)
        return response


def connect(url: str, expected_chain_id: int | None = None) -> Web3:
    """A connection to the JSON-RPC endpoint at an http(s) URL.

    Raises InputError for another kind of URL, RpcUnavailable and WrongChain.
    """
    shown = _shown(url)
    if not shown.startswith(("http://", "https://")):
        raise InputError(f"{shown} is not an http(s) URL.", "Example: --rpc http://127.0.0.1:8545")
    retries = ExceptionRetryConfiguration(errors=[requests.HTTPError], retries=_ATTEMPTS)
    provider = _Provider(
        url,
        request_kwargs={"timeout": _TIMEOUT_SECONDS},
        exception_retry_configuration=retries,
    )
    web3 = Web3(provider)
    try:
        chain_id = web3.eth.chain_id
    except (Web3Exception, ValueError, TypeError) as error:
        raise _not_json_rpc(shown) from error
    if not isinstance(chain_id, int) or chain_id < 1:
        raise _not_json_rpc(shown)
    if expected_chain_id is not None and chain_id != expected_chain_id:
        raise WrongChain(f"{shown} serves chain {chain_id}, not {expected_chain_id}.")
    return web3


def _not_json_rpc(endpoint: str) -> RpcUnavailable:
    return RpcUnavailable(f"{endpoint} does not speak Ethereum's JSON-RPC.", "Check --rpc.")


def _shown(url: str) -> str:
    """The URL without credentials or keys, which often stand in its user part, path or query."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "The given text"
    return f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else "The given text"
