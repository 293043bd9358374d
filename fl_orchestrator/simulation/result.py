"""What a simulation gave: its history, its weights, and the proof that both are right."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fl_orchestrator.audit.auditor import Audit
from fl_orchestrator.audit.history import SAFETENSORS, History, RoundEntry
from fl_orchestrator.audit.plots import draw_curves
from fl_orchestrator.audit.run_directory import SPEC
from fl_orchestrator.model.manifest import Manifest
from fl_orchestrator.training.trainer import FloatArray, WeightSpec
from fl_orchestrator.training.weights_file import load_weights


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """The record of a simulation in ``directory``, and its final ``weights`` by name (float32)."""

    directory: Path
    record: History
    weights: dict[str, FloatArray]
    _temporary: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    @classmethod
    def load(
        cls, directory: Path, temporary: tempfile.TemporaryDirectory[str] | None = None
    ) -> SimulationResult:
        """Read the complete run in a directory."""
        manifest = Manifest.model_validate(json.loads((directory / SPEC).read_bytes())["manifest"])
        tensors = [WeightSpec(tensor.name, tensor.shape) for tensor in manifest.tensors]
        arrays = load_weights(directory / SAFETENSORS, tensors)
        weights = {tensor.name: array for tensor, array in zip(tensors, arrays, strict=True)}
        return cls(directory, History.load(directory), weights, temporary)

    @property
    def rounds(self) -> tuple[RoundEntry, ...]:
        return self.record.rounds

    @property
    def head_root(self) -> str:
        """The root of the last model, which two runs share only if their models do."""
        return self.record.rounds[-1].root

    @property
    def history(self) -> Any:
        """One row a round, with all metrics: a pandas DataFrame, or without pandas a list."""
        rows = [_row(entry) for entry in self.record.rounds]
        try:
            import pandas
        except ImportError:
            return rows
        return pandas.DataFrame(rows).set_index("round")

    def curves(self, file: str | Path) -> Path:
        """Draw accuracy, loss and gas over the rounds into a PNG; return its path."""
        draw_curves(self.record, Path(file))
        return Path(file)

    def verify(self) -> dict[str, str]:
        """Replay the recorded transactions and recompute every model, as `flo verify` does.

        Of a run with ``keep``, the models of the rounds whose updates it kept (``flo verify
        --kept``). Returns the addresses and roots that identify the run. Raises VerificationError.
        """
        with tempfile.TemporaryDirectory(prefix="flo-verify-") as workspace:
            audit = Audit(self.directory, Path(workspace))
            for _ in audit.rounds():
                pass
            audit.check_exports()
            return audit.identity


def _row(entry: RoundEntry) -> dict[str, Any]:
    return {
        "round": entry.round,
        "accepted": entry.accepted,
        "loss": entry.loss,
        "accuracy": entry.accuracy,
        **entry.metrics,
        "drawn": entry.drawn,
        "included": entry.included,
        "clipped": entry.clipped,
        "gas": entry.gas,
        "root": entry.root,
    }
