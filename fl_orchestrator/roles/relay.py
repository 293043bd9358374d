"""How signed messages reach a keeper, who puts them on the chain in batches and pays the gas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from fl_orchestrator.chain.types import Result, Signature, SignedCommit, Update


class Relay(Protocol):
    """Takes messages for the chain. It may lose them: whoever posts one watches the chain."""

    def post_commit(self, round_number: int, commit: SignedCommit) -> None: ...

    def post_reveal(self, round_number: int, update: Update) -> None: ...

    def post_attestation(self, result: Result, signature: Signature) -> None: ...


@dataclass(slots=True)
class Mailbox:
    """A relay within one process: a keeper takes out what the other roles put in."""

    round: int = 0
    commits: dict[str, SignedCommit] = field(default_factory=dict)
    reveals: dict[str, Update] = field(default_factory=dict)
    attestations: dict[Result, list[Signature]] = field(default_factory=dict)

    def post_commit(self, round_number: int, commit: SignedCommit) -> None:
        self._enter(round_number)
        self.commits[commit.party] = commit

    def post_reveal(self, round_number: int, update: Update) -> None:
        self._enter(round_number)
        self.reveals[update.party] = update

    def post_attestation(self, result: Result, signature: Signature) -> None:
        self._enter(result.round)
        signatures = self.attestations.setdefault(result, [])
        if signature not in signatures:
            signatures.append(signature)

    def _enter(self, round_number: int) -> None:
        """Forget what belongs to rounds before this one."""
        if round_number > self.round:
            self.round = round_number
            self.commits.clear()
            self.reveals.clear()
            self.attestations.clear()
