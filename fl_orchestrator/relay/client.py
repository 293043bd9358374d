"""A relay on another machine, reached over HTTP."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic_core import from_json
from urllib3.exceptions import HTTPError

from fl_orchestrator.chain.nodes.http import shown_url
from fl_orchestrator.chain.types import Signature, SignedCommit, Update
from fl_orchestrator.content.gateway import HTTP_URL_HINT
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.digests import Result
from fl_orchestrator.relay.messages import (
    AnyMessage,
    AttestationMessage,
    CommitMessage,
    RevealMessage,
)
from fl_orchestrator.roles.relay import RelayFailed, SignedResult

#: How long a message may take, whatever the relay does meanwhile.
MESSAGE_SECONDS: Final = 20.0

_CONNECT_SECONDS: Final = 5.0
_SILENCE_SECONDS: Final = 15.0
_TRIES: Final = 3
_PAUSE_SECONDS: Final = 1.0
_MAX_ANSWER_BYTES: Final = 4096
_MAX_SHOWN: Final = 200
# Too early, too many, not now: worth another try at once.
_AGAIN: Final = frozenset({425, 429, 502, 503, 504})

_T = TypeVar("_T")


class RelayUrlError(InputError):
    """The URL does not name a relay."""


class HttpRelay:
    """The relay at a URL, such as ``https://keeper.example``; it may have a path.

    Every call ends in time, or with RelayFailed: a relay that dribbles its answer holds nobody
    up. Nothing that it answers is believed: its caller looks at the chain.
    """

    def __init__(self, url: str, sleep: Callable[[float], None] = time.sleep) -> None:
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 (the property validates)
        except ValueError as error:
            raise RelayUrlError("The relay's URL is malformed.", HTTP_URL_HINT) from error
        plain = parts.hostname and "@" not in parts.netloc and not (parts.query or parts.fragment)
        if parts.scheme not in ("http", "https") or not plain:
            raise RelayUrlError("The relay's URL is not understood.", HTTP_URL_HINT)
        self.url = url.rstrip("/")
        self._sleep = sleep

    def post_commit(self, round_number: int, commit: SignedCommit) -> None:
        self._post("commits", CommitMessage.of(round_number, commit))

    def put_update(self, round_number: int, update: Update, file: Path, seconds: float) -> None:
        """Announce an update, and upload its bytes unless the relay has them."""
        end = time.monotonic() + seconds
        if self._post("uploads", RevealMessage.of(round_number, update), end).get("stored") is True:
            return

        def put() -> requests.Response:
            with file.open("rb") as stream:
                return self._send("PUT", f"uploads/{update.cid}", "octet-stream", stream)

        self._ask(put, end)

    def post_reveal(self, round_number: int, update: Update) -> None:
        self._post("reveals", RevealMessage.of(round_number, update))

    def post_attestation(self, result: Result, signature: Signature) -> None:
        self._post("attestations", AttestationMessage.of(SignedResult(result, signature)))

    def _post(self, path: str, message: AnyMessage, latest: float = math.inf) -> dict[str, Any]:
        body = message.model_dump_json().encode()
        end = min(latest, time.monotonic() + MESSAGE_SECONDS)
        return self._ask(lambda: self._send("POST", path, "json", body), end)

    def _send(self, method: str, path: str, kind: str, body: bytes | BinaryIO) -> requests.Response:
        return requests.request(
            method,
            f"{self.url}/v1/{path}",
            data=body,
            # A proxy may compress what is not refused to be; the answer is read as it comes.
            headers={"Content-Type": f"application/{kind}", "Accept-Encoding": "identity"},
            timeout=(_CONNECT_SECONDS, _SILENCE_SECONDS),
            allow_redirects=False,
            stream=True,
        )

    def _ask(self, send: Callable[[], requests.Response], end: float) -> dict[str, Any]:
        """Send a request, a few times if need be, until a time; the answer. Raises RelayFailed."""
        failure = "does not answer in time"
        for pause in (0.0, *[_PAUSE_SECONDS] * (_TRIES - 1)):
            if time.monotonic() + pause >= end:
                break
            self._sleep(pause)
            try:
                status, answer = _until(end, lambda: _answer(send()))
            except TimeoutError:
                break
            except (requests.RequestException, HTTPError, OSError) as error:
                failure = f"does not answer ({type(error).__name__})"
                continue
            if status == 200:
                return answer
            failure = f"answers {status}: {str(answer.get('error', ''))[:_MAX_SHOWN]!r}"
            if status not in _AGAIN:
                break
        raise RelayFailed(f"The relay {shown_url(self.url)} {failure}.")


def _answer(response: requests.Response) -> tuple[int, dict[str, Any]]:
    """The status, and a short JSON object; anything else is taken for an empty one."""
    with response:
        body = response.raw.read(_MAX_ANSWER_BYTES, decode_content=False)
    try:
        answer = from_json(body)
    except ValueError:
        answer = None
    return response.status_code, answer if isinstance(answer, dict) else {}


def _until(end: float, call: Callable[[], _T]) -> _T:
    """Call in a thread, which is left behind at a time. Raises TimeoutError, and what it raises.

    The timeouts of sockets are about silence: they do not end a conversation that drags on.
    """
    outcome: queue.SimpleQueue[_T | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put(call())
        except Exception as error:
            outcome.put(error)

    threading.Thread(target=run, name="relay client", daemon=True).start()
    try:
        result = outcome.get(timeout=max(0.0, end - time.monotonic()))
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, Exception):
        raise result
    return result
