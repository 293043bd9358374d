"""What every request passes: the host's name, the headers against foreign code, the rate."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fl_orchestrator.relay.counting import REQUESTS_PER_MINUTE, PerMinute, network_of

#: Recomputations per client.
RECOMPUTATIONS_PER_MINUTE: Final = 20
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HOST: Final = re.compile(r"(?:\[(?P<address>[^\]]+)\]|(?P<name>[^:\[\]]+))(?::[0-9]+)?")
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Refuses other hosts' names and too many requests, and sets the security headers.

    A page of another site may have its name resolved to this machine (DNS rebinding): its requests
    bear that name. ``hosts`` are the names that this server is known by, without port; without any,
    every name is taken. ``root_path`` is the path at which a proxy serves it, whether or not the
    proxy cuts it off.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], root_path: str) -> None:
        self._app = app
        self._root_path = root_path
        self._hosts = {host.lower().strip("[]") for host in hosts}
        self._requests = PerMinute(REQUESTS_PER_MINUTE)
        self._recomputations = PerMinute(RECOMPUTATIONS_PER_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        refusal = self._refusal(scope)
        scope = {**scope, "root_path": self._root_path}
        await (refusal or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._hosts and host_name(headers.get("host", "")) not in self._hosts:
            return _refused(
                421, "This dashboard is not known by that name: see `flo dashboard --host-name`."
            )
        client = network_of(scope["client"][0] if scope.get("client") else "")
        if not self._requests.hit(client):
            return _refused(429, "Too many requests from this address.")
        if self._root_path and scope["path"] == self._root_path:
            # Without a slash at its end, the relative addresses of the page would miss the path.
            return RedirectResponse(f"{self._root_path}/", 307)
        if scope["method"] == "POST":
            if not _same_origin(headers):
                return _refused(403, "Only the dashboard's own page may ask for that.")
            if not self._recomputations.hit(client):
                return _refused(429, "Too many recomputations asked for from this address.")
        return None


def host_name(host: str) -> str:
    """The name of a Host header, without its port; of an IPv6 address without its brackets."""
    found = _HOST.fullmatch(host)
    return (found["address"] or found["name"]).lower() if found else ""


def client_of(request: Request) -> str:
    return network_of(request.client.host if request.client else "")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _same_origin(headers: Headers) -> bool:
    """Browsers say with every POST whose page it is of; a program that says nothing may ask."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site not in (None, "same-origin", "none"):
        return False
    return origin is None or origin.partition("://")[2] == headers.get("host", "")


def _refused(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)
