"""What several searches for events found is merged as what it is, whichever federation it is of."""

from __future__ import annotations

from fl_orchestrator.chain.contract.events import _merged, _Search
from fl_orchestrator.chain.event_types import PrivateRoundEvents, RoundEvents


def test_events_of_a_private_federation_stay_private_when_searches_are_merged() -> None:
    def found(number: int) -> PrivateRoundEvents:
        plain = RoundEvents({}, [], {}, [], [], [], [])
        shared = {name: getattr(plain, name) for name in RoundEvents.__slots__}
        return PrivateRoundEvents(
            **shared,
            commits=[],
            locks={number: 7},
            seeds={},
            seats=[],
            bases={},
            announced=[],
            claims={"0xA": number},
        )

    merged = _merged([_Search(n, bytes([n]) * 32, found(n)) for n in (1, 2, 3)])
    assert isinstance(merged.found, PrivateRoundEvents)
    assert merged.found.locks == {1: 7, 2: 7, 3: 7}
    assert merged.found.claims == {"0xA": 3}
    assert merged.last == 3
