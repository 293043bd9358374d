"""A tracker beside a role's process and a simulation sees all of it, and holds up none of it."""

import json
import subprocess
import sys

import structlog
from integration.anvil_site import Site
from support.federation import trainers
from support.flo import finish, flo, start_flo

from fl_orchestrator import Event, Tracker, simulate
from fl_orchestrator.tracking.event import Kind

OWN = """
import json, pathlib
from fl_orchestrator import Tracker

class Lines(Tracker):
    def on_event(self, event):
        with open({path!r}, "a") as file:
            file.write(json.dumps(event.to_json()) + "\\n")

def make_tracker():
    return Lines()

class Broken(Tracker):
    def on_event(self, event):
        raise RuntimeError("no permission")

def make_broken():
    return Broken()
"""


class Recorder(Tracker):
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)


class Broken(Tracker):
    def on_event(self, event: Event) -> None:
        raise OSError("no space left")


def test_a_watcher_tells_the_round_and_its_alerts_once_across_restarts(open_site: Site) -> None:
    path, code = open_site.directory / "events.jsonl", open_site.directory / "own_tracker.py"
    code.write_text(OWN.format(path=str(path)))
    options = ["--track", f"{code}:make_tracker", "--track", f"{code}:make_broken"]

    def watch() -> str:
        done = finish(
            start_flo("watcher", "run", *open_site.working("watcher"), "--once", *options)
        )
        return done.succeeded().err

    first = watch()
    assert first.count("a tracker failed") == 1
    assert "no permission" in first
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event["kind"] for event in told].count(Kind.ROUND_OPENED) == 1
    assert told[-1]["federation"].endswith(open_site.federation.address)

    finish(
        start_flo(*open_site.submission("clinic", open_site.trained("clinic", 0), 20))
    ).succeeded()
    watch()
    after = [json.loads(line) for line in path.read_text().splitlines()]
    assert after[: len(told)] == told
    assert [event["kind"] for event in after].count(Kind.UPDATE) == 1
    assert len({event["id"] for event in after}) == len(after)


def test_a_tracker_named_wrongly_is_refused_before_anything_starts(open_site: Site) -> None:
    done = flo("watcher", "run", *open_site.working("watcher"), "--once", "--track", "neptune:x")
    done.refused(2, "no tracker", "tensorboard:DIRECTORY")
    missing = flo("watcher", "run", *open_site.working("watcher"), "--track", "none.py:make")
    missing.refused(2, "none.py", "--track my_tracker.py:make_tracker")


def test_a_simulation_tells_its_trackers_each_round_and_what_it_measured() -> None:
    recorder = Recorder()
    with structlog.testing.capture_logs() as logs:
        result = simulate(
            trainers(3),
            rounds=2,
            loss="sparse_categorical_crossentropy",
            trackers=[recorder, Broken()],
            progress=False,
        )
    accepted = [e for e in recorder.events if e.kind == Kind.ROUND_ACCEPTED]
    assert [event.values["root"] for event in accepted] == [entry.root for entry in result.rounds]
    measured = {e.round: e.values["loss"] for e in recorder.events if e.kind == Kind.EVALUATED}
    assert measured == {entry.round: entry.loss for entry in result.rounds}
    said = [entry for entry in logs if entry["event"].startswith("a tracker")]
    assert {entry["tracker"] for entry in said} == {"Broken 1"}


def test_no_tracker_imports_no_library_of_one() -> None:
    code = (
        "import sys, fl_orchestrator.cli.roles.watcher, fl_orchestrator.tracking.several\n"
        "print({'wandb', 'mlflow', 'confluent_kafka', 'tensorboardX'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
