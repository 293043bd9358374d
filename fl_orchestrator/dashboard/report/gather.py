"""What a report says: everything that the chain tells of a federation, and what was recomputed."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import rfc8785

from fl_orchestrator import __version__
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.contract.private import PrivateFederation
from fl_orchestrator.chain.types import ModelView
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.dashboard.index import queries
from fl_orchestrator.dashboard.index.index import Index
from fl_orchestrator.dashboard.index.queries import RoundRow
from fl_orchestrator.dashboard.index.records import Record
from fl_orchestrator.dashboard.report.ancestry import Progress, ancestry
from fl_orchestrator.dashboard.report.outcome import (
    EQUAL,
    FOUND_OUT,
    UNCHECKED,
    named,
    outcome_of,
)
from fl_orchestrator.dashboard.report.reliability import reliability
from fl_orchestrator.errors import ChainError
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.roles.masked.terms import at_a_glance

if TYPE_CHECKING:
    from fl_orchestrator.audit.contribution.contributions import Contributions
    from fl_orchestrator.audit.federation import Federation as Auditor
    from fl_orchestrator.audit.lineage import Ancestor
    from fl_orchestrator.model.digests import Result
    from fl_orchestrator.roles.recomputation import Recomputation

#: What a report does not show, whatever is in it.
LIMITS: Final = (
    "That the data behind an update are what a party says, or that it trained on them at all.",
    "Accuracies, losses and numbers of samples: whoever publishes them is believed, or not.",
    "Who the accounts are. The owner admits them; the contract knows addresses only.",
    "That the chain is final. A chain's validators can rewrite it; this report is of one block.",
    "That the RPC endpoint told the truth. Its events were checked against the contract's state "
    "where that is possible; make the report again with another endpoint to be sure.",
)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything in JSON's types. ``lineage`` has the models from genesis to the head.

    Its first one has the `ancestors` of the federation, if there are any. ``lineage_digest`` is
    the sha256 of the lineage as canonical JSON (RFC 8785), without what the report found out.
    ``contributions`` are those of `Contributions`, if they were measured.
    """

    version: str
    federation: dict[str, Any]
    terms: dict[str, Any]
    model: dict[str, Any] | None
    rounds: list[dict[str, Any]]
    lineage: list[dict[str, Any]]
    lineage_digest: str
    members: list[dict[str, Any]]
    reliability: list[dict[str, Any]]
    disputes: list[dict[str, Any]]
    contributions: dict[str, Any] | None = None
    limits: tuple[str, ...] = LIMITS

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "limits": list(self.limits)}

    @property
    def counts(self) -> dict[str, int]:
        """How many rounds have each outcome."""
        found: dict[str, int] = {}
        for one in self.rounds:
            found[one["status"]] = found.get(one["status"], 0) + 1
        return found

    @property
    def ancestors(self) -> list[dict[str, Any]]:
        """The federations before this one, as `ancestry` has them."""
        found: list[dict[str, Any]] = self.lineage[0].get("ancestors", [])
        return found

    def checked(self, outcome: str) -> list[str]:
        """The rounds of the lineage whose model has this outcome; genesis has none.

        Those of an ancestor are named with its address.
        """
        before = [
            f"{one['round']} of {ancestor['federation']}"
            for ancestor in reversed(self.ancestors)
            for one in ancestor["models"][1:]
            if one["recomputed"] == outcome
        ]
        own = [str(one["round"]) for one in self.lineage[1:] if one["recomputed"] == outcome]
        return before + own

    @property
    def models(self) -> int:
        """How many models above genesis it has, with those of ancestors that were followed."""
        before = sum(len(ancestor["models"][1:]) for ancestor in self.ancestors)
        return before + len(self.lineage) - 1

    def lines(self, outcome: str) -> list[dict[str, Any]]:
        """The ancestors with this outcome: whether the successor's first model is their last."""
        return [one for one in self.ancestors if one["recomputed"] == outcome]


def gather(
    chain: Federation,
    index_file: Path,
    deployed_at: int = 0,
    auditor: Auditor | None = None,
    progress: Progress = lambda _done, _total: None,
    measured: Contributions | None = None,
    before: Iterable[Ancestor] = (),
) -> Report:
    """Read the federation up to the present block, and compute every model again.

    ``auditor`` has the store for that; without it no model is checked. ``progress`` is called with
    the models that are done and their number. ``measured`` looks at every model that is right.
    ``before`` are the federation's `ancestors`.
    Raises ChainError, ContentError and NoIndex, and what ``measured`` raises.
    """
    seen = chain.observe(chain.address)
    block = chain.block(seen.block_number)
    if block is None:
        raise ChainError("The node no longer has its last block.", "Make the report again.")
    index = Index(chain, index_file, deployed_at)
    try:
        index.sync(seen.block_number)
        with queries.reading(index_file) as db:
            rows = queries.rounds(db)
            least = chain.params()
            minimum = least.min_party_stake, least.min_aggregator_stake
            members = queries.members(db, minimum, rows)
            by_number = {row.sum.number: row for row in rows}
            lineage = [*_lineage(chain, db, by_number, seen.head.height)]
            _recompute(lineage, auditor, progress, measured)
            if auditor is not None and (earlier := ancestry(auditor, before, progress)):
                lineage[0]["ancestors"] = earlier
            return Report(
                version=__version__,
                federation={
                    "address": chain.address,
                    "chainId": chain.chain_id,
                    "block": seen.block_number,
                    "blockHash": "0x" + block[0].hex(),
                    "time": block[1],
                    "deployedAt": deployed_at,
                    "headRound": seen.head.round,
                    "headHeight": seen.head.height,
                    "headRoot": "0x" + seen.head.root.hex(),
                    "headCid": str(seen.head.cid),
                    "finalHeight": seen.final_height,
                },
                terms=_terms(chain),
                model=None if auditor is None else _model(auditor),
                rounds=[_round(row) for row in rows],
                lineage=lineage,
                lineage_digest=hashlib.sha256(rfc8785.dumps(_claims(lineage))).hexdigest(),
                members=[_member(one) for one in members],
                reliability=reliability(db, members, rows),
                disputes=[_event(r) for r in queries.events_named(db, queries.DISPUTES)][::-1],
                contributions=None if measured is None else _contributions(measured, lineage),
            )
    finally:
        index.database.close()


