"""Several JSON-RPC endpoints of one chain, with failover between them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import requests
from pydantic_core import from_json

from fl_orchestrator.chain.nodes.refusal import RequestRefused
from fl_orchestrator.errors import ChainError
from fl_orchestrator.json_text import to_json
from fl_orchestrator.log import get_logger
from fl_orchestrator.transport.http import Session, TooMuch, post, shown_text, shown_url

if TYPE_CHECKING:
    from web3.types import RPCError, RPCResponse

_log = get_logger(__name__)

_TIMEOUT_SECONDS: Final = 20.0
# Limits of the retries over all endpoints: the number of passes, and the time after which no new
# pass starts, so that an endpoint that does not respond is waited for only once.
_ATTEMPTS: Final = 4
_FIRST_PAUSE_SECONDS: Final = 0.25
# Enough for the events of some thousand reveals. Parsed JSON takes up to thirty times the memory.
_MAX_ANSWER_BYTES: Final = 8 << 20
# HTTP status codes that concern the server; other ones may concern the request.
_BUSY_OR_CLOSED: Final = frozenset({401, 403, 404, 407, 408, 429, 502, 503, 504})

# HTTP status codes with which a provider, or a proxy, refuses a search for events as too wide.
_TOO_WIDE: Final = frozenset({403, 413, 429, 504})
_TOO_MANY: Final = 429
# JSON-RPC errors, mostly with status 200, that mean a rate limit: these codes, or these words with
# a code that has other meanings as well (-32005 is also "too wide").
_RATE_LIMITED: Final = frozenset({429, -32007, -32029, -32097})
_LIMITED_WORDS: Final = re.compile(
    r"rate.?limit|too many requests|request (?:count|rate|limit)|requests? per|per second"
    r"|quota|credits|capacity|throttl",
    re.IGNORECASE,
)
# With these words the error concerns the request, not a rate limit.
_RANGE_WORDS: Final = re.compile(r"range|block|result|response size", re.IGNORECASE)
_REVERT_WORDS: Final = re.compile(r"revert", re.IGNORECASE)
# EIP-4444: the node has deleted (pruned) the requested data.
_PRUNED: Final = 4444

# JSON-RPC 2.0, section 5.1.
_INTERNAL_ERROR: Final = -32603

_CHAIN_ID: Final = "eth_chainId"
_GET_LOGS: Final = "eth_getLogs"
_WEI: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")
# No chain counts further than 2^64, and no gas costs 2^128 wei. With more, a product of two such
# numbers would exceed every type that a transaction, or the text of an error, can be made of.
_COUNT: Final = re.compile(r"0x0*[0-9a-fA-F]{1,16}")
_PRICE: Final = re.compile(r"0x0*[0-9a-fA-F]{1,32}")
_DATA: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_HASH: Final = re.compile(r"0x[0-9a-fA-F]{64}")
# One in each line.
_HEXADECIMALS: Final = re.compile(r"0x[0-9a-fA-F]*(?:\n0x[0-9a-fA-F]*)*")
_RESULTS: Final[dict[str, re.Pattern[str]]] = {
    "eth_blockNumber": _COUNT,
    "eth_call": _DATA,
    _CHAIN_ID: _COUNT,
    "eth_estimateGas": _COUNT,
    "eth_gasPrice": _PRICE,
    "eth_getBalance": _WEI,
    "eth_getCode": _DATA,
    "eth_getTransactionCount": _COUNT,
    "eth_maxPriorityFeePerGas": _PRICE,
    "eth_sendRawTransaction": _HASH,
}
_BLOCK: Final = {"number": _COUNT, "hash": _HASH, "timestamp": _COUNT}
# Methods that return an object or null, and the required fields of the object.
_OBJECTS: Final[dict[str, dict[str, re.Pattern[str]]]] = {
    "eth_getBlockByHash": _BLOCK,
    "eth_getBlockByNumber": _BLOCK,
    "eth_getTransactionByHash": {"hash": _HASH, "nonce": _COUNT},
    "eth_getTransactionReceipt": {
        "blockNumber": _COUNT,
        "blockHash": _HASH,
        "gasUsed": _COUNT,
        "status": _COUNT,
    },
}
# Fields that an object need not have.
_OPTIONAL: Final = {
    "baseFeePerGas": _PRICE,
    "effectiveGasPrice": _PRICE,
    "gasLimit": _COUNT,
    "logsBloom": _DATA,
    "parentHash": _HASH,
}
_LOG: Final = {
    "address": _ADDRESS,
    "blockHash": _HASH,
    "blockNumber": _COUNT,
    "data": _DATA,
    "logIndex": _COUNT,
    "transactionHash": _HASH,
    "transactionIndex": _COUNT,
}


class RpcUnavailable(ChainError):
    """No endpoint responds, or none responds with JSON-RPC."""


class AnswerTooLarge(RpcUnavailable):
    """The response exceeds the limit: the request asks for too much, or the server attacks."""


class SearchTooWide(RpcUnavailable):
    """A search for events was refused by an HTTP status; a narrower search may succeed."""


class HistoryPruned(RpcUnavailable):
    """The node has pruned the blocks that the request is about; a retry does not help."""


class WrongChain(ChainError):
    """The endpoint serves another chain than the one expected."""


class _Endpoint:
    """One endpoint. ``trusted``: it has served the expected chain, and has not failed since.

    Its errors hide their cause, whose text contains the whole URL, often with an access key.
    """

    def __init__(self, url: str) -> None:
        self.shown = shown_url(url)
        self.trusted = False
        self._url = url
        self._session = Session()

    def ask(self, method: str, body: bytes) -> RPCResponse:
        """Send a request and return the response. Raises RpcUnavailable."""
        try:
            status, content = post(
                self._session, self._url, body, _TIMEOUT_SECONDS, _MAX_ANSWER_BYTES
            )
        except TooMuch:
            raise AnswerTooLarge(
                f"The RPC endpoint {self.shown} answers with more than {_MAX_ANSWER_BYTES >> 20} "
                "MiB.",
                "Use another RPC endpoint.",
            ) from None
        except (requests.RequestException, ValueError):
            raise RpcUnavailable(
                f"The RPC endpoint {self.shown} does not answer.", "Start the node, or check --rpc."
            ) from None
        if method == _GET_LOGS and status in _TOO_WIDE:
            if status == _TOO_MANY:
                time.sleep(_FIRST_PAUSE_SECONDS)
            raise SearchTooWide(
                f"The RPC endpoint {self.shown} refuses a search for events: HTTP status {status}.",
                "Check --rpc, and the key in it.",
            )
        answer = None if status in _BUSY_OR_CLOSED else _parsed(content)
        if answer is not None and "error" in answer:
            self._require_willing(method, answer["error"])
        if status != requests.codes.ok and not (answer and "error" in answer):
            raise RpcUnavailable(
                f"The RPC endpoint {self.shown} refuses requests: HTTP status {status}.",
                "Check --rpc, and the key in it.",
            )
        if answer is None or not _is_plausible(method, answer):
            raise RpcUnavailable(
                f"{self.shown} does not speak Ethereum's JSON-RPC.", "Check --rpc."
            )
        return answer

    def _require_willing(self, method: str, error: RPCError) -> None:
        """Raise RpcUnavailable for an error that concerns the server, not the request."""
        code, said = error["code"], shown_text(error["message"])
        if code == _PRUNED:
            raise HistoryPruned(
                f"The RPC endpoint {self.shown} has deleted old blocks: {said}.",
                "Use an endpoint that keeps all blocks and logs; or give the deployment's record "
                "with --deployments, which has the block of the federation's deployment.",
            )
        about_request = _REVERT_WORDS if method != _GET_LOGS else _RANGE_WORDS
        limited = _LIMITED_WORDS.search(said) and not about_request.search(said)
        if code in _RATE_LIMITED or limited:
            raise RpcUnavailable(
                f"The RPC endpoint {self.shown} refuses more requests for now: {said}.",
                "Give further endpoints with --rpc, or raise the rate limit of its account.",
            )


class Endpoints:
    """Uses the endpoint that worked last, and fails over to the others in turn.

    An endpoint's chain id is checked before its first use, and again after it has failed. Sending
    a transaction is idempotent, because both copies have the same hash.
    """

    def __init__(self, urls: Sequence[str], expected_chain_id: int | None = None) -> None:
        self._endpoints = [_Endpoint(url) for url in urls]
        self._chain_id = expected_chain_id
        self._working = 0

    def __str__(self) -> str:
        return f"RPC {', '.join(endpoint.shown for endpoint in self._endpoints)}"

    def answer(self, method: str, body: bytes) -> RPCResponse:
        """Return the response to a request of the first endpoint that gives one.

        Raises RpcUnavailable when none does, and WrongChain when all that respond serve another
        chain.
        """
        give_up_at = time.monotonic() + _TIMEOUT_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._ask_in_turn(method, body)
            except (AnswerTooLarge, HistoryPruned, SearchTooWide):
                raise
            except RpcUnavailable:
                if attempt == _ATTEMPTS or time.monotonic() >= give_up_at:
                    raise
            time.sleep(_FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def raw_request(self, method: str, params: Sequence[Any]) -> Any:
        """The result as the node has it. Raises RequestRefused, and what `answer` raises."""
        answer = self.answer(method, _body(method, params))
        if answer.get("error") is not None:
            raise RequestRefused.of(answer["error"])
        return answer["result"]

    @property
    def others(self) -> int:
        """How many endpoints there are besides the one in use."""
        return len(self._endpoints) - 1

    def distrust(self, reason: str) -> None:
        """Use the next endpoint from now on, because the last response cannot be true."""
        endpoint = self._endpoints[self._working]
        if self.others:
            _log.warning("endpoint distrusted", endpoint=endpoint.shown, reason=reason)
        endpoint.trusted = False
        self._working = (self._working + 1) % len(self._endpoints)

    def _ask_in_turn(self, method: str, body: bytes) -> RPCResponse:
        count, first = len(self._endpoints), self._working
        failures: list[ChainError] = []
        for index in (*range(first, count), *range(first)):
            endpoint = self._endpoints[index]
            try:
                if not endpoint.trusted:
                    self._require_chain(endpoint)
                answer = self._known(method) or endpoint.ask(method, body)
            except (RpcUnavailable, WrongChain) as error:
                endpoint.trusted = False
                failures.append(error)
                if count > 1:
                    _log.warning("endpoint failed", endpoint=endpoint.shown, reason=error.message)
                continue
            self._working = index
            return answer
        raise _summary(failures)

    def _known(self, method: str) -> RPCResponse | None:
        """Answer a request for the chain id from the cache: it is the same at every endpoint."""
        if method != _CHAIN_ID:
            return None
        return {"jsonrpc": "2.0", "id": 1, "result": hex(self._chain_id or 0)}

    def _require_chain(self, endpoint: _Endpoint) -> None:
        answer = endpoint.ask(_CHAIN_ID, _body(_CHAIN_ID, []))
        chain_id = int(answer["result"], 16) if "result" in answer else 0
        if not chain_id:
            raise RpcUnavailable(
                f"{endpoint.shown} does not speak Ethereum's JSON-RPC.", "Check --rpc."
            )
        if self._chain_id is None:
            self._chain_id = chain_id
        if chain_id != self._chain_id:
            raise WrongChain(
                f"{endpoint.shown} serves chain {chain_id}, not {self._chain_id}.", "Check --rpc."
            )
        endpoint.trusted = True


def _body(method: str, params: Sequence[Any]) -> bytes:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    return to_json(request).encode("ascii")


def _summary(failures: Sequence[ChainError]) -> ChainError:
    """Combine the endpoints' errors into one.

    Its type is the first in this order that occurs: a smaller request may help, a retry may help,
    the chain is wrong.
    """
    if len(failures) == 1:
        return failures[0]
    kinds = (AnswerTooLarge, SearchTooWide, HistoryPruned, RpcUnavailable, WrongChain)
    chosen = next(f for kind in kinds for f in failures if isinstance(f, kind))
    said = " ".join(failure.message for failure in failures)
    return type(chosen)(f"All {len(failures)} RPC endpoints failed: {said}", chosen.hint)


def _parsed(content: bytes) -> RPCResponse | None:
    """Parse a JSON-RPC response; None if it is anything else."""
    try:
        answer = from_json(content)
    except ValueError:
        return None
    if not isinstance(answer, dict) or answer.get("jsonrpc") != "2.0":
        return None
    response: RPCResponse = {"jsonrpc": "2.0", "id": 1}
    error = answer.get("error")
    if error is None:
        if "result" not in answer:
            return None
        response["result"] = answer["result"]
        return response
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return None
    if not isinstance(error.get("code"), int):
        error["code"] = _INTERNAL_ERROR
    response["error"] = cast("RPCError", error)
    return response


def _is_plausible(method: str, answer: RPCResponse) -> bool:
    """Whether the result has the type that the method returns; methods not listed always pass."""
    if "error" in answer:
        return True
    result = answer["result"]
    if method in _RESULTS:
        return _matches(result, _RESULTS[method])
    if method in _OBJECTS:
        return result is None or _is_object(result, _OBJECTS[method])
    if method == _GET_LOGS:
        return isinstance(result, list) and all(map(_is_log, result))
    return True


def _is_object(value: Any, fields: Mapping[str, re.Pattern[str]]) -> bool:
    """Whether it is an object that has these fields, and whose strings are all hexadecimal."""
    if not isinstance(value, dict) or not _is_hexadecimal(value):
        return False
    present = {name: pattern for name, pattern in _OPTIONAL.items() if value.get(name) is not None}
    return all(_matches(value.get(name), p) for name, p in {**present, **fields}.items())


def _is_log(value: Any) -> bool:
    if not _is_object(value, _LOG):
        return False
    topics = value.get("topics")
    return isinstance(topics, list) and 1 <= len(topics) <= 4 and all(map(_is_hash, topics))


def _is_hash(value: Any) -> bool:
    return _matches(value, _HASH)


def _is_hexadecimal(value: Any) -> bool:
    """Whether all strings of a value are hexadecimal, also inside lists and objects."""
    found: list[str] = []
    _gather(value, found)
    lines = "\n".join(found)
    one_each = lines.count("\n") == len(found) - 1
    return not found or (one_each and _HEXADECIMALS.fullmatch(lines) is not None)


def _gather(value: Any, found: list[str]) -> None:
    """Append the strings of a value: one search in all of them takes less than one in each."""
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, dict):
        for inner in value.values():
            _gather(inner, found)
    elif isinstance(value, list):
        for inner in value:
            _gather(inner, found)


def _matches(value: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
