"""The Kubo store against a real IPFS node, started and stopped here."""

import contextlib
import hashlib
import io
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cid_vectors import VectorFile, cid_vectors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.kubo_daemon import KuboNode, find_kubo, kubo_daemon

from fl_orchestrator.content import cid as cid_module
from fl_orchestrator.content import download
from fl_orchestrator.content import kubo as kubo_module
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.content.cid import DAG_PB, Cid, cid_of
from fl_orchestrator.content.kubo import KuboStore
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import (
    ContentCorrupt,
    ContentNotFound,
    ContentStore,
    ContentTooLarge,
    StoreFull,
    StoreUnavailable,
)

CONTENT = hashlib.shake_128(b"content").digest((2 << 20) + 5)
MISSING = cid_of(io.BytesIO(b"content that no node has"))

with_the_node = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def program() -> Path:
    found = find_kubo()
    if found is None:
        pytest.skip("no IPFS node program: install Kubo, or run scripts/build_kubo.sh")
    return found


@pytest.fixture(scope="module")
def node(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    with kubo_daemon(program, tmp_path_factory.mktemp("kubo")) as node:
        yield node


@pytest.fixture
def store(node: KuboNode) -> ContentStore:
    return open_store(node.url)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "BACK_OFF_SECONDS", (0.02, 0.02))


def put(store: ContentStore, content: bytes) -> Cid:
    return store.put(io.BytesIO(content))


def read(store: ContentStore, cid: Cid, max_bytes: int = 1 << 30) -> bytes:
    with store.get(cid, max_bytes) as stream:
        return stream.read()


def read_in_pieces(stream: io.BufferedReader, into: bytearray) -> None:
    while piece := stream.read(1 << 16):
        into += piece


def pins(node: KuboNode) -> set[str]:
    return set(node.run("pin", "ls", "--type=recursive", "--quiet").split())


# The same CIDs


@with_the_node
@given(
    seed=st.binary(max_size=8),
    size=st.one_of(
        st.integers(0, 100),
        st.integers(0, 5 << 20),
        st.builds(
            lambda chunks, more: chunks * (1 << 20) + more, st.integers(1, 4), st.integers(-1, 1)
        ),
    ),
)
def test_content_of_any_size_has_the_same_cid_in_both_stores(
    store: ContentStore, tmp_path: Path, seed: bytes, size: int
) -> None:
    content = hashlib.shake_128(seed).digest(size)
    cid = put(store, content)
    assert cid == put(LocalStore(tmp_path), content)
    assert read(store, cid, max_bytes=size) == content


@pytest.mark.parametrize("size", sorted(set(cid_vectors()) - {174 << 20}))
def test_the_golden_cids_are_what_the_node_gives(store: ContentStore, size: int) -> None:
    cid = store.put(io.BufferedReader(VectorFile(size)))
    assert str(cid) == cid_vectors()[size]
    assert cid_of(store.get(cid, size)) == cid
    store.unpin(cid)


@pytest.mark.parametrize("leaves", [1, 174, 175, 174**2, 174**2 + 1])
def test_a_deep_tree_has_the_same_cid_as_in_the_node(
    node: KuboNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: int
) -> None:
    path = tmp_path / "content"
    path.write_bytes(hashlib.shake_128(b"deep").digest(64 * leaves))
    options = ["--only-hash", "--quieter", "--cid-version=1", "--raw-leaves"]
    printed = node.run("add", *options, "--chunker=size-64", str(path))
    monkeypatch.setattr(cid_module, "CHUNK_BYTES", 64)
    assert str(cid_of(path.open("rb"))) == printed.strip()


def test_ipfs_cat_prints_the_content(node: KuboNode, store: ContentStore) -> None:
    assert node.run("cat", str(put(store, b"any text\n"))) == "any text\n"


def test_a_node_that_builds_other_trees_is_refused(program: Path, tmp_path: Path) -> None:
    config = {"Import.UnixFSFileMaxLinks": "2"}
    with kubo_daemon(program, tmp_path / "ipfs", config=config) as other:
        before = pins(other)
        with pytest.raises(StoreUnavailable, match="Import section"):
            put(open_store(other.url), bytes(4 << 20))
        assert pins(other) == before


# Keeping and finding


def test_content_that_is_not_there_is_reported(store: ContentStore) -> None:
    assert not store.has(MISSING)
    with pytest.raises(ContentNotFound, match=str(MISSING)):
        store.get(MISSING, 100)
    with pytest.raises(ContentNotFound):
        store.pin(MISSING)
    store.unpin(MISSING)


def test_only_pinned_content_survives_the_nodes_garbage_collection(
    node: KuboNode, store: ContentStore
) -> None:
    kept, dropped, again = (put(store, name * 100_000) for name in (b"kept", b"drop", b"again"))
    store.unpin(dropped)
    store.unpin(again)
    store.unpin(again)
    store.pin(again)
    node.run("repo", "gc", "--quiet")
    assert [store.has(cid) for cid in (kept, dropped, again)] == [True, False, True]