def _claims(lineage: Any) -> Any:
    """What the chains say of the lineage, without what this report found out."""
    if isinstance(lineage, list):
        return [_claims(one) for one in lineage]
    if isinstance(lineage, dict):
        return {k: _claims(v) for k, v in lineage.items() if k not in FOUND_OUT}
    return lineage


def _terms(chain: Federation) -> dict[str, Any]:
    terms = {name: _plain(value) for name, value in asdict(chain.params()).items()}
    private = isinstance(chain, PrivateFederation)
    own = chain.private_params() if isinstance(chain, PrivateFederation) else None
    terms |= {name: _plain(value) for name, value in (asdict(own) if own else {}).items()}
    return {"private": private, "atAGlance": at_a_glance(own), "params": terms}


def _plain(value: Any) -> Any:
    if isinstance(value, RuleKind):
        return value.label
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):  # a CID's fields
        return str(Cid(**value))
    return str(value) if isinstance(value, int) and value >= 1 << 53 else value


def _model(auditor: Auditor) -> dict[str, Any]:
    manifest = auditor.manifest
    return {
        "name": manifest.name,
        "purpose": manifest.purpose,
        "parameters": manifest.layout.parameters,
        "rule": str(manifest.rule),
        "tensors": [
            {"name": tensor.name, "shape": list(tensor.shape)} for tensor in manifest.tensors
        ],
        "manifestDigest": "0x" + manifest.digest.hex(),
    }


def _round(row: RoundRow) -> dict[str, Any]:
    return {**row.sum.to_dict(), "status": row.status, "acceptedAt": row.accepted_at}


def _member(one: queries.Member) -> dict[str, Any]:
    found = asdict(one)
    amounts = {name: str(found[name]) for name in ("stake", "slashed", "rewards")}
    return {**found, **amounts, "role": one.role.name.lower()}


def _event(record: Record) -> dict[str, Any]:
    amount = None if record.amount is None else str(record.amount)
    fields = ("block", "time", "name", "round", "account", "transaction")
    return {
        **{name: getattr(record, name) for name in fields},
        "amount": amount,
        "data": dict(record.data),
    }


def _lineage(
    chain: Federation, db: sqlite3.Connection, rows: dict[int, RoundRow], head: int
) -> Iterator[dict[str, Any]]:
    """The models of the history, each with the round that made it."""
    base = None
    for height in range(head + 1):
        model = chain.model(height)
        known = named(model, base)
        row = rows.get(model.round)
        yield known if row is None or height == 0 else {**known, **_made(db, row)}
        base = known["root"]


def _made(db: sqlite3.Connection, row: RoundRow) -> dict[str, Any]:
    """Who made a model of what."""
    updates, signers, transaction = [], [], None
    included = 0
    for record in queries.events_of_round(db, row.sum.number):
        data = record.data
        if record.name == "UpdateRevealed":
            updates.append({"party": record.account, **data})
        elif record.name == "Attested" and data["digest"] == row.sum.digest:
            signers.append({"aggregator": record.account, "stake": str(record.amount)})
        elif record.name == "ResultProposed" and data["digest"] == row.sum.digest:
            included = int(data["included"], 16)
        elif record.name == "RoundAccepted":
            transaction = record.transaction
    for update in updates:
        update["included"] = bool(included >> update.get("place", update["index"]) & 1)
    return {
        "digest": row.sum.digest,
        "updates": updates,
        "signers": signers,
        "signedStake": row.sum.signed_stake,
        "stake": row.sum.aggregator_stake,
        "transaction": transaction,
        "acceptedAt": row.accepted_at,
        "final": row.status == "final",
    }


def _recompute(
    lineage: list[dict[str, Any]],
    auditor: Auditor | None,
    progress: Progress,
    measured: Contributions | None,
) -> None:
    total = len(lineage) - 1
    for entry in lineage[1:]:
        entry |= {"recomputed": UNCHECKED, "reason": "no store was given"}
    if auditor is None:
        return
    by_root = {(entry["height"], entry["root"]): entry for entry in lineage}

    def look(model: ModelView, result: Result, computed: Recomputation) -> None:
        # What was accepted after the report's block is not in it.
        if measured is not None and (model.height, "0x" + model.root.hex()) in by_root:
            measured.look(model, result, computed)

    for done, (model, error) in enumerate(auditor.outcomes(look), start=1):
        progress(done, total)
        found = by_root.get((model.height, "0x" + model.root.hex()))
        if found is not None:
            found |= outcome_of(error)


def _contributions(measured: Contributions, lineage: list[dict[str, Any]]) -> dict[str, Any]:
    """What was measured, and the rounds that could not be."""
    left_out = [
        {"round": entry["round"], "reason": entry["reason"]}
        for entry in lineage[1:]
        if entry["recomputed"] != EQUAL
    ]
    return {**measured.to_json(), "leftOut": left_out}
