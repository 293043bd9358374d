"""A party's process that misbehaves: `flo` with one thing changed.

    python -m chaos.drop_out KIND ELSEWHERE party run …

KIND is a number of support.drop_outs. The masked update of one that is UNAVAILABLE is put into the
directory ELSEWHERE, and not into the store.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO
from unittest.mock import patch

from support.drop_outs import UNAVAILABLE, misdealt

from fl_orchestrator.cli.main import main as flo
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.privacy.context import RoundContext
from fl_orchestrator.privacy.dealing import Dealing
from fl_orchestrator.privacy.seal import Seal, make_seal
from fl_orchestrator.roles.party import masked


def main() -> None:
    _, kind, elsewhere, *arguments = sys.argv
    number, there = int(kind), LocalStore(Path(elsewhere))
    put = LocalStore.put

    def sealed(context: RoundContext, dealing: Dealing) -> Seal:
        return misdealt(number, make_seal(context, dealing), dealing.index)

    def put_elsewhere(store: LocalStore, stream: BinaryIO, *, pin: bool = True) -> Cid:
        return put(there if number == UNAVAILABLE else store, stream, pin=pin)

    sys.argv = ["flo", *arguments]
    with patch.object(masked, "make_seal", sealed), patch.object(LocalStore, "put", put_elsewhere):
        flo()


main()
