"""MLflow over HTTP: mlflow-skinny's client against a double of the server.

The double is written from the text of MLflow's REST API (mlflow.org, "REST API", 2.0): its paths,
fields and error codes. The server itself is a package of over 600 MB.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fl_orchestrator.relay.serving import serving
from fl_orchestrator.tracking.by_name import Place, tracker_named
from fl_orchestrator.tracking.event import Event, Kind

FEDERATION = "eip155:1:0x00000000000000000000000000000000000000Aa"


class Server:
    """Experiments, runs and metrics; ``refuses`` makes it answer that nothing is permitted."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.metrics: list[dict[str, Any]] = []
        self.asked: list[tuple[str, bytes]] = []
        self.refuses = False
        self._paths = {
            "experiments/get-by-name": self._experiment,
            "experiments/create": self._create_experiment,
            "runs/search": self._search,
            "runs/create": self._create_run,
            "runs/get": self._run,
            "runs/update": self._update,
            "runs/log-batch": self._log,
            "runs/set-tag": self._tag,
        }
        every = Route("/api/2.0/mlflow/{path:path}", self._answer, methods=["GET", "POST"])
        self.app = Starlette(routes=[every])

    async def _answer(self, request: Request) -> JSONResponse:
        path, body = request.path_params["path"], await request.body()
        self.asked.append((path, body + str(request.headers).encode()))
        if self.refuses:
            return _error(403, "PERMISSION_DENIED")
        given = dict(request.query_params) if request.method == "GET" else await request.json()
        return self._paths[path](given)

    def _experiment(self, given: dict[str, Any]) -> JSONResponse:
        name = given["experiment_name"]
        if name not in self.experiments:
            return _error(404, "RESOURCE_DOES_NOT_EXIST")
        found = {"experiment_id": self.experiments[name], "name": name, "lifecycle_stage": "active"}
        return JSONResponse({"experiment": found})

    def _create_experiment(self, given: dict[str, Any]) -> JSONResponse:
        self.experiments[given["name"]] = str(len(self.experiments) + 1)
        return JSONResponse({"experiment_id": self.experiments[given["name"]]})

    def _search(self, given: dict[str, Any]) -> JSONResponse:
        wanted = re.fullmatch(r"tags\.`([^`]+)` = '([^']*)'", given["filter"])
        assert wanted is not None
        tag = {"key": wanted[1], "value": wanted[2]}
        runs = [run for run in self.runs.values() if tag in run["data"]["tags"]]
        return JSONResponse({"runs": runs[: given["max_results"]]})

    def _create_run(self, given: dict[str, Any]) -> JSONResponse:
        number = f"run{len(self.runs)}"
        about = {
            "run_id": number,
            "run_name": given["run_name"],
            "experiment_id": given["experiment_id"],
            "status": "RUNNING",
            "start_time": given["start_time"],
            "artifact_uri": "mlflow-artifacts:/",
            "lifecycle_stage": "active",
        }
        self.runs[number] = {"info": about, "data": {"tags": given["tags"]}}
        return JSONResponse({"run": self.runs[number]})

    def _run(self, given: dict[str, Any]) -> JSONResponse:
        return JSONResponse({"run": self.runs[given["run_id"]]})

    def _update(self, given: dict[str, Any]) -> JSONResponse:
        about = self.runs[given["run_id"]]["info"]
        about |= {name: given[name] for name in ("status", "end_time") if name in given}
        return JSONResponse({"run_info": about})

    def _log(self, given: dict[str, Any]) -> JSONResponse:
        self.metrics += [{"run": given["run_id"], **metric} for metric in given["metrics"]]
        return JSONResponse({})

    def _tag(self, given: dict[str, Any]) -> JSONResponse:
        self.runs[given["run_id"]]["data"]["tags"].append(
            {"key": given["key"], "value": given["value"]}
        )
        return JSONResponse({})


def _error(status: int, code: str) -> JSONResponse:
    return JSONResponse({"error_code": code, "message": code.lower()}, status)


@contextmanager
def running(server: Server) -> Iterator[str]:
    with serving(server.app, "127.0.0.1", 0) as url:
        yield url


def event(kind: Kind, number: int, **values: object) -> Event:
    return Event(f"{kind}{number}", kind, FEDERATION, number, 1_700_000_000 + number, values)


def place(directory: Path) -> Place:
    return Place(FEDERATION, "watcher", directory)


def test_rounds_become_points_of_one_run_that_a_restart_continues(tmp_path: Path) -> None:
    server = Server()
    with running(server) as url:
        for events in (
            [event(Kind.ROUND_ACCEPTED, 1, included=3), event(Kind.EVALUATED, 1, loss=0.5)],
            [event(Kind.ROUND_VOID, 2), event(Kind.ALERT, 2, message="look")],
        ):
            tracker = tracker_named(f"mlflow:{url}")(place(tmp_path))
            tracker.deliver(events)
            (run,) = server.runs.values()
            assert run["info"]["status"] == "RUNNING"
            tracker.close()
            assert run["info"]["status"] == "FINISHED"
    assert list(server.experiments) == ["flo"]
    points = {(one["key"], one["step"], one["value"], one["timestamp"]) for one in server.metrics}
    assert points == {
        ("round/included", 1, 3.0, 1_700_000_001_000),
        ("model/loss", 1, 0.5, 1_700_000_001_000),
        ("round/void", 2, 1.0, 1_700_000_002_000),
    }
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert "look" in tags["flo.alert.2"]
    told = b"".join(body for _, body in server.asked)
    for secret in (getpass.getuser(), os.uname().nodename, os.uname().release, str(Path.cwd())):
        assert secret.encode() not in told.replace(b"127.0.0.1", b""), secret


def test_a_refusal_is_an_error_of_the_tracker_and_works_again_later(tmp_path: Path) -> None:
    server = Server()
    with running(server) as url:
        server.refuses = True
        with pytest.raises(Exception, match=r"(?i)permission_denied"):
            tracker_named(f"mlflow:{url}")(place(tmp_path))
        server.refuses = False
        tracker = tracker_named(f"mlflow:{url}")(place(tmp_path))
        server.refuses = True
        with pytest.raises(Exception, match=r"(?i)permission_denied"):
            tracker.deliver([event(Kind.ROUND_VOID, 1)])
        server.refuses = False
        tracker.deliver([event(Kind.ROUND_VOID, 1)])
    assert [(one["key"], one["step"]) for one in server.metrics] == [("round/void", 1)]
