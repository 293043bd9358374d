"""examples/tour: the notebook runs from top to bottom, and says what its text promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient


@pytest.fixture(scope="module")
def cells(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The code cells after an execution in an empty directory."""
    file = checkout / "examples" / "tour" / "tour.ipynb"
    notebook = nbformat.reads(file.read_text(), 4)  # type: ignore[no-untyped-call]
    assert all(not cell.get("outputs") for cell in notebook.cells)  # none are stored
    place = {"metadata": {"path": str(tmp_path_factory.mktemp("tour"))}}
    NotebookClient(notebook, timeout=400, kernel_name="python3", resources=place).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown_by(cells: list[Any], text: str) -> str:
    """What the cell with this text has shown."""
    (cell,) = [cell for cell in cells if text in cell.source]
    parts = [out.get("text") or out["data"]["text/plain"] for out in cell.outputs]
    return "\n".join(parts)


def test_the_federation_learns_and_verifies(cells: list[Any]) -> None:
    history = shown_by(cells, "result = simulate(")
    rows = [line.split() for line in history.splitlines() if re.match(r"[1-4] ", line)]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[-1][2]) > 0.93
    assert re.search("'0x[0-9a-f]{64}'", shown_by(cells, "result.verify()"))


def test_a_changed_record_is_found_and_private_weights_are_the_same(cells: list[Any]) -> None:
    assert "Round 2" in shown_by(cells, "except FloError as error")
    assert shown_by(cells, "private=True").endswith("True")