def test_content_that_has_lost_a_leaf_is_not_there(node: KuboNode, store: ContentStore) -> None:
    content = hashlib.shake_128(b"lossy").digest(3 << 20)
    cid = put(store, content)
    leaf = cid_of(io.BytesIO(content[1 << 20 : 2 << 20]))
    store.unpin(cid)
    node.run("block", "rm", str(leaf))
    assert not store.has(cid)
    with store.get(cid, 3 << 20) as stream:
        assert stream.read(1000) == content[:1000]
        with pytest.raises(ContentNotFound):
            stream.read()


def test_a_directory_is_not_content(node: KuboNode, store: ContentStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in a directory")
    printed = node.run("add", "--recursive", "--quieter", "--cid-version=1", str(tmp_path))
    with pytest.raises(ContentNotFound, match="directory"):
        store.get(Cid.parse(printed.strip()), 1000)


def test_threads_share_a_store(store: ContentStore) -> None:
    contents = [hashlib.shake_128(bytes([i])).digest((1 << 20) + i) for i in range(16)]
    with ThreadPoolExecutor(16) as pool:
        cids = list(pool.map(lambda content: put(store, content), contents))
        assert list(pool.map(lambda cid: read(store, cid), cids)) == contents


# Limits and verification


@with_the_node
@given(max_bytes=st.one_of(st.integers(0, len(CONTENT) - 1), st.just(len(CONTENT) - 1)))
def test_content_over_the_readers_limit_is_refused_before_it_is_read(
    store: ContentStore, max_bytes: int
) -> None:
    cid = put(store, CONTENT)
    with pytest.raises(ContentTooLarge):
        store.get(cid, max_bytes)


def test_content_over_the_stores_limit_is_refused(node: KuboNode) -> None:
    store = KuboStore("127.0.0.1", node.port, max_file_bytes=1 << 20)
    before = pins(node)
    with pytest.raises(ContentTooLarge):
        put(store, CONTENT)
    assert pins(node) == before
    assert read(store, put(store, CONTENT[: 1 << 20])) == CONTENT[: 1 << 20]


def test_bytes_damaged_on_the_nodes_disk_are_found(node: KuboNode, store: ContentStore) -> None:
    content = hashlib.shake_128(b"to be damaged").digest(3 << 20)
    cid = put(store, content)
    last_leaf = content[2 << 20 :]
    (block,) = (
        path
        for path in node.repository.glob("blocks/*/*.data")
        if path.stat().st_size == len(last_leaf) and path.read_bytes() == last_leaf
    )
    block.write_bytes(last_leaf[:-1] + bytes([last_leaf[-1] ^ 1]))
    got = bytearray()
    with store.get(cid, len(content)) as stream, pytest.raises(ContentCorrupt):
        read_in_pieces(stream, got)
    assert len(got) < len(content)


def test_the_same_bytes_in_another_tree_are_not_the_content_of_the_protocol(
    node: KuboNode, store: ContentStore, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    options = ["--quieter", "--cid-version=1", "--raw-leaves", "--chunker=size-262144"]
    cid = Cid.parse(node.run("add", *options, str(tmp_path / "file")).strip())
    assert cid.codec == DAG_PB
    with pytest.raises(ContentCorrupt):
        read(store, cid)


# Nodes that do not answer


def test_an_online_node_gives_up_on_content_that_nobody_provides(
    program: Path, tmp_path: Path
) -> None:
    with kubo_daemon(program, tmp_path / "ipfs", online=True) as online:
        patient = KuboStore("127.0.0.1", online.port, timeout_seconds=300)
        store = KuboStore("127.0.0.1", online.port, timeout_seconds=0.5)
        start = time.monotonic()
        assert not patient.has(MISSING)
        for call in (lambda: store.get(MISSING, 100), lambda: store.pin(MISSING)):
            with pytest.raises(ContentNotFound, match="deadline"):
                call()
        assert time.monotonic() - start < 10


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def every_call(store: ContentStore) -> Iterator[None]:
    """Make each call in turn, and expect that the store is unavailable."""
    for call in (
        lambda: put(store, CONTENT),
        lambda: store.get(MISSING, 100),
        lambda: store.has(MISSING),
        lambda: store.pin(MISSING),
        lambda: store.unpin(MISSING),
    ):
        with pytest.raises(StoreUnavailable, match="The IPFS node at http://") as caught:
            call()
        assert "ipfs daemon" in str(caught.value)
        yield


def test_a_node_that_does_not_run_is_reported() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = open_store(f"kubo+http://127.0.0.1:{unused.getsockname()[1]}")
        assert len(list(every_call(store))) == 5


def test_a_node_that_never_answers_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubo_module, "_ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = KuboStore("127.0.0.1", port, timeout_seconds=0.2)
        start = time.monotonic()
        assert len(list(every_call(store))) == 5
        assert time.monotonic() - start < 20


def test_a_host_name_that_does_not_exist_is_reported() -> None:
    store = open_store("kubo+http://no-such-host.invalid:5001")
    with pytest.raises(StoreUnavailable, match=r"no-such-host\.invalid"):
        store.has(MISSING)


@contextmanager
def server(*answers: tuple[int, bytes], missing_bytes: int = 0) -> Iterator[KuboStore]:
    """A server that reads each request whole and gives these answers, the last one for ever.

    It promises ``missing_bytes`` more than it sends.
    """
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.headers["Transfer-Encoding"] == "chunked":
                while size := int(self.rfile.readline(), 16):
                    self.rfile.read(size + len(b"\r\n"))
                self.rfile.readline()
            status, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body) + missing_bytes))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield KuboStore("127.0.0.1", http.server_address[1], timeout_seconds=5)
        finally:
            http.shutdown()


