"""Exact sums of private rounds of 50 parties, of which five drop out, each in another way.

The chain, the contract and the roles are the real ones, in this process. It is a part of
`make chaos`; the tests do the same with 10 parties.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from support.drop_outs import DropOuts

from fl_orchestrator.cli.logs import silence

_PARTIES = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seats", type=int, nargs="+", default=[4, 7])
    silence()
    for seats in parser.parse_args().seats:
        for absent in (False, True):
            began = time.process_time()
            with tempfile.TemporaryDirectory(prefix="flo-fifty-") as scratch:
                played = DropOuts(Path(scratch), _PARTIES, seats, absent)
                played.play()
                played.check(absent)
            print(
                f"{_PARTIES} parties, {seats} aggregators, {len(played.seats)} of them there: the "
                f"exact sum of {len(played.federation.included())} updates; "
                f"{time.process_time() - began:.0f} CPU-s",
                flush=True,
            )


main()
