"""MLflow, by mlflow-skinny: a run of an experiment for each federation and role."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

# Before the import: this project reports to nobody but the user's own server.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

from mlflow import MlflowClient
from mlflow.entities import Metric

from fl_orchestrator.tracking.event import Event
from fl_orchestrator.tracking.scalars import ScalarTracker

#: The tag by which a restarted process finds its run.
TAG: Final = "flo.run"
_EXPERIMENT: Final = "flo"


class MlflowTracker(ScalarTracker):
    """Logs to the MLflow server (or directory) at ``uri``; ``run`` identifies what it continues.

    Raises MlflowException and what the server's connection raises.
    """

    def __init__(self, uri: str, run: str) -> None:
        self._client = MlflowClient(tracking_uri=uri)
        experiment = self._client.get_experiment_by_name(_EXPERIMENT)
        number = (
            self._client.create_experiment(_EXPERIMENT)
            if experiment is None
            else experiment.experiment_id
        )
        found = self._client.search_runs([number], f"tags.`{TAG}` = '{run}'", max_results=1)
        self._run: str = (
            found[0] if found else self._client.create_run(number, tags={TAG: run}, run_name=run)
        ).info.run_id
        if found:
            self._client.update_run(self._run, status="RUNNING")

    def write(self, event: Event, step: int, numbers: Mapping[str, float]) -> None:
        at = 1000 * (event.time or 0)
        metrics = [Metric(name, number, at, step) for name, number in numbers.items()]
        self._client.log_batch(self._run, metrics)

    def note(self, event: Event, text: str) -> None:
        self._client.set_tag(self._run, f"flo.{event.kind}.{event.round}", text[:4000])

    def close(self) -> None:
        self._client.set_terminated(self._run)
