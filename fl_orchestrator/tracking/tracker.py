"""What a tracker implements: TensorBoard, Kafka, and whatever a user writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fl_orchestrator.errors import FloError
from fl_orchestrator.tracking.event import Event, Kind
from fl_orchestrator.tracking.position import Position


class TrackerEnded(FloError):
    """The tracker can take no more events, however often it is tried again."""


class Tracker:
    """Called with the events of a federation, in their order; override the methods that you need.

    The calls come from one thread of their own, so that a slow tracker holds up nothing. If a
    method raises an error, the same events are delivered again later, so make it idempotent. After
    a reorganisation `on_undone` is called for each event that is no longer on the chain, the last
    one first.
    """

    def on_round_opened(self, event: Event) -> None:
        """``values``: base, seed, commitEnd and revealEnd."""

    def on_update(self, event: Event) -> None:
        """An update was revealed and counts. ``values``: party, index, weight, root, cid."""

    def on_round_accepted(self, event: Event) -> None:
        """``values``: height, digest, root, cid, drawn, committed, revealed, included, signers."""

    def on_round_final(self, event: Event) -> None:
        """The challenge window of a round is over. ``values``: height."""

    def on_round_void(self, event: Event) -> None:
        """A round ended without a model."""

    def on_round_revoked(self, event: Event) -> None:
        """A round's model was proven wrong. ``values``: height."""

    def on_evaluated(self, event: Event) -> None:
        """A model was measured by this process. ``values``: metrics by their name."""

    def on_alert(self, event: Event) -> None:
        """Somebody has to look. ``values``: message and details."""

    def on_undone(self, event: Event) -> None:
        """A reorganisation removed an event. ``values``: its id as ``undoes``, its kind as ``was``.

        ``round`` is that of the removed event.
        """

    def on_event(self, event: Event) -> None:
        """Every event. It calls the method of the event's kind, if there is one."""
        method = _METHODS.get(event.kind)
        if method is not None:
            getattr(self, method)(event)

    def deliver(self, events: Sequence[Event]) -> None:
        """Events that were read together. They count as delivered when this returns."""
        for event in events:
            self.on_event(event)

    def resume(self, position: Position) -> None:
        """Called once before the first delivery, with the position that the process has saved.

        A tracker that knows better what it has may move it on.
        """

    def mark(self, position: Position) -> None:
        """Called after each delivery, before the position is saved: for the tracker's notes."""

    def close(self) -> None:
        """The process ends. It is not called after a crash."""


_METHODS: Final[Mapping[str, str]] = {
    kind: name for kind in Kind if hasattr(Tracker, name := f"on_{kind.value}")
}
