"""A tracker runs beside a role: whatever it does, the role goes on and no event is lost."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import structlog
from support.federation import SmallFederation

from fl_orchestrator.tracking import background
from fl_orchestrator.tracking.background import Tracking
from fl_orchestrator.tracking.event import Event, Kind
from fl_orchestrator.tracking.tracker import Tracker, TrackerEnded

WAIT_SECONDS = 20.0


class Recorder(Tracker):
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.closed = False

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        super().on_event(event)

    def close(self) -> None:
        self.closed = True


class Failing(Recorder):
    """Fails so many times, and then works."""

    def __init__(self, failures: int, error: Exception) -> None:
        super().__init__()
        self.left, self.error = failures, error

    def deliver(self, events: Sequence[Event]) -> None:
        if self.left:
            self.left -= 1
            raise self.error
        super().deliver(events)


class Hanging(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def deliver(self, events: Sequence[Event]) -> None:
        self.released.wait(WAIT_SECONDS)
        super().deliver(events)


@pytest.fixture
def federation(tmp_path: Path) -> SmallFederation:
    return SmallFederation(tmp_path)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_RETRY_SECONDS", (0.01, 0.02))


def tracking(
    federation: SmallFederation, opened: Callable[[], Tracker], path: Path | None = None
) -> Tracking:
    return Tracking("mine", opened, federation.federation, federation.deployment.block, path)


def until(condition: Callable[[], bool], work: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        work()
        time.sleep(0.01)


def ids(federation: SmallFederation) -> list[str]:
    whole = Recorder()
    tracking(federation, lambda: whole).close(WAIT_SECONDS)
    return [event.id for event in whole.events]


def test_closing_delivers_what_is_left_and_closes_the_tracker(federation: SmallFederation) -> None:
    federation.run_round(federation.everybody())
    recorder = Recorder()
    tracked = tracking(federation, lambda: recorder)
    tracked.report(Kind.EVALUATED, 1, {"loss": 0.5})
    tracked.close(WAIT_SECONDS)
    kinds = [event.kind for event in recorder.events]
    assert Kind.ROUND_ACCEPTED in kinds
    assert kinds.count(Kind.EVALUATED) == 1
    assert recorder.closed


def test_a_restart_goes_on_where_the_saved_position_is(
    federation: SmallFederation, tmp_path: Path
) -> None:
    first, second = Recorder(), Recorder()
    path = tmp_path / "tracking" / "mine.json"
    tracking(federation, lambda: first, path).close(WAIT_SECONDS)
    federation.run_round(federation.everybody())
    tracking(federation, lambda: second, path).close(WAIT_SECONDS)
    assert first.events
    assert second.events
    assert [event.id for event in [*first.events, *second.events]] == ids(federation)


def test_the_same_report_counts_once_also_after_a_restart(
    federation: SmallFederation, tmp_path: Path
) -> None:
    path, recorders = tmp_path / "mine.json", [Recorder(), Recorder()]
    for recorder in recorders:
        tracked = tracking(federation, lambda one=recorder: one, path)  # type: ignore[misc]
        for _ in range(2):
            tracked.report(Kind.ALERT, 3, {"message": "look"})
        tracked.close(WAIT_SECONDS)
    alerts = [[e for e in recorder.events if e.kind == Kind.ALERT] for recorder in recorders]
    assert [len(found) for found in alerts] == [1, 0]


def test_a_tracker_that_fails_is_tried_again_and_it_is_said_once(
    federation: SmallFederation,
) -> None:
    failing = Failing(5, OSError("the disk is full"))
    with structlog.testing.capture_logs() as logs:
        tracking(federation, lambda: failing).close(WAIT_SECONDS)
    assert [event.id for event in failing.events] == ids(federation)
    said = [entry["event"] for entry in logs]
    assert said == ["a tracker failed; it is tried again", "a tracker works again"]


def test_a_tracker_that_cannot_be_opened_at_first_is_opened_later(
    federation: SmallFederation,
) -> None:
    recorder, failures = Recorder(), [ConnectionError("nobody there")] * 3

    def opened() -> Tracker:
        if failures:
            raise failures.pop()
        return recorder

    tracking(federation, opened).close(WAIT_SECONDS)
    assert [event.id for event in recorder.events] == ids(federation)


def test_a_tracker_that_hangs_holds_up_neither_a_step_nor_the_end(
    federation: SmallFederation, tmp_path: Path
) -> None:
    hanging, path = Hanging(), tmp_path / "mine.json"
    tracked = tracking(federation, lambda: hanging, path)
    until(lambda: tracked._batch is not None, tracked.step)
    began = time.monotonic()
    for _ in range(50):
        tracked.step()
    tracked.report(Kind.ALERT, None, {"message": "look"})
    tracked.close(0.2)
    assert time.monotonic() - began < WAIT_SECONDS / 2
    assert not path.exists()
    hanging.released.set()
    # Nothing was taken, so a restart delivers everything.
    recorder = Recorder()
    tracking(federation, lambda: recorder, path).close(WAIT_SECONDS)
    assert [event.id for event in recorder.events] == ids(federation)


def test_a_tracker_that_has_ended_is_not_tried_again(federation: SmallFederation) -> None:
    ended = Failing(10, TrackerEnded("Another process does it."))
    tracked = tracking(federation, lambda: ended)
    with structlog.testing.capture_logs() as logs:
        until(lambda: not tracked._thread.is_alive(), tracked.step)
    assert (ended.left, ended.events) == (9, [])
    assert [entry["log_level"] for entry in logs] == ["error"]
    tracked.step()
