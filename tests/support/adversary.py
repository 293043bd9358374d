"""A party that sends what it likes, and stores and relays that fail."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from fl_orchestrator.chain.send import Receipt
from fl_orchestrator.chain.types import Update
from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import ContentNotFound, StoreUnavailable
from fl_orchestrator.model.digests import commitment
from fl_orchestrator.model.vector_file import in_blocks, write_vector
from fl_orchestrator.roles.vectors import Origin
from support.federation import SmallFederation


class Adversary:
    """A registered party's account, used by hand."""

    def __init__(self, federation: SmallFederation, number: int) -> None:
        self._federation = federation
        self._key = federation.parties[number]
        self._origin = Origin(federation.federation.chain_id, federation.federation.address)

    @property
    def address(self) -> str:
        return self._key.address

    def file(self, value: int = 1, round_number: int = 1) -> tuple[bytes, bytes]:
        """A well-formed update file with the same value everywhere, and its root."""
        layout = self._federation.manifest.layout
        vector = np.full(layout.parameters, value, np.int16)
        stream = io.BytesIO()
        tree = write_vector(stream, layout, self._origin.update(round_number), in_blocks(vector))
        return stream.getvalue(), tree.root

    def update(self, content: bytes, root: bytes, weight: int = 1, salt: int = 1) -> Update:
        cid = cid_of(io.BytesIO(content))
        return Update(self.address, weight, root, cid, bytes([salt]) * 32)

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
        call = self._federation.federation.commit(self.commitment(update, round_number))
        return self._federation.send(self._key, call)

    def reveal(self, update: Update) -> Receipt:
        return self._federation.send(self._key, self._federation.federation.reveal([update]))


class DeafRelay:
    """Takes every message and forwards none."""

    def __init__(self) -> None:
        self.dropped: list[str] = []

    def post_commit(self, *_: Any) -> None:
        self.dropped.append("commit")

    def post_reveal(self, *_: Any) -> None:
        self.dropped.append("reveal")

    def post_attestation(self, *_: Any) -> None:
        self.dropped.append("attestation")


class PartialStore(LocalStore):
    """Cannot give certain files, or, while it is down, anything."""

    def __init__(self, federation: SmallFederation) -> None:
        super().__init__(federation.directory / "store")
        self.denied: set[Cid] = set()
        self.down = False

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        if self.down:
            raise StoreUnavailable("The store is down.")
        if cid in self.denied:
            raise ContentNotFound(f"Nobody has {cid}.")
        return super().get(cid, max_bytes)
