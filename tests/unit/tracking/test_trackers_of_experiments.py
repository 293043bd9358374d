"""TensorBoard, W&B and MLflow, read back with their own libraries."""

import getpass
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fl_orchestrator.tracking.by_name import (
    Place,
    TrackerMissing,
    UnknownTracker,
    tracker_named,
)
from fl_orchestrator.tracking.event import Event, Kind
from fl_orchestrator.tracking.tracker import Tracker
from fl_orchestrator.training.failures import BadTrainerFile

FEDERATION = "eip155:1:0x00000000000000000000000000000000000000Aa"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(FEDERATION, "watcher", tmp_path / "home")


def event(kind: Kind, number: int, **values: object) -> Event:
    return Event(f"{kind}{number}", kind, FEDERATION, number, 1_700_000_000 + number, values)


def some_rounds() -> list[Event]:
    return [
        event(Kind.ROUND_OPENED, 1, base=0),
        event(Kind.ROUND_ACCEPTED, 1, included=3, revealed=4, root="0x12"),
        event(Kind.EVALUATED, 1, loss=0.5, auc=0.75, broken=float("nan")),
        event(Kind.ROUND_VOID, 2),
        event(Kind.ROUND_REVOKED, 1, height=1),
        event(Kind.ALERT, 1, message="<script>look</script>"),
    ]


def test_tensorboard_gets_a_point_for_each_round(tmp_path: Path, place: Place) -> None:
    tracker = tracker_named(f"tensorboard:{tmp_path / 'board'}")(place)
    tracker.deliver(some_rounds())
    tracker.close()
    # In a process of its own, because its reader imports TensorFlow.
    script = """
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = EventAccumulator(sys.argv[1]).Reload()
for tag in sorted(found.Tags()["scalars"]):
    for point in found.Scalars(tag):
        print(tag, point.step, point.value, int(point.wall_time))
print(*sorted(found.Tags()["tensors"]))
"""
    board = str(tmp_path / "board")
    done = subprocess.run(
        [sys.executable, "-c", script, board], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "model/auc 1 0.75 1700000001",
        "model/loss 1 0.5 1700000001",
        "round/included 1 3.0 1700000001",
        "round/revealed 1 4.0 1700000001",
        "round/revoked 1 1.0 1700000001",
        "round/void 2 1.0 1700000002",
        "alert/text_summary round_revoked/text_summary",
    ]


def test_the_writer_of_tensorboard_imports_no_tensorflow() -> None:
    code = "import fl_orchestrator.tracking.tensorboard, sys; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_wandb_writes_offline_and_sends_nothing_about_the_machine(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracker = tracker_named("wandb:hospitals")(place)
    tracker.deliver(some_rounds())
    tracker.close()
    (log,) = (place.home / "wandb").rglob("run-*.wandb")
    # Its own process writes the file, a little later.
    words = (b"round/included", b"model/auc", b"watcher of eip155", b"round/void")
    deadline = time.monotonic() + 30
    while not all(word in (data := log.read_bytes()) for word in words):
        assert time.monotonic() < deadline, data
        time.sleep(0.1)
    for secret in (os.uname().release, str(Path.cwd()), getpass.getuser(), str(place.home)):
        assert secret.encode() not in data


