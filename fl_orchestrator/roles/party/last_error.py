"""The whole of a trainer's last error, in a file that only the party's own account can read.

Frameworks put rows of the data into the texts of their errors: a log, which goes to other machines
and is kept, has a summary.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

from fl_orchestrator.errors import FloError
from fl_orchestrator.files import write_whole

FILE: Final = "last-error.txt"
_PRIVATE: Final = 0o600


def keep_error(home: Path, error: FloError) -> str:
    """Write all of an error to a party's directory; what a log may have, and where the rest is."""
    path = home / FILE
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = "".join(traceback.format_exception(error))
        write_whole(path, text.encode(errors="backslashreplace").decode(), _PRIVATE)
    except OSError as problem:
        return f"{error.for_log} All of it could not be written to {path}: {problem}."
    return f"{error.for_log} All of it is in {path}."
