"""An aggregator's node hides a reveal, invents one, or returns them in another order.

An aggregator that trusted it would sign a wrong result, and lose its stake.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from support.adversary import run_to_attest
from support.federation import Build

from fl_orchestrator.chain.event_types import RevealedUpdate
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.roles.updates import InconsistentEvents

Reveals = list[RevealedUpdate]
LIES: dict[str, Callable[[Reveals], Reveals]] = {
    "hides the first": lambda reveals: reveals[1:],
    "hides the last": lambda reveals: reveals[:-1],
    "hides all": lambda reveals: [],
    "reorders them": lambda reveals: reveals[::-1],
    "repeats one": lambda reveals: [*reveals, reveals[0]],
    "renumbers them": lambda reveals: [
        dataclasses.replace(reveal, index=2 - reveal.index) for reveal in reveals
    ],
    "changes a weight": lambda reveals: [
        dataclasses.replace(reveals[0], weight=255),
        *reveals[1:],
    ],
    "changes a root": lambda reveals: [
        dataclasses.replace(reveals[0], root=reveals[1].root),
        *reveals[1:],
    ],
}


def test_a_node_that_lies_about_the_reveals_is_not_believed(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = build(parties=3)
    run_to_attest(federation)
    aggregator = federation.aggregator(0)
    contract = type(federation.federation)
    honest = contract.revealed_updates
    for lie in LIES.values():
        with monkeypatch.context() as node:
            node.setattr(
                contract, "revealed_updates", lambda *a, lie=lie, **k: lie(honest(*a, **k))
            )
            with pytest.raises(InconsistentEvents):
                aggregator.step()
    assert federation.federation.proposed_results(0) == {}
    # With an honest node, it continues.
    assert aggregator.step().action == "attest"
    assert federation.observe().current.phase is Phase.ACCEPTED
