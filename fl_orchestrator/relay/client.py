"""A relay on another machine, reached over HTTP."""

from __future__ import annotations

import io
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

import requests
from pydantic import ValidationError
from pydantic_core import from_json

from fl_orchestrator.chain.types import (
    MaskedUpdate,
    Signature,
    SignedClaim,
    SignedCommit,
    SignedMaskedCommit,
    Update,
)
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.gateway import HTTP_URL_HINT
from fl_orchestrator.errors import InputError
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.private_digests import Release
from fl_orchestrator.relay.private_messages import ALL_FORMS, WordMessage
from fl_orchestrator.roles.masked.relay import SignedPrivateResult
from fl_orchestrator.roles.masked.words import SignedWord
from fl_orchestrator.roles.relay import RelayFailed, SignedResult
from fl_orchestrator.transport import http, packing
from fl_orchestrator.transport.connections import Session
from fl_orchestrator.transport.deadline import Deadline

_log = get_logger(__name__)

#: The deadline of a message, in seconds, including all retries.
MESSAGE_SECONDS: Final = 20.0

_TRIES: Final = 3
_PAUSE_SECONDS: Final = 1.0
_MAX_ANSWER_BYTES: Final = 4096
# Some messages of each of ten seats.
_MAX_WORDS_BYTES: Final = 1 << 20
_MAX_SHOWN: Final = 200
# The statuses for too early, too many requests and unavailable, after which a retry may succeed.
_AGAIN: Final = frozenset({425, 429, 502, 503, 504})

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

_Send = Callable[[Deadline], tuple[int, dict[str, Any]]]


class RelayUrlError(InputError):
    """The URL does not name a relay."""


