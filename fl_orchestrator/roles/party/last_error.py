"""A trainer's last error in full, in a file that only the party's own user can read.

Frameworks may put rows of the data into their error messages. A log may be copied to other
machines, so it contains only a summary.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

from fl_orchestrator.errors import FloError
from fl_orchestrator.files import OWNER_ONLY, write_whole

FILE: Final = "last-error.txt"


def keep_error(home: Path, error: FloError) -> str:
    """Write an error in full to a party's directory; return its summary, with the path."""
    path = home / FILE
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = "".join(traceback.format_exception(error))
        write_whole(path, text.encode(errors="backslashreplace").decode(), OWNER_ONLY)
    except OSError as problem:
        return f"{error.for_log} All of it could not be written to {path}: {problem}."
    return f"{error.for_log} All of it is in {path}."
