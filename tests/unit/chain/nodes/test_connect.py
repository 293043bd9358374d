"""Connecting: every failure of the wire is one clear error, and no key is shown."""

import gzip
import socket
from collections.abc import Callable, Iterator

import pytest
from hexbytes import HexBytes
from support.rpc import Endpoint, rpc_endpoint
from web3.eth import Eth
from web3.exceptions import Web3RPCError

from fl_orchestrator.chain.nodes import endpoints as module
from fl_orchestrator.chain.nodes.connect import RpcUnavailable, WrongChain, connect
from fl_orchestrator.chain.nodes.endpoints import AnswerTooLarge
from fl_orchestrator.errors import InputError

SECRETS = ("hunter2", "KEY1", "KEY2")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with rpc_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def other() -> Iterator[Endpoint]:
    with rpc_endpoint() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ATTEMPTS", 2)
    monkeypatch.setattr(module, "_FIRST_PAUSE_SECONDS", 0)


def with_secrets(endpoint: Endpoint) -> str:
    return f"http://user:hunter2@127.0.0.1:{endpoint.port}/v3/KEY1?key=KEY2"


def assert_shows_no_secret(error: BaseException) -> None:
    assert not [secret for secret in SECRETS if secret in str(error)]


def test_a_node_is_connected_to(endpoint: Endpoint) -> None:
    endpoint.answers("0x5")
    assert connect(with_secrets(endpoint), expected_chain_id=5).eth.chain_id == 5


def test_another_chain_than_the_expected_one_is_refused(endpoint: Endpoint) -> None:
    endpoint.answers("0x5")
    with pytest.raises(WrongChain, match=r"127\.0\.0\.1:\d+ serves chain 5, not 6") as refusal:
        connect(with_secrets(endpoint), expected_chain_id=6)
    assert_shows_no_secret(refusal.value)


def test_an_endpoint_where_nobody_listens_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(RpcUnavailable, match="does not answer") as refusal:
        connect(f"http://user:hunter2@127.0.0.1:{port}/KEY1?KEY2")
    assert_shows_no_secret(refusal.value)
    assert refusal.value.hint is not None


def test_an_endpoint_that_never_answers_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(RpcUnavailable, match="does not answer"):
            connect(f"http://127.0.0.1:{port}")
        listener.settimeout(0.2)
        listener.accept()[0].close()
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_host_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RpcUnavailable, match=r"no-such-host\.invalid does not answer"):
        connect("http://no-such-host.invalid/KEY1")


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_an_http_error_is_named(endpoint: Endpoint, status: int) -> None:
    endpoint.status, endpoint.body = status, b"no"
    with pytest.raises(RpcUnavailable, match=f"HTTP status {status}") as refusal:
        connect(with_secrets(endpoint))
    assert_shows_no_secret(refusal.value)
    assert endpoint.requests == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"5",
        b'"text"',
        b"{}",
        b'{"result":null}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"result":null}',
        b'{"jsonrpc":"2.0","id":1,"result":"zz"}',
        b'{"jsonrpc":"2.0","id":1,"result":[]}',
        b'{"jsonrpc":"2.0","id":1,"result":{}}',
        b'{"jsonrpc":"2.0","id":1,"result":"0x0"}',
        b'{"jsonrpc":"2.0","id":1,"result":-7}',
        b'{"jsonrpc":"2.0","id":1,"error":"no"}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no such method"}}',
    ],
)
def test_garbage_is_not_taken_for_a_node(endpoint: Endpoint, body: bytes) -> None:
    endpoint.body = body
    with pytest.raises(RpcUnavailable, match="does not speak Ethereum's JSON-RPC") as refusal:
        connect(with_secrets(endpoint))
    assert_shows_no_secret(refusal.value)


def test_a_node_that_turns_to_garbage_later_is_reported(endpoint: Endpoint) -> None:
    endpoint.answers("0x5")
    web3 = connect(endpoint.url)
    endpoint.body = b"<html>maintenance</html>"
    with pytest.raises(RpcUnavailable, match="does not speak"):
        _ = web3.eth.block_number


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8545",
        "wss://user:hunter2@node.example/v3/KEY1?KEY2",
        "ipc:///tmp/node.ipc",
        "file:///etc/passwd",
        "http://",
        "http://[::1",
        "http://node.example:port/KEY1",
        "http://node.example:999999/KEY1",
        "http://node.example,",
    ],
)
def test_what_is_not_an_http_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="is not an http") as refusal:
        connect(url)
    assert_shows_no_secret(refusal.value)


