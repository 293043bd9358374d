"""The HTTP service: the page, its JSON, and its events."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fl_orchestrator.chain.types import ModelView
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.dashboard.server.board import Board
from fl_orchestrator.dashboard.server.details import SORTS, Details, NotThere
from fl_orchestrator.dashboard.server.guard import Guard, client_of
from fl_orchestrator.dashboard.server.recompute import Busy, Recomputations
from fl_orchestrator.errors import FloError
from fl_orchestrator.json_text import to_json
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.protocol import ADDRESS
from fl_orchestrator.relay.routing import (
    application,
    choice_in_query,
    in_path,
    matching,
    number_in_query,
    route,
    text_in_query,
    whole_number,
)

_log = get_logger(__name__)

_PAGE: Final = "fl_orchestrator.dashboard.page"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_NAME: Final = re.compile(r"[a-z0-9-]+(\.min)?\.(js|css|svg|txt|html)")
_MOST_STREAMS: Final = 128
_MOST_STREAMS_OF_ONE: Final = 16
_LOOK_SECONDS: Final = 0.25
# A browser asks again before it takes a file of its own: after an update it has the new page.
_CACHE: Final = "no-cache"
_VAGUE: Final = "the chain or the store cannot give what it takes"

# Numbers of rounds, and of accounts that are left out.
_NUMBERS: Final = 1 << 32
_OFFSETS: Final = 1 << 24
_MOST_ACCOUNTS: Final = 100
_LONGEST_SEARCH: Final = 64
# A block, and a place in it.
_PLACE: Final = re.compile(r"(\d{1,15})\.(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Service:
    """What the service shows. Without ``recomputations`` nobody can ask for any.

    ``hosts`` are the names that it is known by (see `Guard`); ``root_path`` is the path at which a
    proxy serves it. To strangers it is not ``candid``: the sentences of errors have addresses of
    nodes and paths of stores.
    """

    board: Board
    details: Details
    recomputations: Recomputations | None
    hosts: Sequence[str] = ()
    root_path: str = ""
    candid: bool = True

    def state(self) -> dict[str, Any]:
        asked = self.recomputations
        found, jobs = self.board.read(), asked.jobs() if asked else []
        if not self.candid:
            if found["error"] is not None:
                found["error"] = "The chain cannot be read at the moment."
            if found.get("store", {}).get("error"):
                found["store"] = {"given": True, "error": "Its owner can see why."}
            jobs = [{**job, "text": _VAGUE} if job["state"] == "failed" else job for job in jobs]
        return {**found, "recompute": {"allowed": asked is not None, "jobs": jobs}}


def dashboard_app(service: Service) -> Starlette:
    """The HTTP service."""
    guard = Middleware(Guard, hosts=service.hosts, root_path=service.root_path)
    # Events are not compressed: the middleware leaves them out by their type.
    packing = Middleware(GZipMiddleware, minimum_size=1_000, compresslevel=6)
    routes = [*_data(service), _events(service), _recomputations(service), *_page()]
    return application(routes, [guard, packing], _explain, [FloError, sqlite3.Error])


def _data(service: Service) -> list[Route]:
    def state(_: Request) -> Response:
        return _json(service.state())

    def rounds(request: Request) -> Response:
        after = number_in_query(request, "after", 0, 0, _NUMBERS)
        return _json(service.details.rounds(after))

    def one_round(request: Request) -> Response:
        return _json(service.details.round(_number(request)))

    def accounts(request: Request) -> Response:
        role = choice_in_query(request, "role", "party", "aggregator")
        sort = choice_in_query(request, "sort", *SORTS)
        down = choice_in_query(request, "order", "up", "down") == "down"
        text = text_in_query(request, "q", _LONGEST_SEARCH)
        offset = number_in_query(request, "offset", 0, 0, _OFFSETS)
        limit = number_in_query(request, "limit", 25, 1, _MOST_ACCOUNTS + 1)
        return _json(service.details.accounts(role, sort, down, text, offset, limit))

    def account(request: Request) -> Response:
        address = in_path(request, "address")
        matching("address", address, ADDRESS, "an address")
        before, position = request.query_params.get("before"), None
        if before is not None:
            found = matching("before", before, _PLACE, "a block and a place, as 12.3")
            position = int(found[1]), int(found[2])
        return _json(service.details.account(address, position))

    def health(_: Request) -> Response:
        found = service.board.read()
        return _json({"ok": found["error"] is None, "silent": found["silent"]})

    return [
        route("GET", "/api/state", state),
        route("GET", "/api/rounds", rounds),
        route("GET", "/api/rounds/{number}", one_round),
        route("GET", "/api/accounts", accounts),
        route("GET", "/api/accounts/{address}", account),
        route("GET", "/healthz", health),
    ]


def _number(request: Request) -> int:
    return whole_number("number", in_path(request, "number"), 1, _NUMBERS)


def _events(service: Service) -> Route:
    streams: Counter[str] = Counter()

    async def states() -> AsyncIterator[dict[str, str]]:
        sent = None
        while not service.board.closed:
            found = service.state()
            shown = (found["version"], found["recompute"])
            if shown != sent:
                sent = shown
                yield {"event": "state", "data": to_json(found)}
            await asyncio.sleep(_LOOK_SECONDS)

    async def events(request: Request) -> Response:
        client = client_of(request)
        if streams.total() >= _MOST_STREAMS or streams[client] >= _MOST_STREAMS_OF_ONE:
            return JSONResponse({"error": "Too many pages are open."}, 429)

        def done() -> None:
            streams[client] -= 1
            if not streams[client]:
                del streams[client]

        # Not when the first event is made: many may ask before that.
        streams[client] += 1
        return _Stream(states(), done)

    return route("GET", "/api/events", events)


class _Stream(EventSourceResponse):
    """Sends events, and calls ``done`` at the end, also after an error."""

    def __init__(self, states: AsyncIterator[dict[str, str]], done: Callable[[], None]) -> None:
        super().__init__(states, ping=15)
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._done()


def _recomputations(service: Service) -> Route:
    def recompute(request: Request) -> Response:
        number = _number(request)
        one = service.details.row(number).sum
        if service.recomputations is None:
            sentence = "Recomputing is off here: see `flo dashboard --recompute`."
            return JSONResponse({"error": sentence}, 403)
        if one.root is None or one.cid is None or one.height is None:
            return JSONResponse({"error": f"Round {number} has no model."}, 409)
        model = ModelView(one.height, number, bytes.fromhex(one.root[2:]), Cid.parse(one.cid))
        job = service.recomputations.ask(model, one.included or 0)
        return _json({"state": job.state})

    return route("POST", "/api/recompute/{number}", recompute)


def _page() -> list[Route]:
    files = _page_files()

    def page(_: Request) -> Response:
        return _file(files, "index.html")

    def file(request: Request) -> Response:
        return _file(files, in_path(request, "name"))

    return [route("GET", "/", page), route("GET", "/page/{name}", file)]


def _page_files() -> dict[str, bytes]:
    """The page's files by their names; they are few and small."""
    found = {}
    for folder in (resources.files(_PAGE), resources.files(_PAGE) / "vendor"):
        for entry in folder.iterdir():
            if entry.is_file() and _NAME.fullmatch(entry.name):
                found[entry.name] = entry.read_bytes()
    return found


def _file(files: dict[str, bytes], name: str) -> Response:
    if name not in files:
        return JSONResponse({"error": "There is no such file."}, 404)
    kind = _TYPES["." + name.rpartition(".")[2]]
    return Response(files[name], media_type=kind, headers={"Cache-Control": _CACHE})


def _json(value: Any) -> Response:
    return Response(to_json(value, separators=(",", ":")), media_type="application/json")


def _explain(_: Request, error: Exception) -> Response:
    """Answer an error with its sentence."""
    if isinstance(error, sqlite3.Error):
        # It is damaged or gone until the follower makes it again.
        _log.warning("index unreadable", reason=str(error))
        return JSONResponse({"error": "The index cannot be read at the moment."}, 503)
    status = 404 if isinstance(error, NotThere) else 429 if isinstance(error, Busy) else 503
    return JSONResponse({"error": str(error)}, status)
