"""Federated learning that nobody has to trust: exact aggregation, checked on-chain.

The names below are the public Python API (docs/python-api.md). Each is imported when it is first
used, so `import fl_orchestrator` loads neither web3 nor a machine-learning framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fl_orchestrator.audit.federation import Federation
    from fl_orchestrator.audit.history import RoundEntry
    from fl_orchestrator.chain.contract.history import HistoryHook
    from fl_orchestrator.chain.signing.keys import LocalSigner
    from fl_orchestrator.errors import FloError
    from fl_orchestrator.members.aggregator import Aggregator
    from fl_orchestrator.members.connection import Connection
    from fl_orchestrator.members.keeper import Keeper
    from fl_orchestrator.members.party import Party
    from fl_orchestrator.members.watcher import Watcher
    from fl_orchestrator.model.manifest import Manifest, RuleSpec
    from fl_orchestrator.roles.party.adoption import Bound
    from fl_orchestrator.simulation.api import NoProgress, simulate
    from fl_orchestrator.simulation.fits import PartyFailed
    from fl_orchestrator.simulation.result import SimulationResult
    from fl_orchestrator.tracking.event import Event
    from fl_orchestrator.tracking.tracker import Tracker
    from fl_orchestrator.training.trainer import Trainer

__version__ = "0.2.0"

__all__ = [
    "Aggregator",
    "Bound",
    "Connection",
    "Event",
    "Federation",
    "FloError",
    "HistoryHook",
    "Keeper",
    "LocalSigner",
    "Manifest",
    "NoProgress",
    "Party",
    "PartyFailed",
    "RoundEntry",
    "RuleSpec",
    "SimulationResult",
    "Tracker",
    "Trainer",
    "Watcher",
    "simulate",
]

_HOMES = {
    "Aggregator": "members.aggregator",
    "Bound": "roles.party.adoption",
    "Connection": "members.connection",
    "Event": "tracking.event",
    "Federation": "audit.federation",
    "FloError": "errors",
    "HistoryHook": "chain.contract.history",
    "Keeper": "members.keeper",
    "LocalSigner": "chain.signing.keys",
    "Manifest": "model.manifest",
    "NoProgress": "simulation.api",
    "Party": "members.party",
    "PartyFailed": "simulation.fits",
    "RoundEntry": "audit.history",
    "RuleSpec": "model.manifest",
    "SimulationResult": "simulation.result",
    "Tracker": "tracking.tracker",
    "Trainer": "training.trainer",
    "Watcher": "members.watcher",
    "simulate": "simulation.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