def test_wandb_connects_to_nothing_offline(tmp_path: Path) -> None:
    """All that it could connect to is this test, by the address of its server and of a proxy."""
    script = """
import sys
from pathlib import Path
import requests
from fl_orchestrator.tracking.by_name import Place, tracker_named
from fl_orchestrator.tracking.event import Event, Kind
name = "eip155:1:0x00000000000000000000000000000000000000Aa"
tracker = tracker_named("wandb:hospitals")(Place(name, "watcher", Path(sys.argv[1])))
tracker.deliver([Event("a", Kind.ROUND_ACCEPTED, name, 1, 1_700_000_000, {"included": 3})])
tracker.close()
print("tracked", flush=True)
sys.stdin.readline()
try:
    requests.get("https://example.invalid", timeout=10)
except requests.RequestException:
    print("asked", flush=True)
"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        at = f"http://127.0.0.1:{listener.getsockname()[1]}"
        names = ("WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        own = {"WANDB_MODE": "offline", "WANDB_API_KEY": "0" * 40, **dict.fromkeys(names, at)}
        kept = {k: v for k, v in os.environ.items() if k.lower() != "no_proxy"}
        with subprocess.Popen(
            [sys.executable, "-c", script, tmp_path / "home"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**kept, **own},
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert "tracked" in iter(process.stdout.readline, "").__next__()
            with pytest.raises(TimeoutError):
                listener.accept()
            # What is sent would arrive here.
            process.stdin.write("\n")
            process.stdin.flush()
            listener.settimeout(30)
            listener.accept()[0].close()
            assert process.stdout.read() == "asked\n"
    assert list((tmp_path / "home" / "wandb").rglob("run-*.wandb"))


def test_mlflow_continues_the_run_of_an_earlier_process(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    for events in (some_rounds()[:3], some_rounds()[3:]):
        tracker = tracker_named(f"mlflow:{uri}")(place)
        tracker.deliver(events)
        tracker.close()
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    (experiment,) = (e for e in client.search_experiments() if e.name == "flo")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics == {
        "model/auc": 0.75,
        "model/loss": 0.5,
        "round/included": 3.0,
        "round/revealed": 4.0,
        "round/revoked": 1.0,
        "round/void": 1.0,
    }
    assert run.info.status == "FINISHED"
    (point,) = client.get_metric_history(run.info.run_id, "round/void")
    assert (point.step, point.timestamp) == (2, 1_700_000_002_000)


OWN = """
from fl_orchestrator import Tracker

class Mine(Tracker):
    def __init__(self):
        self.rounds = []

    def on_round_accepted(self, event):
        self.rounds.append(event.round)

def make_tracker():
    return Mine()

def nothing():
    return 3
"""


def test_a_users_own_tracker_is_a_class_with_the_methods_it_needs(
    tmp_path: Path, place: Place
) -> None:
    (tmp_path / "own_tracker.py").write_text(OWN)
    tracker = tracker_named(f"{tmp_path / 'own_tracker.py'}:make_tracker")(place)
    assert isinstance(tracker, Tracker)
    tracker.deliver(some_rounds())
    assert tracker.rounds == [1]  # type: ignore[attr-defined]
    with pytest.raises(UnknownTracker, match="returned no Tracker"):
        tracker_named(f"{tmp_path / 'own_tracker.py'}:nothing")(place)


@pytest.mark.parametrize(
    "name",
    [
        *("", "tensorboard", "tensorboard:", "neptune:x", "kafka:host/topic", "kafka://host"),
        *("kafka:///topic", "kafka://h:1/a/b", "kafka://h:1/t?acks=0", "kafka://h:1/t?settings"),
        "kafka://h:1/t?settings=/nowhere",
    ],
)
def test_a_malformed_name_says_how_to_write_it(name: str) -> None:
    with pytest.raises(UnknownTracker):
        tracker_named(name)


def test_a_missing_file_of_an_own_tracker_says_the_option(tmp_path: Path) -> None:
    with pytest.raises(BadTrainerFile, match=r"tracker file .* does not exist") as raised:
        tracker_named(f"{tmp_path}/none.py:make_tracker")
    assert "--track my_tracker.py:make_tracker" in str(raised.value)


@pytest.mark.parametrize(
    "line", ["plugin.library.paths=/tmp/x.so", "acks=0", "nonsense", "sasl.kerberos.kinit.cmd=rm"]
)
def test_settings_of_kafka_are_those_of_a_connection(tmp_path: Path, line: str) -> None:
    path = tmp_path / "kafka.properties"
    path.write_text(f"# ours\nsecurity.protocol=SSL\n{line}\n")
    with pytest.raises(UnknownTracker, match="no setting of a connection"):
        tracker_named(f"kafka://h:1/t?settings={path}")


def test_a_tracker_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.delitem(sys.modules, "fl_orchestrator.tracking.tensorboard", raising=False)
    with pytest.raises(TrackerMissing, match="tensorboardX") as raised:
        tracker_named("tensorboard:x")
    assert "fl-orchestrator[tensorboard]" in str(raised.value)