class HttpRelay:
    """The relay at a URL, such as ``https://keeper.example``; it may have a path.

    Every call has a deadline and raises RelayFailed after it, even if the relay answers byte by
    byte. The relay's answers are not trusted: the caller reads the chain.
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
        self._session = Session()

    def post_commit(self, round_number: int, commit: SignedCommit) -> None:
        self._post("commits", round_number, commit)

    def put_update(self, round_number: int, update: Update, file: Path, seconds: float) -> None:
        """Announce an update, and upload its bytes unless the relay has them."""
        with file.open("rb") as stream:
            self._upload(round_number, update, update.cid, stream, seconds, file.parent)

    def post_reveal(self, round_number: int, update: Update) -> None:
        self._post("reveals", round_number, update)

    def post_attestation(self, result: Result, signature: Signature) -> None:
        self._post("attestations", result.round, SignedResult(result, signature))

    # ------------------------------------------------------------------ private federations

    def post_masked_commit(self, round_number: int, commit: SignedMaskedCommit) -> None:
        self._post("commits", round_number, commit)

    def put_masked(
        self, round_number: int, update: MaskedUpdate, file: Path, seconds: float
    ) -> None:
        """Announce a masked update, and upload its bytes unless the relay has them."""
        with file.open("rb") as stream:
            self._upload(round_number, update, update.cid, stream, seconds)

    def post_masked_reveal(self, round_number: int, update: MaskedUpdate) -> None:
        self._post("reveals", round_number, update)

    def post_claim(self, round_number: int, claim: SignedClaim) -> None:
        self._post("claims", round_number, claim)

    def put_release(self, word: SignedWord, data: bytes, seconds: float) -> None:
        """Announce a release file, and upload its bytes unless the relay has them."""
        if isinstance(word.message, Release):
            self._upload(word.round, word, word.message.cid, io.BytesIO(data), seconds)

    def post_word(self, word: SignedWord) -> None:
        self._post("words", word.round, word)

    def words(self, round_number: int) -> list[SignedWord]:
        end = time.monotonic() + MESSAGE_SECONDS
        path = f"words/{round_number}"
        answer = self._ask(lambda d: self._send(d, "GET", path, "json", b"", _MAX_WORDS_BYTES), end)
        found = answer.get("words")
        try:
            words = [WordMessage.model_validate(word).value() for word in found or ()]
        except (ValidationError, TypeError):
            raise RelayFailed(
                f"The relay {http.shown_url(self.url)} answers with other messages."
            ) from None
        return [word for word in words if word.round == round_number]

    def post_private_attestation(self, signed: SignedPrivateResult) -> None:
        self._post("attestations", signed.result.round, signed)

    # ------------------------------------------------------------------ requests

    def _upload(
        self,
        round_number: int,
        message: object,
        cid: Cid,
        stream: BinaryIO,
        seconds: float,
        directory: Path | None = None,
    ) -> None:
        """Upload what the relay lacks; ``directory`` has room for a smaller form of it."""
        end = time.monotonic() + seconds
        answer = self._post("uploads", round_number, message, end)
        if answer.get("stored") is True:
            return
        # A file, because a retry sends it again, and the way through Kafka needs its length.
        with tempfile.TemporaryFile(dir=directory) as smaller:
            packs = _takes_packed(answer) and _packed_into(smaller, stream)
            body = smaller if packs else stream
            coding = {"Content-Encoding": packing.CODING} if packs else {}

            def put(deadline: Deadline) -> tuple[int, dict[str, Any]]:
                body.seek(0)
                path = f"uploads/{cid}"
                return self._send(deadline, "PUT", path, "octet-stream", body, headers=coding)

            self._ask(put, end)

    def _post(
        self, path: str, round_number: int, message: object, latest: float = math.inf
    ) -> dict[str, Any]:
        body = ALL_FORMS[type(message)].of(round_number, message).model_dump_json().encode()
        end = min(latest, time.monotonic() + MESSAGE_SECONDS)
        return self._ask(lambda deadline: self._send(deadline, "POST", path, "json", body), end)

    def _send(
        self,
        deadline: Deadline,
        method: str,
        path: str,
        kind: str,
        body: bytes | BinaryIO,
        max_answer: int = _MAX_ANSWER_BYTES,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> tuple[int, dict[str, Any]]:
        """The status, and a short JSON object, or an empty one if the status needs no body."""
        url, sent = f"{self.url}/v1/{path}", {"Content-Type": f"application/{kind}", **headers}
        with http.send(self._session, deadline, method, url, data=body, headers=sent) as response:
            try:
                answer = from_json(http.read(response, deadline, max_answer))
            except (http.TooMuch, ValueError):
                answer = None
            if isinstance(answer, dict):
                return response.status_code, answer
            if response.status_code == 200:
                raise requests.exceptions.InvalidJSONError
            return response.status_code, {}

    def _ask(self, send: _Send, end: float) -> dict[str, Any]:
        """Send a request, with retries until the time ``end``. Raises RelayFailed."""
        failure = "does not answer in time"
        for pause in (0.0, *[_PAUSE_SECONDS] * (_TRIES - 1)):
            if time.monotonic() + pause >= end:
                break
            self._sleep(pause)
            try:
                with Deadline(end - time.monotonic()) as deadline:
                    status, answer = send(deadline)
            except requests.Timeout:
                break
            except (requests.RequestException, OSError) as error:
                failure = f"does not answer ({type(error).__name__})"
                continue
            if status == 200:
                return answer
            failure = f"answers {status}: {str(answer.get('error', ''))[:_MAX_SHOWN]!r}"
            if status not in _AGAIN:
                break
        raise RelayFailed(f"The relay {http.shown_url(self.url)} {failure}.")


def _takes_packed(announced: Mapping[str, Any]) -> bool:
    """Whether the relay's answer to an announcement offers the coding, and it can be made here."""
    codings = announced.get("codings")
    return isinstance(codings, list) and packing.CODING in codings and packing.is_available()


def _packed_into(file: BinaryIO, stream: BinaryIO) -> bool:
    """Write a stream's coding to a file; say whether it is there, and smaller."""

    def pieces() -> Iterator[bytes]:
        while piece := stream.read(packing.BLOCK_BYTES):
            yield piece

    try:
        for piece in packing.packed(pieces()):
            file.write(piece)
        file.flush()
    except OSError as error:
        # Without room for it, the bytes are sent as they are.
        _log.warning("an update is sent unpacked", reason=str(error))
        return False
    return file.tell() < stream.tell()
