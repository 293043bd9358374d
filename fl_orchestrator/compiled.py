"""Compiles inner loops with numba, in one way for all of them.

Import this only from modules of loops, and those only where a loop runs: numba takes a second to
import.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

from fl_orchestrator.log import get_logger

_log = get_logger(__name__)
_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(signature: Any) -> Callable[[_Function], _Function]:
    """Compile now, and cache the code on disk for the next process if possible.

    Numba cannot cache if none of the package's directory, the home directory and NUMBA_CACHE_DIR is
    writable, or if the disk is full. Then each process compiles again. The code runs without
    Python's lock, so that threads run it side by side.
    """

    def compile_(function: _Function) -> _Function:
        try:
            code: _Function = numba.njit(signature, cache=True, nogil=True)(function)
        except (RuntimeError, OSError) as error:
            _log.info("no cache for compiled code: set NUMBA_CACHE_DIR", reason=str(error))
            code = numba.njit(signature, nogil=True)(function)
        return code

    return compile_


def inlined(function: _Function) -> _Function:
    """Make a function callable from compiled ones; it is compiled as a part of each caller."""
    code: _Function = numba.njit(function)
    return code
