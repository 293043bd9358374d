"""The thread that asks the store for what the federation needs now, and reads the manifest."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.dashboard.index import queries
from fl_orchestrator.dashboard.index.index import Index
from fl_orchestrator.errors import FloError
from fl_orchestrator.log import get_logger
from fl_orchestrator.printable import printable

if TYPE_CHECKING:
    from fl_orchestrator.model.manifest import Manifest

_log = get_logger(__name__)

_PAUSE_SECONDS: Final = 5.0
_MOST_PURPOSE: Final = 500


class ContentWatch:
    """Looks whether the store has the manifest, the head, and the updates of the round.

    A store that hangs holds up nobody else. Without a store nothing is missing, and no name known.
    """

    def __init__(self, chain: Federation, store: ContentStore | None) -> None:
        self._chain = chain
        self._store = store
        self._wanted: dict[str, str] = {}
        self._asked = threading.Event()
        self._stopped = False
        self._manifest: Manifest | None = None
        self.missing: dict[str, str] = {}
        #: The parts of the state that come from here.
        self.found: dict[str, Any] = {
            "federation": self._described(),
            "store": self._store_json(""),
        }
        threading.Thread(target=self._run, name="contents", daemon=True).start()

    def watch(self, seen: Observation, row: queries.RoundRow | None, index: Index) -> None:
        """What is wanted at this observation."""
        if self._store is None:
            return
        wanted = {str(seen.head.cid): f"the head, the model of round {seen.head.round}"}
        if row is not None and row.status == "open" and row.sum.revealed:
            for event in queries.events_of_round(index.database.connection, row.sum.number):
                if event.name == "UpdateRevealed":
                    wanted[event.data["cid"]] = f"an update of round {event.round}"
        if wanted != self._wanted:
            self._wanted = wanted
            self._asked.set()

    def close(self) -> None:
        self._stopped = True
        self._asked.set()

    def _run(self) -> None:
        while not self._stopped:
            self._asked.clear()
            if self._store is not None:
                self._look(self._store, dict(self._wanted))
            self._asked.wait(_PAUSE_SECONDS)

    def _look(self, store: ContentStore, wanted: dict[str, str]) -> None:
        # Without a store there is no manifest, and its checks need not be imported.
        from fl_orchestrator.roles.manifests import manifest_cid, manifest_of

        try:
            if self._manifest is None:
                digest = self._chain.params().manifest_digest
                if store.has(manifest_cid(digest)):
                    self._manifest = manifest_of(store, self._chain)
                else:
                    wanted[str(manifest_cid(digest))] = "the manifest"
            self.missing = {cid: w for cid, w in wanted.items() if not store.has(Cid.parse(cid))}
            self.found = {"federation": self._described(), "store": self._store_json("")}
        except (FloError, OSError) as error:
            self.found = {**self.found, "store": self._store_json(printable(str(error)))}
        except Exception as error:
            _log.exception("looking into the store failed")
            told = f"A defect of flo: {type(error).__name__}."
            self.found = {**self.found, "store": self._store_json(told)}

    def _store_json(self, error: str) -> dict[str, Any]:
        return {"given": self._store is not None, "error": error}

    def _described(self) -> dict[str, Any]:
        """The federation in words and terms. The manifest's texts are whatever its owner wrote."""
        params, manifest = self._chain.params(), self._manifest
        described: dict[str, Any] = {
            "address": self._chain.address,
            "private": isinstance(self._chain, PrivateFederation),
            "rule": params.rule.label,
            "clip_norm": params.clip_norm,
            "manifest_digest": "0x" + params.manifest_digest.hex(),
            "genesis_root": "0x" + params.genesis_root.hex(),
            "participants": params.participants,
            "min_updates": params.min_updates,
            "name": None,
        }
        if manifest is not None:
            described |= {
                "name": printable(manifest.name),
                "purpose": printable(manifest.purpose[:_MOST_PURPOSE]),
                "parameters": manifest.layout.parameters,
            }
        return described
