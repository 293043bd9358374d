"""A party's account without our software, which can send any transaction."""

from __future__ import annotations

import io

import numpy as np

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.federation import Call, Federation
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.sending.send import Receipt, Sender
from fl_orchestrator.chain.types import Update
from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.model.digests import commitment
from fl_orchestrator.model.layout import Layout
from fl_orchestrator.model.vector_file import in_blocks, write_vector
from fl_orchestrator.roles.vectors import Origin


class Adversary:
    """A registered party that does not run our software."""

    def __init__(self, federation: Federation, sender: Sender, layout: Layout) -> None:
        self.federation = federation
        self._sender = sender
        self._layout = layout
        self._origin = Origin(federation.chain_id, federation.address)

    @property
    def address(self) -> str:
        return self._sender.address

    def file(self, value: int = 1, round_number: int = 1) -> tuple[bytes, bytes]:
        """A well-formed update file with the same value everywhere, and its root."""
        vector = np.full(self._layout.parameters, value, np.int16)
        stream = io.BytesIO()
        meta = self._origin.update(round_number)
        tree = write_vector(stream, self._layout, meta, in_blocks(vector))
        return stream.getvalue(), tree.root

    def update(self, content: bytes, root: bytes, weight: int = 1, salt: int = 1) -> Update:
        """An update with the CID of ``content`` and any root."""
        return self.claim(root, cid_of(io.BytesIO(content)), weight, bytes([salt]) * 32)

    def claim(self, root: bytes, cid: Cid, weight: int, salt: bytes) -> Update:
        """An update in this account's name, even if another party made it."""
        return Update(self.address, weight, root, cid, salt)

    def commitment(self, update: Update, round_number: int = 1) -> bytes:
        return commitment(
            chain_id=self._origin.chain_id,
            federation=self._origin.federation,
            round_number=round_number,
            party=update.party,
            root=update.root,
            cid=update.cid,
            weight=update.weight,
            salt=update.salt,
        )

    def commit(self, update: Update, round_number: int = 1) -> Receipt:
        commitment = self.commitment(update, round_number)
        return self._sender.send(self.federation.commit(round_number, commitment))

    def reveal(self, update: Update) -> Receipt:
        return self._sender.send(self.federation.reveal([update]))

    def attempt(self, call: Call) -> ContractError | None:
        """Send a call; return the error with which the contract refuses it, or None.

        A refusal costs no gas, because the node simulates the call first.
        """
        try:
            self._sender.send(call)
        except ContractReverted as refusal:
            if not isinstance(refusal.cause, ContractError):
                raise
            return refusal.cause
        return None


def in_words(refusal: ContractError | None) -> str:
    """The result of an attempt, for the story."""
    return refusal.name if refusal else "Accepted"
