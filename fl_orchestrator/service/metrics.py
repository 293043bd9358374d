"""A process's metrics for Prometheus, and its health, over HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import MetricsHandler

from fl_orchestrator.chain.sending.send import Receipt
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.service.listen import BadListenAddress, parse_listen

#: Longer than most steps of a role take.
UNHEALTHY_SECONDS: Final = 900.0
#: A party that could not train in so many rounds in a row needs somebody to look.
UNHEALTHY_ROUNDS: Final = 3


class Metrics:
    """The metrics of one process, all with the label ``role``. A `roles.monitor.Monitor`.

    The process is unhealthy if no step has succeeded for ``unhealthy_seconds``, or if training has
    failed in the last `UNHEALTHY_ROUNDS` rounds or more.
    """

    def __init__(self, role: str, unhealthy_seconds: float = UNHEALTHY_SECONDS) -> None:
        self.registry = CollectorRegistry()
        self._unhealthy_seconds = unhealthy_seconds
        self._stepped_at = time.time()
        self._block_time = 0
        self._sat_out, self._reason = 0, ""
        self._waits_for: str | None = None

        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(f"flo_{name}", help_, ("role", *labels), registry=self.registry)

        def gauge(name: str, help_: str, *labels: str) -> Gauge:
            return Gauge(f"flo_{name}", help_, ("role", *labels), registry=self.registry)

        self._role = role
        self._actions = counter("actions", "Actions of the role.", "action")
        self._errors = counter("errors", "Failed steps.", "kind")
        self._alerts = counter("alerts", "Errors in the log: somebody has to look.").labels(role)
        self._bytes_in = counter("bytes_in", "Bytes read from the content store.").labels(role)
        self._bytes_out = counter("bytes_out", "Bytes put into the content store.").labels(role)
        self._gas = counter("gas_used", "Gas of the transactions mined.", "call")
        self._fees = counter("fees_wei", "Fees paid for that gas, in wei.", "call")
        self._round = gauge("round", "The current round.").labels(role)
        self._phase = gauge("phase", "1 for the current phase of the round.", "phase")
        self._commits = gauge("round_commits", "Commits of the current round.").labels(role)
        self._updates = gauge("round_updates", "Reveals of the current round.").labels(role)
        self._head = gauge("head_round", "The round of the head's model.").labels(role)
        self._accepted = gauge("accepted_rounds", "Accepted rounds of the history.").labels(role)
        self._final = gauge("final_rounds", "Final rounds of the history.").labels(role)
        self._block = gauge("block_number", "The last block that was seen.").labels(role)
        lag = gauge("head_block_age_seconds", "Age of the last block that was seen.").labels(role)
        lag.set_function(self._lag)
        self._numbers = {
            name: gauge(name, help_).labels(role)
            for name, help_ in (
                ("saturated_tensors", "Tensors of the global state with values that stopped."),
                ("coarse_tensors", "Tensors of the last update whose changes all became zero."),
                ("clipped_ratio", "The share of the last update's values that were clipped."),
                ("rounds_sat_out", "Rounds in a row that the party sat out."),
                ("round_revealed", "Updates revealed in the last accepted round."),
                ("round_included", "Those of them that its model includes."),
            )
        }
        stepped = gauge("last_step_timestamp_seconds", "When the last step succeeded.")
        stepped.labels(role).set_function(lambda: self._stepped_at)

    def saw(self, seen: Observation) -> None:
        """Set the metrics from the last observation."""
        self._block_time = seen.timestamp
        self._block.set(seen.block_number)
        self._round.set(seen.current.round)
        self._phase.clear()
        self._phase.labels(self._role, seen.current.phase.name.lower()).set(1)
        self._commits.set(seen.current.commits)
        self._updates.set(seen.current.reveals)
        self._head.set(seen.head.round)
        self._accepted.set(seen.head.height)
        self._final.set(seen.final_height)

    def acted(self, action: str) -> None:
        self._actions.labels(self._role, action).inc()
        self.stepped()

    def stepped(self) -> None:
        """A step succeeded: the process is healthy."""
        self._stepped_at = time.time()

    def failed(self, error: Exception) -> None:
        self._errors.labels(self._role, type(error).__name__).inc()

    def alerted(self) -> None:
        """The role wrote an error to its log."""
        self._alerts.inc()

    def sent(self, receipt: Receipt) -> None:
        """Count a mined transaction. A Sender calls this with each receipt."""
        self._gas.labels(self._role, receipt.label).inc(receipt.gas_used)
        self._fees.labels(self._role, receipt.label).inc(receipt.fee)

    def read(self, size: int) -> None:
        self._bytes_in.inc(size)

    def wrote(self, size: int) -> None:
        self._bytes_out.inc(size)

    def saturated(self, tensors: Sequence[str]) -> None:
        self._numbers["saturated_tensors"].set(len(tensors))

    def trained(self, clipped: float, coarse: Sequence[str]) -> None:
        self._numbers["clipped_ratio"].set(clipped)
        self._numbers["coarse_tensors"].set(len(coarse))

    def sat_out(self, rounds: int, reason: str = "") -> None:
        self._sat_out, self._reason = rounds, reason
        self._numbers["rounds_sat_out"].set(rounds)

    def accepted(self, included: int, revealed: int) -> None:
        self._numbers["round_included"].set(included)
        self._numbers["round_revealed"].set(revealed)

    def waits_for(self, what: str | None) -> None:
        """What the process waits for before it can begin; None when it has it."""
        self._waits_for = what

    @property
    def illness(self) -> str | None:
        """Why the process is unhealthy; None of a healthy one."""
        if self._waits_for is not None:
            return f"waiting for {self._waits_for}"
        if time.time() - self._stepped_at >= self._unhealthy_seconds:
            return "no step"
        if self._sat_out >= UNHEALTHY_ROUNDS:
            return f"sat out {self._sat_out} rounds in a row: {self._reason}"
        return None

    @property
    def healthy(self) -> bool:
        return self.illness is None

    def _lag(self) -> float:
        return time.time() - self._block_time if self._block_time else float("nan")

    @contextlib.contextmanager
    def served(self, listen: str) -> Iterator[str]:
        """Serve /metrics and /healthz on ``[HOST:]PORT``, by default on loopback; yields the URL.

        Raises BadListenAddress.
        """
        host, port = parse_listen(listen)
        health = self

        class Handler(MetricsHandler):
            registry = self.registry

            timeout = 10  # seconds, for a client that sends nothing

            def do_GET(self) -> None:  # noqa: N802
                if self.path.partition("?")[0] == "/metrics":
                    super().do_GET()
                elif self.path == "/healthz":
                    illness = health.illness
                    status = 200 if illness is None else 503
                    self._answer(status, f"{illness or 'ok'}\n".encode())
                else:
                    self._answer(404, b"Look at /metrics or /healthz.\n")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

        try:
            server = Server((host, port), Handler)
        except (OSError, UnicodeError) as error:  # UnicodeError: an invalid host name
            reason = getattr(error, "strerror", None) or error
            raise BadListenAddress(
                f"Cannot listen on {listen}: {reason}.", "Choose another address."
            ) from error
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        try:
            yield f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
