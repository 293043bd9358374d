"""Routes of the HTTP services, and the parameters in their paths and queries.

Parameters that are not what a route takes are answered with 422. Every refusal is a JSON object
with a sentence, ``error``; so is the answer to a defect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_DIGITS: Final = re.compile(r"\d{1,20}", re.ASCII)
_UNPROCESSABLE: Final = 422

Endpoint = Callable[[Request], Any]


def application(
    routes: Sequence[Route],
    middleware: Sequence[Middleware],
    explain: Callable[[Request, Exception], Response],
    errors: Sequence[type[Exception]],
) -> Starlette:
    """A service, which answers these errors by ``explain``; ``middleware`` from the outside in."""
    handlers: dict[Any, Any] = dict.fromkeys(errors, explain)
    handlers[HTTPException] = _explain
    handlers[Exception] = _admit
    made = Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)
    # A path with a slash too many would be answered with the host's name of the request.
    made.router.redirect_slashes = False
    return made


def route(method: str, path: str, endpoint: Endpoint) -> Route:
    """A route for one method. HEAD is not one of GET's: a file would be read to send nothing."""
    made = Route(path, endpoint, methods=[method])
    made.methods = {method}
    return made


def whole_number(name: str, text: str, least: int, below: int) -> int:
    """A number from ``least`` on, below ``below``. Raises HTTPException."""
    number = int(text) if _DIGITS.fullmatch(text) else -1
    if not least <= number < below:
        _refuse(name, f"a whole number from {least} to {below - 1}")
    return number


def in_path(request: Request, name: str) -> str:
    return cast("str", request.path_params[name])


def number_in_query(request: Request, name: str, default: int, least: int, below: int) -> int:
    """A number, or the default where none is given. Raises HTTPException."""
    text = request.query_params.get(name)
    return default if text is None else whole_number(name, text, least, below)


def choice_in_query(request: Request, name: str, *choices: str) -> str:
    """One of some words; the first is the default. Raises HTTPException."""
    text = request.query_params.get(name, choices[0])
    if text not in choices:
        _refuse(name, f"one of {', '.join(choices)}")
    return text


def text_in_query(request: Request, name: str, longest: int) -> str:
    """A text, empty where none is given. Raises HTTPException."""
    text = request.query_params.get(name, "")
    if len(text) > longest:
        _refuse(name, f"a text of {longest} characters at most")
    return text


def matching(name: str, text: str, pattern: re.Pattern[str], what: str) -> re.Match[str]:
    """The match of a whole text, which is to be ``what``. Raises HTTPException."""
    found = pattern.fullmatch(text)
    if found is None:
        _refuse(name, what)
    return found


def _refuse(name: str, what: str) -> NoReturn:
    raise HTTPException(_UNPROCESSABLE, f"{name} has to be {what}.")


def _explain(_: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _admit(_: Request, _error: Exception) -> Response:
    """The answer to a defect, which the server writes to its log."""
    return JSONResponse({"error": "A defect of flo: the log of this service has it."}, 500)
