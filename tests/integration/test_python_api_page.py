"""docs/python-api.md: every block runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def test_every_block_of_the_python_page_runs(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (checkout / "docs" / "python-api.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.S | re.M)
    assert len(blocks) == 3
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(block, names)
    assert (tmp_path / "line.png").exists()
