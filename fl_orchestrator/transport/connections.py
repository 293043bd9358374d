"""urllib3 connections that respect a deadline, and the requests session that uses them."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import connection

from fl_orchestrator.transport.deadline import Deadline, current_deadline

# A name look-up that hangs cannot be stopped. This limits how many may hang at the same time.
_MAX_LOOKUPS: Final = 32
_LOOKUPS: Final = threading.BoundedSemaphore(_MAX_LOOKUPS)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host.rstrip(".").lower().rpartition(".")[2] == "localhost"
    return address.is_loopback or address.is_unspecified


def resolve(host: str, port: int, seconds: float) -> list[str]:
    """The IP addresses of a host name.

    Raises TimeoutError after ``seconds``, and OSError or UnicodeError when there are none.
    """
    try:
        return [str(ipaddress.ip_address(host.strip("[]")))]
    except ValueError:
        pass
    found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            family = connection.allowed_gai_family()
            entries = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
            found.put([str(entry[4][0]) for entry in entries])
        except Exception as error:
            found.put(error)
        finally:
            _LOOKUPS.release()

    if not _LOOKUPS.acquire(timeout=seconds):
        raise TimeoutError(f"{_MAX_LOOKUPS} other names are being resolved")
    threading.Thread(target=look_up, name="name resolution", daemon=True).start()
    try:
        outcome = found.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"the name {host} was not resolved in time") from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class _Guarded(HTTPConnection):
    """A connection whose socket the current deadline guards from the first packet on."""

    _deadline: Deadline | None = None

    def _new_conn(self) -> socket.socket:
        self._deadline = current_deadline()
        try:
            opened = self._open(self._deadline)
        except (socket.gaierror, UnicodeError) as error:
            reason = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
            raise NameResolutionError(self.host, self, reason) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection in time: {error}") from error
        except OSError as error:
            raise NewConnectionError(self, f"no connection: {error}") from error
        self._deadline.guard(opened)
        return opened

    def _open(self, deadline: Deadline) -> socket.socket:
        """Connect to the first address that accepts; each address gets a share of the time."""
        addresses = resolve(self._dns_host, self.port, deadline.remaining)
        for place, address in enumerate(addresses, 1):
            share = deadline.remaining / (len(addresses) - place + 1)
            if share <= 0:
                break
            try:
                return connection.create_connection(
                    (address, self.port),
                    share,
                    source_address=self.source_address,
                    socket_options=self.socket_options,
                )
            except OSError:
                if place == len(addresses):
                    raise
        raise TimeoutError(f"{self.host} did not accept a connection in time")

    def request(self, *arguments: Any, **options: Any) -> None:
        deadline = current_deadline()
        # A kept-alive connection is still guarded by the deadline of an earlier request.
        if self.sock is not None and self._deadline is not deadline:
            self._deadline = deadline
            deadline.guard(self.sock)
        super().request(*arguments, **options)


class _HttpsConnection(_Guarded, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


_POOLS: Final = {"http": _HttpPool, "https": _HttpsPool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class Session(requests.Session):
    """A session that respects deadlines, follows no redirects and accepts no cookies.

    It uses a proxy of the environment (``HTTP_PROXY``) only for other hosts, not for this machine.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter())

    def merge_environment_settings(self, url: Any, *arguments: Any, **options: Any) -> Any:
        settings = super().merge_environment_settings(url, *arguments, **options)
        if is_loopback(urlsplit(url).hostname or ""):
            settings["proxies"] = {}
        return settings

    def get_redirect_target(self, _response: requests.Response) -> None:
        """Return None: else requests reads the whole body of a redirect that it does not follow."""
        return
