"""Starts and stops a real IPFS node (Kubo) for a test, cut off from every other node."""

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


@dataclass(frozen=True, slots=True)
class KuboNode:
    """A running node: its program, its repository, and the port of its RPC API on 127.0.0.1."""

    program: Path
    repository: Path
    port: int

    @property
    def url(self) -> str:
        """The URL that ``open_store`` takes."""
        return f"kubo+http://127.0.0.1:{self.port}"

    def run(self, *arguments: str) -> str:
        """Run an ``ipfs`` command against the node, and return what it prints."""
        return _run(self.program, self.repository, *arguments)


def find_kubo() -> Path | None:
    """Return the program that scripts/build_kubo.sh finds or has built, if there is one."""
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
    config: Mapping[str, str] | None = None,
) -> Iterator[KuboNode]:
    """Run a node with a new repository, on free ports of 127.0.0.1, until the block ends.

    An ``online`` node listens for peers on 127.0.0.1 and waits for content that it does not have;
    otherwise it says at once that it has not. ``config`` holds further settings, as JSON by key.
    """
    # The profile leaves out bootstrap nodes, MDNS and every fixed port.
    _run(program, repository, "init", "--profile", "test")
    for key, value in {"Routing.Type": '"none"', **(config or {})}.items():
        _run(program, repository, "config", "--json", key, value)
    log = repository / "daemon.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "daemon", *([] if online else ["--offline"])],
            env=_environment(repository),
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
