"""An aggregator's duty in the round, beside its answers to demands."""

from __future__ import annotations

from collections.abc import Callable

from fl_orchestrator.errors import FloError
from fl_orchestrator.log import get_logger
from fl_orchestrator.roles.aggregator.responder import Responder
from fl_orchestrator.roles.base import NEVER, Step

_log = get_logger(__name__)


class BesideAnswers:
    """Does an aggregator's ``duty``, or answers a batch of demands; if both are due, alternately.

    Neither waits for the end of the other, nor fails because the other failed.
    """

    def __init__(self, duty: Callable[[], Step], responder: Responder | None) -> None:
        self._duty = duty
        self._responder = responder
        self._did_duty = False

    def step(self) -> Step:
        if self._responder is None:
            return self._duty()
        first, second = self._duty, self._responder.step
        if self._did_duty:
            first, second = second, first
        failure: FloError | None = None
        done = Step(wait=NEVER)
        try:
            done = first()
        except FloError as error:
            failure = error
        if done.action is None:
            try:
                other = second()
            except FloError as error:
                failure = failure or error
            else:
                done = Step(other.action, done.wait | other.wait)
            first = second
        if done.action is None and failure is not None:
            raise failure
        if failure is not None:
            _log.warning("failed", reason=failure.message)
        self._did_duty = done.action is not None and first == self._duty
        return done
