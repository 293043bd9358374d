"""The HTTP service: the page, its JSON, and its events."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from sse_starlette import EventSourceResponse
from starlette.middleware.gzip import GZipMiddleware

from fl_orchestrator.chain.types import ModelView
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.dashboard.server.board import Board
from fl_orchestrator.dashboard.server.details import Details, NotThere
from fl_orchestrator.dashboard.server.guard import Guard, client_of
from fl_orchestrator.dashboard.server.recompute import Busy, Recomputations
from fl_orchestrator.errors import FloError
from fl_orchestrator.json_text import to_json

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

Number = Annotated[int, Path(ge=1, lt=1 << 32)]
Address = Annotated[str, Path(pattern="^0x[0-9a-fA-F]{40}$")]
Sort = Literal["address", "stake", "state", "seen", "missed", "rewards", "rounds"]


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


def dashboard_app(service: Service) -> FastAPI:
    """The HTTP service."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(FloError, _explain)
    # Events are not compressed: the middleware leaves them out by their type.
    app.add_middleware(GZipMiddleware, minimum_size=1_000, compresslevel=6)
    app.add_middleware(Guard, hosts=service.hosts, root_path=service.root_path)
    _give_data(app, service)
    _give_events(app, service)
    _take_recomputations(app, service)
    _give_page(app)
    return app


def _give_data(app: FastAPI, service: Service) -> None:
    @app.get("/api/state")
    def state() -> Response:
        return _json(service.state())

    @app.get("/api/rounds")
    def rounds(after: Annotated[int, Query(ge=0, lt=1 << 32)] = 0) -> Response:
        return _json(service.details.rounds(after))

    @app.get("/api/rounds/{number}")
    def one_round(number: Number) -> Response:
        return _json(service.details.round(number))

    @app.get("/api/accounts")
    def accounts(
        role: Literal["party", "aggregator"] = "party",
        sort: Sort = "address",
        order: Literal["up", "down"] = "up",
        q: Annotated[str, Query(max_length=64)] = "",
        offset: Annotated[int, Query(ge=0, lt=1 << 24)] = 0,
        limit: Annotated[int, Query(ge=1, le=100)] = 25,
    ) -> Response:
        return _json(service.details.accounts(role, sort, order == "down", q, offset, limit))

    @app.get("/api/accounts/{address}")
    def account(
        address: Address,
        before: Annotated[str | None, Query(pattern=r"^\d{1,15}\.\d{1,9}$")] = None,
    ) -> Response:
        block, _, place = (before or "").partition(".")
        position = (int(block), int(place)) if before else None
        return _json(service.details.account(address, position))

    @app.get("/healthz")
    def health() -> Response:
        found = service.board.read()
        return _json({"ok": found["error"] is None, "silent": found["silent"]})


def _give_events(app: FastAPI, service: Service) -> None:
    streams: dict[str, int] = {}

    async def states() -> AsyncIterator[dict[str, str]]:
        sent = None
        while not service.board.closed:
            found = service.state()
            shown = (found["version"], found["recompute"])
            if shown != sent:
                sent = shown
                yield {"event": "state", "data": to_json(found)}
            await asyncio.sleep(_LOOK_SECONDS)

    @app.get("/api/events")
    async def events(request: Request) -> Response:
        client = client_of(request)
        if sum(streams.values()) >= _MOST_STREAMS or streams.get(client, 0) >= _MOST_STREAMS_OF_ONE:
            return JSONResponse({"error": "Too many pages are open."}, 429)

        async def counted() -> AsyncIterator[dict[str, str]]:
            streams[client] = streams.get(client, 0) + 1
            try:
                async for one in states():
                    yield one
            finally:
                streams[client] -= 1
                if not streams[client]:
                    del streams[client]

        return EventSourceResponse(counted(), ping=15)


def _take_recomputations(app: FastAPI, service: Service) -> None:
    @app.post("/api/recompute/{number}")
    def recompute(number: Number) -> Response:
        row = service.details.row(number)
        one = row.sum
        if service.recomputations is None:
            sentence = "Recomputing is off here: see `flo dashboard --recompute`."
            return JSONResponse({"error": sentence}, 403)
        if one.root is None or one.cid is None or one.height is None:
            return JSONResponse({"error": f"Round {number} has no model."}, 409)
        model = ModelView(one.height, number, bytes.fromhex(one.root[2:]), Cid.parse(one.cid))
        job = service.recomputations.ask(model, one.included or 0)
        return _json({"state": job.state})


def _give_page(app: FastAPI) -> None:
    files = _page_files()

    @app.get("/")
    def page() -> Response:
        return _file(files, "index.html")

    @app.get("/page/{name}")
    def file(name: str) -> Response:
        return _file(files, name)


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
    status = 404 if isinstance(error, NotThere) else 429 if isinstance(error, Busy) else 503
    return JSONResponse({"error": str(error)}, status)
