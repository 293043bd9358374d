"""What a process waits for before it begins."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from fl_orchestrator.chain.contract.federation import NoContractYet, NoFederation
from fl_orchestrator.chain.nodes.endpoints import RpcUnavailable, WrongChain
from fl_orchestrator.content.store import ContentNotFound
from fl_orchestrator.errors import InputError
from fl_orchestrator.model.manifest import ManifestError
from fl_orchestrator.service.stop import Stop
from fl_orchestrator.service.waiting import StoppedWaiting, Waiting

DOWN = RpcUnavailable("The node does not answer.")


class Hurried(Stop):
    """Does not sleep; counts for how long it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > 50:
            self.request()


def failing(*errors: Exception) -> Callable[[], str]:
    """Raises these, one after the other, then gives something."""
    left = list(errors)

    def get() -> str:
        if left:
            raise left.pop(0)
        return "it"

    return get


def test_what_passes_is_waited_for_and_said_once() -> None:
    stop, waits = Hurried(), list[str | None]()
    waiting = Waiting(stop, on_wait=waits.append)
    get = failing(*[DOWN] * 10, OSError("no route"), ContentNotFound("Not here."))
    with capture_logs() as logs:
        assert waiting.until_had("the chain", get) == "it"
    said = [(log["event"], log.get("reason")) for log in logs]
    assert said == [
        ("waiting for the chain", "The node does not answer."),
        ("waiting for the chain", "no route"),
        ("waiting for the chain", "Not here."),
        ("has the chain now", None),
    ]
    assert waits == ["the chain"] * 12 + [None]
    assert stop.slept == sorted(stop.slept)
    assert stop.slept[-1] == 15


@pytest.mark.parametrize(
    "error",
    [
        *(WrongChain("Another chain."), NoFederation("None there."), ManifestError("Malformed.")),
        *(InputError("No --store."), ValueError("a defect")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_does_not_pass_by_itself_ends_it(error: Exception) -> None:
    with pytest.raises(type(error)):
        Waiting(Hurried()).until_had("the chain", failing(error))


def test_a_node_that_does_not_have_the_contract_yet_is_waited_for() -> None:
    get = failing(NoContractYet("There is no contract."))
    assert Waiting(Hurried()).until_had("the federation", get) == "it"


def test_who_is_strict_waits_for_nothing() -> None:
    stop = Hurried()
    with pytest.raises(RpcUnavailable):
        Waiting(stop, strict=True).until_had("the chain", failing(DOWN))
    assert stop.slept == []


def test_waiting_ends_when_the_process_is_asked_to() -> None:
    stop = Stop()
    threading.Timer(0.05, stop.request).start()
    with pytest.raises(StoppedWaiting):
        Waiting(stop).until_had("the chain", failing(*[DOWN] * 1000))
