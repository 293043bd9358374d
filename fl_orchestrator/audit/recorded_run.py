"""Opens a recorded run: its federation, on a new chain that got its transactions again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fl_orchestrator.audit.history import STORE, History, UnreadableRun
from fl_orchestrator.audit.recording import WrongRecord, replay
from fl_orchestrator.chain.contract.federation import Federation, NoFederation
from fl_orchestrator.chain.contract.private import open_federation
from fl_orchestrator.chain.deployment.migrate import is_deployed_here
from fl_orchestrator.content.local import ReadOnlyStore


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run that was replayed. Its record and its store are believed in nothing."""

    history: History
    store: ReadOnlyStore
    federation: Federation


def open_run(directory: Path) -> RecordedRun:
    """Replay the run in a directory.

    Raises UnreadableRun when there is no record, DamagedRun when it is damaged, and WrongRecord
    when it contradicts itself.
    """
    history = History.load(directory)
    store = directory / STORE
    if store.is_symlink() or not store.is_dir():
        raise UnreadableRun(
            f"{store} is {'a link' if store.is_symlink() else 'missing'}.",
            "A run has its own store.",
        )
    chain = replay(directory, history)
    try:
        federation = open_federation(chain.web3, history.federation)
    except (NoFederation, ValueError) as error:
        raise WrongRecord(
            f"Round 0: there is no federation at {history.federation}, where "
            f"history.json has it: {error}"
        ) from error
    if not is_deployed_here(federation):
        raise WrongRecord(
            f"Round 0: no recorded transaction deploys {federation.address} with the "
            "federation's code of this version."
        )
    return RecordedRun(history, ReadOnlyStore(store), federation)
