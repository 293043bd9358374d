"""Recomputes accepted models from a chain and a store, and compares them bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fl_orchestrator.audit.difference import describe, describe_seed
from fl_orchestrator.chain.contract.private_events import PrivateRoundIndex
from fl_orchestrator.chain.event_types import MaskedCommitted, MaskedReveal
from fl_orchestrator.chain.types import ModelView
from fl_orchestrator.errors import ContentError, VerificationError
from fl_orchestrator.model.digests import Result
from fl_orchestrator.privacy.opening import Opening
from fl_orchestrator.roles.context import ReadContext
from fl_orchestrator.roles.recomputation import Recomputation
from fl_orchestrator.roles.updates import InconsistentEvents
from fl_orchestrator.roles.vectors import RootMismatch

#: Looks at a model that was computed again, and is right.
Look = Callable[[ModelView, Result, Recomputation], None]


class IncorrectModel(VerificationError):
    """An accepted model is not the result of the rule on its updates."""


class ModelAudit:
    """An audit of a federation's models.

    Fetched and recomputed files go to the context's home. The audit trusts the contract's code (see
    ``Federation``) and the node's view of its state, but neither model roots nor updates.
    """

    def __init__(
        self,
        context: ReadContext,
    ) -> None:
        self._federation = context.federation
        self._layout = context.manifest.layout
        self._index = context.round_index()
        self.recomputation = Recomputation(context, self._index)

    def rounds(self, up_to: int | None = None) -> Iterator[Result]:
        """Audit the history up to a height, round by round; yield the result of each round.

        None is the height of the head. Raises what ``check`` raises.
        """
        last = self._federation.head().height if up_to is None else up_to
        for height in range(1, last + 1):
            yield self.check(self._federation.model(height))

    def result_of(self, model: ModelView) -> Result:
        """The accepted result behind a model of the history.

        Raises MissingEvents, and InconsistentEvents when the node contradicts itself.
        """
        last_block = self._federation.node.block_number
        result = self._index.accepted(model.round, last_block).result
        digest = self._federation.digest_of(result)
        same = (result.global_root, result.global_cid) == (model.root, model.cid)
        if not same or not self._federation.attestation(digest).accepted:
            raise InconsistentEvents(
                f"The node's result of round {model.round} is not the one that the contract "
                "accepted.",
                "The node is out of date or malicious: use another RPC endpoint.",
            )
        return result

    def check(self, model: ModelView, look: Look = lambda *_: None) -> Result:
        """Recompute a model of the history, whose height must be above 0; return its result.

        ``look`` is called with a model that is right, its result, and what computed it, before the
        files of the rounds before are deleted.

        Raises IncorrectModel with the first wrong coordinate. Raises UnavailableUpdates,
        UnavailableBase, MissingEvents or InconsistentEvents if the model cannot be recomputed.
        """
        result = self.result_of(model)
        right = self.recomputation.compute(result)
        if right.wrong_seed is not None:
            raise IncorrectModel(
                f"Round {model.round}: {self._seed(result, right.wrong_seed)}, was opened wrongly: "
                "it is not the one in the seal of the update, so the model is not theirs."
            )
        if right.root != model.root:
            raise IncorrectModel(
                f"Round {model.round}: the model on-chain is not the rule applied to its updates; "
                f"{self._first_difference(result)}."
            )
        if right.cid != model.cid:
            raise IncorrectModel(
                f"Round {model.round}: the model's numbers are right, but the CID on-chain is "
                f"{model.cid}, and the right file has {right.cid}."
            )
        look(model, result, self.recomputation)
        self.recomputation.forget_rounds_before(model.round)
        return result

    def commits(self, round_number: int) -> list[MaskedCommitted]:
        """The commits of a private round, in their order; none in the clear."""
        index = self._index
        return index.commits(round_number) if isinstance(index, PrivateRoundIndex) else []

    def _seed(self, result: Result, number: int) -> str:
        parties = [commit.party for commit in self.commits(result.round)]
        reveals = self._index.updates(result.round)
        indices = [reveal.commit for reveal in reveals if isinstance(reveal, MaskedReveal)]
        return describe_seed(number, parties, Opening.of(len(parties), indices, result.included))

    def _first_difference(self, result: Result) -> str:
        try:
            claimed = self.recomputation.claimed_file(result)
        except (ContentError, RootMismatch) as error:
            return f"its file is not available, so the coordinate is not known ({error.message})"
        right = self.recomputation.right_file(result)
        coordinate = self.recomputation.first_wrong_coordinate(claimed, right)
        return f"the first wrong coordinate is {describe(self._layout, coordinate)}"