# ---------------------------------------------------------------------- limits


def test_an_endless_answer_is_not_read_to_its_end(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_ANSWER_BYTES", 1 << 20)
    endpoint.endless = b" " * (1 << 16)
    with pytest.raises(AnswerTooLarge, match="answers with more than 1 MiB") as refusal:
        connect(with_secrets(endpoint))
    assert_shows_no_secret(refusal.value)
    assert endpoint.requests == 1
    assert endpoint.sent_bytes < 16 << 20


def test_an_answer_that_drips_is_not_waited_for(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_SECONDS", 0.3)
    endpoint.endless, endpoint.pause = b" ", 0.05
    with pytest.raises(RpcUnavailable, match="does not answer"):
        connect(endpoint.url)
    assert endpoint.requests == 1


def test_an_answer_is_never_unpacked(endpoint: Endpoint) -> None:
    endpoint.answers("0x5")
    endpoint.body, endpoint.headers = gzip.compress(endpoint.body), {"Content-Encoding": "gzip"}
    with pytest.raises(RpcUnavailable, match="does not speak"):
        connect(endpoint.url)


def test_no_redirect_is_followed(endpoint: Endpoint, other: Endpoint) -> None:
    other.answers("0x5")
    endpoint.status, endpoint.headers = 307, {"Location": other.url}
    with pytest.raises(RpcUnavailable, match="HTTP status 307"):
        connect(endpoint.url)
    assert other.requests == 0


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_refusal_in_words_is_an_answer(endpoint: Endpoint, status: int) -> None:
    """Providers refuse wide searches with a status of their own beside the JSON-RPC error."""
    endpoint.serves(5)
    web3 = connect(endpoint.url)
    endpoint.results, endpoint.status = {}, status
    endpoint.body = b'{"jsonrpc":"2.0","id":1,"error":{"message":"range too wide"}}'
    with pytest.raises(Web3RPCError, match="range too wide"):
        _ = web3.eth.block_number
    assert endpoint.requests == 2


@pytest.mark.parametrize("result", [None, "zz", "0x", "0x" + "f" * 65, 7, [], {}])
def test_a_result_of_another_kind_is_garbage(endpoint: Endpoint, result: object) -> None:
    endpoint.serves(5, eth_blockNumber=result)
    web3 = connect(endpoint.url)
    with pytest.raises(RpcUnavailable, match="does not speak"):
        _ = web3.eth.block_number


@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("eth_estimateGas", lambda eth: eth.estimate_gas({"to": "0x" + "0" * 40})),
        ("eth_gasPrice", lambda eth: eth.gas_price),
        ("eth_maxPriorityFeePerGas", lambda eth: eth.max_priority_fee),
        ("eth_getTransactionCount", lambda eth: eth.get_transaction_count("0x" + "0" * 40)),
    ],
)
def test_a_number_that_no_chain_has_is_garbage(
    endpoint: Endpoint, method: str, ask: Callable[[Eth], int]
) -> None:
    # Products of such numbers fit into no transaction, and not even into the text of an error.
    endpoint.serves(5, **{method: "0x" + "f" * 64})
    with pytest.raises(RpcUnavailable, match="does not speak"):
        ask(connect(endpoint.url).eth)


BLOCK = {"number": "0x1", "hash": "0x" + "1" * 64, "timestamp": "0x5", "extraData": "0x"}


@pytest.mark.parametrize(
    "result",
    [
        *(7, "0x", "0x1", [], {}, {"number": "x"}),
        {**BLOCK, "number": 1},
        {**BLOCK, "hash": "0x1"},
        {**BLOCK, "timestamp": None},
        {**BLOCK, "gasLimit": "zz"},
        {**BLOCK, "gasLimit": "0x1" + "0" * 16},
        {**BLOCK, "number": "0x1" + "0" * 16},
        {**BLOCK, "timestamp": "0x" + "f" * 64},
        {**BLOCK, "baseFeePerGas": "0x" + "f" * 64},
        {**BLOCK, "transactions": [{"value": "a lot"}]},
    ],
)
def test_a_block_that_is_none_is_garbage(endpoint: Endpoint, result: object) -> None:
    endpoint.serves(5, eth_getBlockByNumber=result)
    web3 = connect(endpoint.url)
    with pytest.raises(RpcUnavailable, match="does not speak"):
        web3.eth.get_block("latest")


