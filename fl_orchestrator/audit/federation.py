"""A federation on a chain, to read and to check from Python."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from fl_orchestrator.audit.model_audit import Look, ModelAudit
from fl_orchestrator.chain.contract import federation as contract
from fl_orchestrator.chain.contract.private import open_federation
from fl_orchestrator.chain.contract.rounds import model_of
from fl_orchestrator.chain.nodes.connect import reach
from fl_orchestrator.chain.types import ModelView
from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.content.store import ContentStore
from fl_orchestrator.errors import ChainError, ContentError, FloError, VerificationError
from fl_orchestrator.model.digests import Result
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.roles.context import ReadContext
from fl_orchestrator.roles.manifests import manifest_of
from fl_orchestrator.roles.vectors import Origin, VectorCache
from fl_orchestrator.training.trainer import FloatArray


class Federation:
    """Reads one federation. Nothing is sent, and no key is needed.

    ``deployed_at`` is the block of its deployment, before which it has no events: it saves the
    search of the blocks before.
    """

    def __init__(self, chain: contract.Federation, store: ContentStore, deployed_at: int = 0):
        self.chain = chain
        self.store = store
        self.manifest: Manifest = manifest_of(store, chain)
        """The description of the model, read from the store and checked against the contract."""
        self._deployed_at = deployed_at

    @classmethod
    def connect(
        cls,
        rpc: str,
        address: str,
        store: str,
        *,
        gateways: Sequence[str] = (),
        chain_id: int | None = None,
        deployed_at: int = 0,
    ) -> Federation:
        """Open the federation at ``address``, with the URLs that the command line takes.

        Raises ChainError, ContentError, and InputError for a URL that is not understood.
        """
        chain = open_federation(reach(rpc, chain_id), address, any_version=True)
        return cls(chain, open_store(store, list(gateways)), deployed_at)

    @property
    def address(self) -> str:
        return self.chain.address

    def head(self) -> ModelView:
        """The last accepted model that was not revoked; genesis before the first."""
        return self.chain.head()

    def models(self) -> list[ModelView]:
        """The models of the history up to the head, genesis first."""
        return [self.chain.model(height) for height in range(self.head().height + 1)]

    def model(self, round_number: int | None = None) -> ModelView:
        """The model of a round, or the head. Raises InputError if the round has none."""
        if round_number is None:
            return self.head()
        return model_of(self.chain, self._deployed_at, round_number)

    def weights(self, round_number: int | None = None) -> dict[str, FloatArray]:
        """The float32 weights of a model by name, checked against its root on-chain.

        Raises ContentError and RootMismatch.
        """
        return self.weights_of(self.model(round_number))

    def weights_of(self, model: ModelView) -> dict[str, FloatArray]:
        """`weights` of a model that is known."""
        layout = self.manifest.layout
        with tempfile.TemporaryDirectory(prefix="flo-model-") as workspace:
            cache = VectorCache(Path(workspace), self.manifest)
            meta = Origin(self.chain.chain_id, self.chain.address).state(model.round)
            file = cache.fetch(self.store, model.cid, model.root, meta)
            arrays = cache.weights(file)
        return {t.name: array for t, array in zip(layout.tensors, arrays, strict=True)}

    def verify(self, round_number: int | None = None) -> list[Result]:
        """Compute the model of a round, or every model, again from its updates.

        Returns the result of each round. Raises IncorrectModel with the first wrong coordinate,
        and UnavailableUpdates.
        """
        return list(self.checks(None if round_number is None else self.model(round_number)))

    def checks(self, model: ModelView | None = None, up_to: int | None = None) -> Iterator[Result]:
        """`verify` of one model or of all, one after the other, as the caller asks for them.

        ``up_to`` is the last height; None is the head.
        """
        with self._audit() as audit:
            if model is None:
                yield from audit.rounds(up_to)
            else:
                yield audit.check(model)

    def outcomes(
        self, look: Look = lambda *_: None, up_to: int | None = None
    ) -> Iterator[tuple[ModelView, FloError | None]]:
        """Every model above genesis, with why it is wrong or cannot be checked, or None.

        Unlike `checks`, it goes on after such a model. ``look`` is called with each right one.
        """
        last = self.head().height if up_to is None else up_to
        with self._audit() as audit:
            for model in [self.chain.model(height) for height in range(1, last + 1)]:
                try:
                    audit.check(model, look)
                except (VerificationError, ContentError, ChainError) as error:
                    yield model, error
                else:
                    yield model, None

    @contextlib.contextmanager
    def _audit(self) -> Iterator[ModelAudit]:
        with tempfile.TemporaryDirectory(prefix="flo-model-") as workspace:
            yield ModelAudit(
                ReadContext(
                    federation=self.chain,
                    store=self.store,
                    manifest=self.manifest,
                    home=Path(workspace),
                    deployed_at=self._deployed_at,
                )
            )
