"""Starts and stops a real IPFS node (Kubo) for a test, isolated from all other nodes."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 20.0

_IN_A_PRIVATE_SWARM = {
    "Routing.Type": '"dht"',
    "Routing.LoopbackAddressesOnLanDHT": "true",
    "Swarm.Transports.Network.Websocket": "false",
}


@dataclass(frozen=True, slots=True)
class KuboNode:
    """A running node: its program, its repository, and the port of its RPC API on 127.0.0.1."""

    program: Path
    repository: Path
    port: int

    @property
    def url(self) -> str:
        """The URL of the node for ``open_store``."""
        return f"kubo+http://127.0.0.1:{self.port}"

    @property
    def gateway(self) -> str:
        """The URL of its HTTP gateway."""
        return (self.repository / "gateway").read_text().strip()

    @property
    def peer_id(self) -> str:
        return self.run("id", "--format=<id>").strip()

    @property
    def peering(self) -> dict[str, str]:
        """The ``config`` of a node that is joined to this one, as docs/ipfs.md says."""
        address, _, peer_id = self.run("id", "--format=<addrs>").split()[0].rpartition("/p2p/")
        return {"Peering.Peers": json.dumps([{"ID": peer_id, "Addrs": [address]}])}

    def connect(self, other: "KuboNode") -> None:
        """Connect to another ``online`` node. Raises RuntimeError when that fails."""
        self.run("swarm", "connect", other.run("id", "--format=<addrs>").split()[0])

    def run(self, *arguments: str) -> str:
        """Run an ``ipfs`` command against the node, and return what it prints."""
        return _run(self.program, self.repository, *arguments)


def find_kubo() -> Path | None:
    """Return the program that scripts/build_kubo.sh has found or built; None if there is none."""
    on_path = shutil.which("ipfs")
    if on_path:
        return Path(on_path)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = cache / "fl-orchestrator" / "kubo-v0.39.0" / "ipfs"
    return built if built.is_file() else None


@contextmanager
def kubo_daemon(
    program: Path,
    repository: Path,
    *,
    online: bool = False,
    swarm_key: bytes | None = None,
    config: Mapping[str, str] | None = None,
) -> Iterator[KuboNode]:
    """Run a node with a new repository, on free ports of 127.0.0.1, until the block ends.

    An ``online`` node listens for peers on 127.0.0.1, and waits for content that it does not have;
    any other node reports at once that it does not have it. With a ``swarm_key`` of 32 bytes, it
    connects only to nodes with the same key, and announces its content to them. ``config`` has
    further settings, as JSON by key.
    """
    # The profile leaves out bootstrap nodes, MDNS and every fixed port.
    _run(program, repository, "init", "--profile", "test")
    settings = {"Routing.Type": '"none"'}
    if swarm_key is not None:
        settings = _IN_A_PRIVATE_SWARM
        text = f"/key/swarm/psk/1.0.0/\n/base16/\n{swarm_key.hex()}\n"
        (repository / "swarm.key").write_text(text)
    for key, value in {**settings, **(config or {})}.items():
        _run(program, repository, "config", "--json", key, value)
    log = repository / "daemon.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "daemon", *([] if online else ["--offline"])],
            # With this set, a node without a swarm key refuses to start, so it stays private.
            env=_environment(repository) | ({"LIBP2P_FORCE_PNET": "1"} if swarm_key else {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield KuboNode(program, repository, _wait_for_port(process, repository, log))
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], repository: Path, log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while b"Daemon is ready" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The IPFS node did not start:\n{log.read_text()}")
        time.sleep(0.05)
    # The node writes its address as /ip4/127.0.0.1/tcp/<port>.
    return int((repository / "api").read_text().split("/")[4])


def _run(program: Path, repository: Path, *arguments: str) -> str:
    done = subprocess.run(
        [program, *arguments],
        env=_environment(repository),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"ipfs {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def _environment(repository: Path) -> dict[str, str]:
    return {**os.environ, "IPFS_PATH": str(repository), "IPFS_TELEMETRY": "off"}
