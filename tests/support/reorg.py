"""A reorg of the development chain, which removes all blocks after a given one."""

from __future__ import annotations

from fl_orchestrator.chain.nodes.development import DevelopmentChain


class Fork:
    """The current head of a chain, to which the chain can be reset."""

    def __init__(self, chain: DevelopmentChain) -> None:
        self._tester = chain._tester
        self._snapshot = self._tester.take_snapshot()

    def reorganise(self) -> None:
        """Remove all later blocks and their transactions. Time continues from this block."""
        self._tester.revert_to_snapshot(self._snapshot)
