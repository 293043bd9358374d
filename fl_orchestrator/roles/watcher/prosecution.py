"""Proves that a result is wrong: with its file, or by a descent if the file is withheld."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final, Protocol

from fl_orchestrator.chain.contract.contract import Call
from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.logs import UntrueEvents
from fl_orchestrator.chain.contract.private import SEED_COORDINATES
from fl_orchestrator.chain.types import Window
from fl_orchestrator.errors import ChainError, ContentError
from fl_orchestrator.files import write_whole
from fl_orchestrator.log import get_logger
from fl_orchestrator.model.digests import Result, challenge_hash
from fl_orchestrator.model.disputes.proof import ChunkProof, wrong_coordinate_of_chunk
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.layout import CHUNK_VALUES
from fl_orchestrator.roles.recomputation import Recomputation
from fl_orchestrator.roles.vectors import RootMismatch, VectorFile
from fl_orchestrator.roles.watcher.court import Court, Docket, Now
from fl_orchestrator.roles.watcher.descent import Descents, TooLate

_log = get_logger(__name__)

_SECRET_BYTES: Final = 32

#: The contract says so when somebody was faster, or when it has to be looked at again; or as a node
#: has it that is some blocks behind.
NOT_NOW: Final = frozenset(
    {
        ContractError.AlreadyAnswered,
        ContractError.AlreadyFraudulent,
        ContractError.BondTooLow,
        ContractError.ChallengeNotRegistered,
        ContractError.DescentEnded,
        ContractError.DisputeWindowClosed,
        ContractError.NotAnswered,
        ContractError.NotOverdue,
        ContractError.NotSlashable,
        ContractError.PaymentFailed,
        ContractError.RoundNotAlive,
        ContractError.UnknownDemand,
        ContractError.UnknownResult,
    }
)


class Unprovable(ChainError):
    """The wrong model is withheld, and cannot be demanded: it is not part of the history."""


class Registry(Protocol):
    """What registering a challenge needs of a contract."""

    def registered_at(self, challenge: bytes) -> int: ...

    def register_challenge(self, challenge: bytes) -> Call: ...


class Registrations:
    """Registers one account's challenges, each in a block before it is sent.

    ``secret`` hides a registered challenge from the signers: otherwise they could front-run it with
    a proof of their own, and get half of their stake back.
    """

    def __init__(self, contract: Registry, address: str, secret: bytes) -> None:
        self._contract = contract
        self._address = address
        self._secret = secret

    def salt(
        self, seen: Now, round_number: int, digest: bytes, coordinate: int, wake_ats: list[int]
    ) -> bytes | Call | None:
        """The salt of a challenge that can be sent now; before, the call that registers it.

        None means to wait until a time that is added to ``wake_ats``.
        """
        salt = keccak256(self._secret + digest + coordinate.to_bytes(32, "big"))
        registration = challenge_hash(self._address, round_number, digest, coordinate, salt)
        registered = self._contract.registered_at(registration)
        if registered == 0:
            return self._contract.register_challenge(registration)
        if seen.block_number <= registered:
            wake_ats.append(seen.timestamp + 1)
            return None
        return salt


class Prosecution:
    """Proofs against wrong results from one account. Nothing is kept that the chain knows."""

    def __init__(
        self,
        federation: Court,
        rounds: Docket,
        recomputation: Recomputation,
        descents: Descents,
        address: str,
        secret: bytes,
    ) -> None:
        self._federation = federation
        self._rounds = rounds
        self._recomputation = recomputation
        self._descents = descents
        self._registrations = Registrations(federation, address, secret)
        self._withheld: set[bytes] = set()

    def next(self, seen: Now, digest: bytes, result: Result, wake_ats: list[int]) -> Call | None:
        """The next call of the proof, or None to wait for a time in ``wake_ats``.

        Raises TooLate, BondTooHigh, Unprovable, and what Recomputation.compute raises.
        """
        window = self._federation.window(result.round)
        accepted = self._rounds.accepted_digests.get(result.round) == digest
        revocable = accepted and window.canonical
        if seen.timestamp >= window.challenge_end(accepted=accepted):
            raise TooLate(
                f"The result of round {result.round} is wrong, and can no longer be disputed."
            )
        seed = self._recomputation.compute(result).wrong_seed
        if seed is not None:
            return self._challenge(seen, digest, result, SEED_COORDINATES + seed, wake_ats)
        right = self._recomputation.right_file(result)
        found = self._claimed(seen, digest, result, right, window if revocable else None, wake_ats)
        if not isinstance(found, ChunkProof):
            return found
        honest = self._recomputation.prove_chunk(right, found.index)
        coordinate = wrong_coordinate_of_chunk(found, honest)
        if coordinate is None:
            raise UntrueEvents(f"chunk {found.index} of round {result.round} is as expected")
        return self._challenge(seen, digest, result, coordinate, wake_ats, found)

    def _claimed(
        self,
        seen: Now,
        digest: bytes,
        result: Result,
        right: VectorFile,
        window: Window | None,
        wake_ats: list[int],
    ) -> Call | ChunkProof | None:
        """A wrong chunk of the claimed model; or the call to send, or None to wait, to get one.

        ``window`` is None where nothing can be demanded.
        """
        descending = window is not None and self._descents.made_in(result.round)
        if digest not in self._withheld and not descending:
            try:
                claimed = self._recomputation.claimed_file(result)
            except (ContentError, RootMismatch) as error:
                _log.warning("withheld", round=result.round, reason=error.message)
                if window is not None:
                    self._withheld.add(digest)
            else:
                coordinate = self._recomputation.first_wrong_coordinate(claimed, right)
                return self._recomputation.prove_chunk(claimed, coordinate // CHUNK_VALUES)
        if window is None:
            raise Unprovable(
                f"Nobody shows the model of a wrong result of round {result.round}, which is not "
                "part of the history."
            )
        tree = self._recomputation.tree(right)
        return self._descents.next(seen, window, result, tree, wake_ats)

    def _challenge(
        self,
        seen: Now,
        digest: bytes,
        result: Result,
        coordinate: int,
        wake_ats: list[int],
        claimed: ChunkProof | None = None,
    ) -> Call | None:
        """Register the challenge of a coordinate, and send it one block later.

        Without a ``claimed`` chunk the coordinate is one of those that stand for seeds.
        """
        if self._federation.fraud(digest).challenger is not None:
            return None  # Somebody was faster, in a block whose events have not been read yet.
        salt = self._registrations.salt(seen, result.round, digest, coordinate, wake_ats)
        if not isinstance(salt, bytes):
            return salt
        if claimed is None:
            number = coordinate - SEED_COORDINATES
            return self._recomputation.challenge_seed(result, number, salt)
        return self._recomputation.challenge(result, coordinate, claimed, salt)


def kept_secret(directory: Path) -> bytes:
    """The secret of this directory, generated at the first use; only the user may read it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "secret"
    try:
        secret = bytes.fromhex(path.read_text())
    except (FileNotFoundError, ValueError):
        secret = b""
    if len(secret) != _SECRET_BYTES:
        secret = secrets.token_bytes(_SECRET_BYTES)
        write_whole(path, secret.hex() + "\n")
    return secret
