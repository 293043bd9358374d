"""When a role whose steps take many requests is asked, and when it is only looked for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.observations import seen

from fl_orchestrator.chain.types import Observation, Phase
from fl_orchestrator.roles.base import EVERY_PHASE, Step
from fl_orchestrator.service.sparing import Sparing

EVERY = 5


class Role:
    phases = EVERY_PHASE

    def __init__(self) -> None:
        self.answer = Step()
        self.asked = 0

    def step(self) -> Step:
        self.asked += 1
        return self.answer


class Setting:
    """A role, and what is observed next."""

    def __init__(self) -> None:
        self.role = Role()
        self.now: Observation = seen(Phase.ATTEST, block_number=100, timestamp=1000)
        chain: Any = SimpleNamespace(observe=lambda _account: self.now)
        self.sparing = Sparing(self.role, chain, "0x0", EVERY)

    def asked(self, phase: Phase = Phase.ATTEST, **changes: Any) -> bool:
        """Whether the role is asked when this is seen."""
        self.now = seen(phase, **{"block_number": 101, "timestamp": 1001, **changes})
        before = self.role.asked
        self.sparing.step()
        return self.role.asked > before


@pytest.fixture
def rested() -> Setting:
    setting = Setting()
    setting.role.answer = Step(wake_at=1500)
    setting.sparing.step()
    assert setting.role.asked == 1
    return setting


def test_a_role_that_rests_is_not_asked_again(rested: Setting) -> None:
    assert not rested.asked()
    assert rested.sparing.step() == Step(wake_at=1500)


def test_it_is_asked_when_the_round_moves(rested: Setting) -> None:
    assert rested.asked(Phase.ACCEPTED)
    assert rested.asked(Phase.ATTEST)
    assert rested.asked(current={"round": 6})
    assert rested.asked(current={"updates_hash": b"\7" * 32})


def test_it_is_asked_once_when_the_time_has_come_that_it_named(rested: Setting) -> None:
    assert not rested.asked(timestamp=1499)
    assert rested.asked(timestamp=1500)
    assert not rested.asked(timestamp=1501)


def test_it_is_asked_now_and_then_and_after_the_chain_went_back(rested: Setting) -> None:
    assert not rested.asked(block_number=100 + EVERY - 1)
    assert rested.asked(block_number=100 + EVERY)
    assert rested.asked(block_number=99)


def test_one_that_acted_is_asked_again(rested: Setting) -> None:
    rested.role.answer = Step("attest")
    assert rested.asked(Phase.ACCEPTED)
    assert rested.asked(Phase.ACCEPTED)


def test_one_that_failed_is_asked_again_without_delay(
    rested: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Step:
        raise OSError

    with monkeypatch.context() as patched:
        patched.setattr(rested.role, "step", fail)
        with pytest.raises(OSError):  # noqa: PT011
            rested.asked(Phase.ACCEPTED)
    assert rested.asked(Phase.ACCEPTED)