def test_a_block_is_taken_as_it_is(endpoint: Endpoint) -> None:
    endpoint.serves(5, eth_getBlockByNumber=BLOCK)
    assert connect(endpoint.url).eth.get_block("latest")["timestamp"] == 5


@pytest.mark.parametrize("result", ["0x", 7, {}, {"status": "0x1", "blockNumber": "0x5"}])
def test_a_receipt_that_is_none_is_garbage(endpoint: Endpoint, result: object) -> None:
    endpoint.serves(5, eth_getTransactionReceipt=result)
    web3 = connect(endpoint.url)
    with pytest.raises(RpcUnavailable, match="does not speak"):
        web3.eth.get_transaction_receipt(HexBytes(bytes(32)))


@pytest.mark.parametrize("result", ["0x", None, [7], [{}], [{"data": "0x", "blockNumber": "0x1"}]])
def test_events_that_are_none_are_garbage(endpoint: Endpoint, result: object) -> None:
    endpoint.serves(5, eth_getLogs=result)
    web3 = connect(endpoint.url)
    with pytest.raises(RpcUnavailable, match="does not speak"):
        web3.eth.get_logs({})


# ---------------------------------------------------------------------- several endpoints


def test_the_next_endpoint_stands_in_for_one_that_fails(
    endpoint: Endpoint, other: Endpoint
) -> None:
    endpoint.serves(5, eth_blockNumber="0x1")
    other.serves(5, eth_blockNumber="0x2")
    web3 = connect(f"{with_secrets(endpoint)}, {with_secrets(other)}")
    assert web3.eth.block_number == 1
    assert other.requests == 0
    endpoint.status = 503
    assert [web3.eth.block_number for _ in range(3)] == [2, 2, 2]
    # The one that works is kept, until it fails too.
    endpoint.status, endpoint.requests = 200, 0
    assert web3.eth.block_number == 2
    assert endpoint.requests == 0
    other.results, other.body = {}, b"<html>"
    assert web3.eth.block_number == 1


def test_an_endpoint_that_does_not_run_is_passed_over(endpoint: Endpoint) -> None:
    endpoint.serves(5)
    assert connect(["http://127.0.0.1:1", endpoint.url]).eth.chain_id == 5


def test_an_endpoint_of_another_chain_never_stands_in(endpoint: Endpoint, other: Endpoint) -> None:
    endpoint.serves(5, eth_blockNumber="0x1")
    other.serves(6, eth_blockNumber="0x2")
    web3 = connect([endpoint.url, other.url])
    endpoint.status = 503
    with pytest.raises(RpcUnavailable, match=r"All 2 .* 503\. .* serves chain 6, not 5"):
        _ = web3.eth.block_number
    endpoint.status = 200
    assert web3.eth.block_number == 1


def test_an_endpoint_that_comes_back_with_another_chain_is_refused(endpoint: Endpoint) -> None:
    endpoint.serves(5, eth_blockNumber="0x1")
    web3 = connect(endpoint.url)
    endpoint.status = 503
    with pytest.raises(RpcUnavailable):
        _ = web3.eth.block_number
    endpoint.status = 200
    endpoint.serves(6, eth_blockNumber="0x1")
    with pytest.raises(WrongChain, match="serves chain 6, not 5"):
        _ = web3.eth.block_number


def test_what_several_endpoints_say_shows_no_secret(endpoint: Endpoint, other: Endpoint) -> None:
    endpoint.status, other.body = 401, b"<html>"
    with pytest.raises(RpcUnavailable) as refusal:
        connect([with_secrets(endpoint), with_secrets(other)])
    assert_shows_no_secret(refusal.value)
    assert refusal.value.__cause__ is None
    assert "401" in refusal.value.message
    assert "does not speak" in refusal.value.message


# ---------------------------------------------------------------------- proxies of the environment


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_endpoint_on_this_machine_is_asked_without_the_proxy(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, name: str, host: str
) -> None:
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    endpoint.answers("0x5")
    assert connect(f"http://{host}:{endpoint.port}").eth.chain_id == 5


def test_another_machine_is_asked_through_the_proxy(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{endpoint.port}")
    endpoint.answers("0x5")
    assert connect("http://node.example:8545").eth.chain_id == 5
