"""A keeper's relay over HTTP: accepts signed messages and updates, and serves content.

    POST /v1/commits, /v1/reveals, /v1/attestations    a message, for the keeper to send
    POST /v1/claims, /v1/words                         those that only private federations have
    GET  /v1/words/{round}                             what aggregators told each other
    POST /v1/uploads                                   a message that names a file, before the file
    PUT  /v1/uploads/{cid}                             the bytes, once the commit phase has closed
    GET  /ipfs/{cid}                                   content that the keeper holds
    GET  /v1/status, /healthz                          the chain's state as the relay sees it

Nobody has to trust the relay: it cannot forge a message, change a byte, or read an update early. If
it drops a message, the author sees that the message is missing on the chain.

The relay serves content to everybody who knows its CID. A CID is a hash, so nobody knows it before
the file is announced. An update's bytes are refused until the commit phase has closed, so during
that phase the relay has no update of the open round. It serves only what the keeper's own store
has; only the manifest, and the models that a party starts from, are also fetched from elsewhere.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from web3.exceptions import Web3Exception

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.content.cid import Cid, CidError
from fl_orchestrator.content.store import ContentNotFound, ContentStore
from fl_orchestrator.errors import FloError
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.manifest import MAX_MANIFEST_BYTES, Manifest
from fl_orchestrator.model.vector_file import VectorKind, max_file_bytes
from fl_orchestrator.relay.box import StoredMailbox
from fl_orchestrator.relay.messages import RelayMessage, any_of
from fl_orchestrator.relay.private_messages import WordMessage
from fl_orchestrator.relay.private_screening import PrivateScreening
from fl_orchestrator.relay.routing import application, in_path, route, whole_number
from fl_orchestrator.relay.screening import MessageKind, Refused, Screening, TooEarly
from fl_orchestrator.relay.throttle import Throttle
from fl_orchestrator.relay.uploads import Uploads, too_large, unpacked
from fl_orchestrator.roles.manifests import manifest_cid
from fl_orchestrator.roles.masked.words import SignedWord
from fl_orchestrator.roles.retention import Retention
from fl_orchestrator.transport import packing

_log = get_logger(__name__)

_BODY_SECONDS: Final = 10.0
_DOWNLOAD_SECONDS: Final = 3600.0
_RETRY_SECONDS: Final = 1
_RANGE: Final = re.compile(r"bytes=(\d{1,12})-", re.ASCII)


@dataclass(frozen=True, slots=True)
class RelayServer:
    """The objects that the service uses."""

    federation: Federation
    store: ContentStore
    box: StoredMailbox
    screen: Screening
    uploads: Uploads
    throttle: Throttle
    max_content_bytes: int
    begins_with: frozenset[Cid]
    packs: bool

    @classmethod
    def of(
        cls,
        federation: Federation,
        store: ContentStore,
        manifest: Manifest,
        box: StoredMailbox,
        directory: Path,
        *,
        throttle: Throttle | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> RelayServer:
        """A relay of a federation; ``directory`` is for unfinished uploads."""
        private = isinstance(federation, PrivateFederation)
        screen = (PrivateScreening if private else Screening)(federation, manifest, clock)
        params = federation.params()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(
            federation,
            store,
            box,
            screen,
            Uploads(
                store,
                Retention(federation, store, directory / "kept.json"),
                directory,
                screen.max_upload_bytes,
            ),
            throttle or Throttle(),
            max(
                max_file_bytes(manifest.layout, VectorKind.GLOBAL),
                MAX_MANIFEST_BYTES,
                screen.max_upload_bytes,
            ),
            frozenset({manifest_cid(params.manifest_digest), params.genesis_cid}),
            # What is masked has nothing to save.
            packs=not private and packing.is_available(),
        )

    def gives(self, cid: Cid) -> bool:
        """Whether to serve content: all that the store has, and what every party starts from."""
        if self.store.has(cid) or cid in self.begins_with:
            return True
        seen = self.screen.current()
        return cid in (seen.head.cid, seen.current.base_cid)


def relay_app(relay: RelayServer) -> Starlette:
    """The HTTP service."""
    routes = [
        *(_take(relay, kind) for kind in relay.screen.kinds),
        *_take_files(relay),
        *_give(relay),
        _give_words(relay),
    ]
    errors = (Refused, FloError, OSError, Web3Exception, ClientDisconnect)
    return application(routes, [Middleware(_Counted, throttle=relay.throttle)], _explain, errors)


class _Counted:
    """Counts every request, and refuses those beyond the limit before anything is read."""

    def __init__(self, app: ASGIApp, throttle: Throttle) -> None:
        self._app = app
        self._throttle = throttle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            try:
                self._throttle.request(_host(request))
            except Refused as refused:
                await _explain(request, refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _take(relay: RelayServer, kind: MessageKind) -> Route:
    def keep(message: RelayMessage) -> dict[str, Any]:
        value = message.value()
        author = kind.screen(message.round, value)
        relay.throttle.message(author, message.round, kind.path)
        relay.box.post(message.round, value)
        return {"waiting": True}

    form = any_of([kind.form])

    async def post(request: Request) -> Response:
        message = await _read(request, form, kind.max_bytes)
        return JSONResponse(await run_in_threadpool(keep, message))

    return route("POST", f"/v1/{kind.path}", post)


def _take_files(relay: RelayServer) -> list[Route]:
    kinds = [kind for kind in relay.screen.kinds if kind.upload]
    form, limit = any_of(kind.form for kind in kinds), max(kind.max_bytes for kind in kinds)

    def expect(message: RelayMessage) -> dict[str, Any]:
        (check,) = [k.upload for k in kinds if k.upload and isinstance(message, k.form)]
        upload = check(message.round, message.value())
        relay.throttle.message(upload.author, message.round, "uploads")
        stored = relay.uploads.expect(upload)
        codings = [packing.CODING] if relay.packs else []
        return {"stored": stored, "max_bytes": upload.max_bytes, "codings": codings}

    async def announce(request: Request) -> Response:
        message = await _read(request, form, limit)
        return JSONResponse(await run_in_threadpool(expect, message))

    async def upload(request: Request) -> Response:
        cid = _parse_cid(in_path(request, "cid"))
        most = relay.uploads.limit(cid)
        if int(request.headers.get("content-length", 0)) > most:
            raise too_large(most)
        coding = request.headers.get("content-encoding", "identity").strip().lower()
        if coding == packing.CODING and relay.packs:
            await relay.uploads.receive(cid, unpacked(request.stream(), most))
        elif coding == "identity":
            await relay.uploads.receive(cid, request.stream())
        else:
            raise Refused(415, "The relay does not take this content coding.")
        return JSONResponse({"stored": True})

    return [route("POST", "/v1/uploads", announce), route("PUT", "/v1/uploads/{cid}", upload)]


def _give(relay: RelayServer) -> list[Route]:
    def content(request: Request) -> Response:
        cid, host = _parse_cid(in_path(request, "cid")), _host(request)
        if not relay.gives(cid):
            raise Refused(404, "The keeper does not have this content.")
        begin = _beginning(request.headers.get("range"))
        relay.throttle.begin_download(host)
        try:
            size = _size(relay, cid) if begin else 0
            if begin and begin >= size:
                raise Refused(416, "The content ends before this range.")
            source = _opened_at(relay, cid, begin)
        except BaseException:
            relay.throttle.end_download(host)
            raise

        def blocks() -> Iterator[bytes]:
            while block := source.read(packing.BLOCK_BYTES):
                yield block

        # A range is one of the bytes as they are.
        asked = packing.accepts(request.headers.get("accept-encoding"))
        packs = relay.packs and asked and not begin

        def done() -> None:
            source.close()
            relay.throttle.end_download(host)

        part = f"bytes {begin}-{size - 1}/{size}" if begin else None
        return _Download(packing.packed(blocks()) if packs else blocks(), done, part, packs)

    def status(_: Request) -> Response:
        seen = relay.screen.current()
        found = {
            "chain_id": relay.federation.chain_id,
            "federation": relay.federation.address,
            "block": seen.block_number,
            "timestamp": seen.timestamp,
            "round": seen.current.round,
            "phase": seen.current.phase.name.lower(),
            "max_update_bytes": relay.screen.max_update_bytes,
        }
        return JSONResponse(found)

    def health(_: Request) -> Response:
        relay.screen.current()
        return JSONResponse({"ok": True})

    return [
        route("GET", "/ipfs/{cid}", content),
        route("GET", "/v1/status", status),
        route("GET", "/healthz", health),
    ]


def _give_words(relay: RelayServer) -> Route:
    def words(request: Request) -> Response:
        number = whole_number("round", in_path(request, "round"), 0, 1 << 32)
        waiting = relay.box.waiting(number, SignedWord)
        found = [WordMessage.of(number, word).model_dump() for word in waiting]
        return JSONResponse({"words": found})

    return route("GET", "/v1/words/{round}", words)


def _beginning(asked: str | None) -> int:
    """Where a download goes on that has broken off; other ranges are not asked for here."""
    found = _RANGE.fullmatch(asked or "")
    return int(found[1]) if found else 0


def _size(relay: RelayServer, cid: Cid) -> int:
    """The size of content, which a store does not tell. Only a resumed download needs it."""
    with relay.store.get(cid, relay.max_content_bytes) as source:
        return sum(len(block) for block in iter(lambda: source.read(packing.BLOCK_BYTES), b""))


def _opened_at(relay: RelayServer, cid: Cid, begin: int) -> BinaryIO:
    source = relay.store.get(cid, relay.max_content_bytes)
    try:
        while begin > 0 and (block := source.read(min(begin, packing.BLOCK_BYTES))):
            begin -= len(block)
    except BaseException:
        source.close()
        raise
    return source


class _Download(StreamingResponse):
    """Sends a file, and calls ``done`` at the end, also after an error."""

    def __init__(
        self, blocks: Iterator[bytes], done: Callable[[], None], part: str | None, packed: bool
    ) -> None:
        """`part` is the Content-Range of a file that does not begin at its beginning."""
        # The bytes of a CID never change, so they can be cached; a browser must not execute them.
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
            "Vary": "Accept-Encoding",
        }
        if packed:
            headers["Content-Encoding"] = packing.CODING
        if part is not None:
            headers["Content-Range"] = part
        status, kind = 206 if part is not None else 200, "application/octet-stream"
        super().__init__(blocks, status, media_type=kind, headers=headers)
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(_DOWNLOAD_SECONDS):
                await super().__call__(scope, receive, send)
        except (FloError, OSError) as error:
            # The status is already sent, so an error can only close the connection early.
            _log.warning("download broke off", error=type(error).__name__, reason=str(error))
        finally:
            self._done()


async def _read(request: Request, form: TypeAdapter[RelayMessage], limit: int) -> RelayMessage:
    """Read a message of this form, of at most ``limit`` bytes. Raises Refused."""
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large(limit)
        return form.validate_json(bytes(body))
    except TimeoutError:
        raise Refused(408, "The message took too long.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "message"
        raise Refused(400, f"Malformed message: {where}: {first['msg']}.") from None


def _parse_cid(text: str) -> Cid:
    try:
        return Cid.parse(text)
    except CidError as error:
        raise Refused(400, str(error)) from None


def _host(request: Request) -> str:
    return request.client.host if request.client else ""


def _explain(_: Request, error: Exception) -> Response:
    """Answer every failure with one sentence, without details of errors on this side."""
    if isinstance(error, Refused):
        wait = {"Retry-After": str(_RETRY_SECONDS)} if isinstance(error, TooEarly) else {}
        return JSONResponse({"error": error.reason}, error.status, wait)
    if isinstance(error, ContentNotFound):
        return JSONResponse({"error": "The keeper does not have this content."}, 404)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)
    _log.warning("relay failed", error=type(error).__name__, reason=str(error))
    return JSONResponse({"error": "The relay cannot do this at the moment."}, 503)
