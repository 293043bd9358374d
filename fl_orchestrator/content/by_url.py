"""Opens the content store that a URL names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from fl_orchestrator.content.store import ContentStore, StoreUnavailable, StoreUrlError
from fl_orchestrator.errors import install_hint


def open_store(url: str, gateways: Sequence[str] = ()) -> ContentStore:
    """Open the store that a URL names.

    ``file:///path/to/directory`` is a local directory, which is created if it does not exist.
    ``kubo+http://127.0.0.1:5001`` is the RPC API of an IPFS node (Kubo), which needs the extra
    ``kubo``; the URL may use https, have a path, and contain ``user:password@`` or a bearer
    ``token@``. Content that the store does not have is requested from the ``gateways``,
    ``https://host``, in their order. Raises StoreUrlError or StoreUnavailable.
    """
    store = _open_own(url)
    if not gateways:
        return store
    from fl_orchestrator.content.gateway import Gateway, StoreWithGateways

    return StoreWithGateways(store, [Gateway(gateway) for gateway in gateways])


def _open_own(url: str) -> ContentStore:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (the property validates)
    except ValueError as error:
        raise StoreUrlError("The store URL is malformed.", _URL_HINT) from error
    opener = _OPENERS.get(parts.scheme)
    if opener is None or parts.query or parts.fragment:
        raise StoreUrlError(f"The store URL {_shown(parts)!r} is not understood.", _URL_HINT)
    return opener(parts)


def _shown(parts: SplitResult) -> str:
    """The URL without the parts that may be secret: user, password and query."""
    host = parts.netloc.rpartition("@")[2]
    shown = parts._replace(netloc=host, query="", fragment="").geturl()
    # urlunsplit() makes file:///store of file:store.
    relative = not parts.netloc and not parts.path.startswith("/")
    return shown.replace(":///", ":", 1) if relative else shown


def _open_local(parts: SplitResult) -> ContentStore:
    from fl_orchestrator.content.local import LocalStore

    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise StoreUrlError(f"The store URL {_shown(parts)!r} has no absolute path.", _URL_HINT)
    return LocalStore(Path(path))


def _open_kubo(parts: SplitResult) -> ContentStore:
    secure = parts.scheme == "kubo+https"
    port = parts.port or (_HTTPS_PORT if secure else 0)
    user, password = parts.username, parts.password
    named = parts.hostname and not any(c.isspace() for c in unquote(parts.netloc + parts.path))
    if not named or not port or (password is not None and not user):
        raise StoreUrlError(
            f"The store URL {_shown(parts)!r} has no valid host and port.", _URL_HINT
        )
    try:
        from fl_orchestrator.content.kubo import KuboStore
    except ModuleNotFoundError as error:
        raise StoreUnavailable(
            f"A Kubo store needs the Python package {error.name}, which is not installed.",
            install_hint("kubo"),
        ) from error
    return KuboStore(
        parts.hostname or "",
        port,
        secure=secure,
        path=parts.path,
        user=None if user is None else unquote(user),
        password=None if password is None else unquote(password),
    )


_HTTPS_PORT: Final = 443
_URL_HINT: Final = (
    "Use file:///path/to/directory, kubo+http://127.0.0.1:5001 or "
    "kubo+https://user:password@host/path."
)
_OPENERS: Final[dict[str, Callable[[SplitResult], ContentStore]]] = {
    "file": _open_local,
    "kubo+http": _open_kubo,
    "kubo+https": _open_kubo,
}
