"""Exact sums of private rounds: parties drop out at every step, and aggregators are away.

One party is never there, one commits only, the file of one cannot be had, one deals a wrong seed,
and one a wrong share to a single seat. `make chaos` does the same with 50 parties.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.drop_outs import DropOuts


@pytest.mark.parametrize("absent", [False, True], ids=["all seats", "as few seats as can be"])
@pytest.mark.parametrize("seats", [4, 7])
def test_the_model_is_that_of_the_included_updates(
    tmp_path: Path, seats: int, absent: bool
) -> None:
    played = DropOuts(tmp_path, 10, seats, absent)
    played.play()
    played.check(absent)
