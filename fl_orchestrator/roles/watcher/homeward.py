"""Carries what a mirror has judged home, where the signers of a wrong result have their stakes.

The mirror's events have all that a challenge takes, whoever proved the fraud there: docs/mirror.md.
"""

from __future__ import annotations

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.federation import Federation
from fl_orchestrator.chain.mirror.types import FraudRecorded, MirroredResult
from fl_orchestrator.chain.types import Observation
from fl_orchestrator.errors import ChainError
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.roles.settlement import have_stake
from fl_orchestrator.roles.watcher.prosecution import Registrations


class NotAtHome(ChainError):
    """A fraud that a mirror has recorded cannot be proven at the federation."""


class HomeProofs:
    """Proves at a federation what its mirrors have recorded. It keeps nothing that a chain knows.

    ``secret`` is that of `Registrations`.
    """

    def __init__(
        self, federation: Federation, deployed_at: int, address: str, secret: bytes
    ) -> None:
        self._federation = federation
        self._deployed_at = deployed_at
        # On the mirror the salts have become public.
        own = keccak256(secret + bytes.fromhex(federation.address[2:]))
        self._registrations = Registrations(federation, address, own)
        self._over: set[bytes] = set()

    def next(
        self, seen: Observation, fraud: FraudRecorded, of: MirroredResult, wake_ats: list[int]
    ) -> Call | None:
        """The next call of a proof; None if it is done, or to wait for a time in ``wake_ats``.

        Raises NotAtHome.
        """
        digest, number = fraud.digest, fraud.round
        if digest in self._over:
            return None
        attested = self._federation.attestation(digest)
        window = self._federation.window(number)
        end = window.challenge_end(accepted=attested.accepted)
        proven = self._federation.fraud(digest).challenger is not None
        if seen.timestamp >= end > 0:
            # Nothing can change any more; before, a reorg could still undo what was done.
            self._over.add(digest)
        if proven:
            return None
        if not attested.signers:
            raise NotAtHome(
                "the federation has counted no signature for it, so it cannot slash its signers"
            )
        if seen.timestamp >= end:
            raise NotAtHome("its window there is over, so its signers keep their stakes")
        stands = attested.accepted and window.canonical
        if not stands and not have_stake(self._federation, self._deployed_at, number, digest):
            raise NotAtHome("whoever signed it there has no stake left")
        salt = self._registrations.salt(seen, number, digest, fraud.coordinate, wake_ats)
        if not isinstance(salt, bytes):
            return salt
        return self._federation.challenge(
            of.result, of.updates, fraud.coordinate, fraud.proofs, salt
        )