@contextmanager
def proxy(node: KuboNode, breaks_after: int) -> Iterator[tuple[KuboStore, list[int]]]:
    """A way to the node on which connections break after so many bytes of the node's answers.

    Gives the store, and the count of connections.
    """
    count = [0]

    class Pipe(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            count[0] += 1
            room = breaks_after
            with socket.create_connection(("127.0.0.1", node.port)) as far:
                threading.Thread(target=self.forward, args=(far,), daemon=True).start()
                while room > 0 and (data := far.recv(min(room, 1 << 16))):
                    self.request.sendall(data)
                    room -= len(data)
                with contextlib.suppress(OSError):
                    self.request.shutdown(socket.SHUT_RDWR)

        def forward(self, far: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := self.request.recv(1 << 16):
                    far.sendall(data)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Pipe) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield KuboStore("127.0.0.1", server.server_address[1], timeout_seconds=5), count
        finally:
            server.shutdown()


def test_a_server_that_is_not_a_node_is_reported() -> None:
    with server((404, b"<html>404 page not found</html>")) as store:
        assert len(list(every_call(store))) == 5


def test_a_connection_that_breaks_in_the_middle_of_an_answer_is_reported() -> None:
    with server((200, b'{"Hash":'), missing_bytes=100) as store:
        assert len(list(every_call(store))) == 5


def test_a_call_that_was_interrupted_is_made_again(node: KuboNode) -> None:
    # Every connection breaks in the middle of its second answer.
    with proxy(node, breaks_after=900) as (store, connections):
        cid = put(store, CONTENT)
        assert store.has(cid)
        store.unpin(cid)
        assert str(cid) not in pins(node)
        store.pin(cid)
        assert str(cid) in pins(node)
    assert connections[0] >= 3


def test_a_download_that_breaks_off_is_taken_up_there(node: KuboNode, store: ContentStore) -> None:
    cid = put(store, CONTENT)
    with proxy(node, breaks_after=1_500_000) as (broken, connections):
        assert read(broken, cid) == CONTENT
        assert connections[0] >= 2


@pytest.mark.parametrize(("seekable", "attempts"), [(True, 3), (False, 1)])
def test_only_content_that_can_be_read_again_is_sent_again(
    node: KuboNode, seekable: bool, attempts: int
) -> None:
    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return seekable

    with proxy(node, breaks_after=0) as (store, connections):
        with pytest.raises(StoreUnavailable, match="broke"):
            store.put(Stream(CONTENT))
        assert connections[0] == attempts


def test_closing_a_reader_ends_the_search_for_what_it_reads(program: Path, tmp_path: Path) -> None:
    content = hashlib.shake_128(b"lost leaf").digest(3 << 20)
    with kubo_daemon(program, tmp_path / "ipfs", online=True) as online:
        store = KuboStore("127.0.0.1", online.port, timeout_seconds=1)
        cid = put(store, content)
        store.unpin(cid)
        leaf = str(cid_of(io.BytesIO(content[1 << 20 : 2 << 20])))
        online.run("block", "rm", leaf)
        with store.get(cid, len(content)) as stream:
            stream.read(1000)
            wait_until(lambda: leaf in online.run("bitswap", "wantlist"))
        wait_until(lambda: leaf not in online.run("bitswap", "wantlist"))
        start = time.monotonic()
        with store.get(cid, len(content)) as stream, pytest.raises(StoreUnavailable):
            stream.read()
        assert time.monotonic() - start < 10


def test_a_node_without_room_is_reported() -> None:
    message = "write /ipfs/blocks/put-1: no space left on device"
    body = json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode()
    with server((500, body)) as store, pytest.raises(StoreFull, match="no space left on device"):
        put(store, b"a little")
