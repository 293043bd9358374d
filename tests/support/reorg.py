"""A reorganisation of the development chain: what came after some block never happened."""

from __future__ import annotations

from fl_orchestrator.chain.nodes.development import DevelopmentChain


class Fork:
    """The present end of a chain, to which it can be taken back."""

    def __init__(self, chain: DevelopmentChain) -> None:
        self._tester = chain._tester
        self._snapshot = self._tester.take_snapshot()

    def reorganise(self) -> None:
        """Drop every block since, with its transactions. Time goes on from the block before."""
        self._tester.revert_to_snapshot(self._snapshot)
