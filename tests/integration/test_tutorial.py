"""docs/tutorial.md: every command runs as it stands there, in its order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from fl_orchestrator.audit.history import History


def test_every_command_of_the_tutorial_does_what_it_says(checkout: Path, tmp_path: Path) -> None:
    page = (checkout / "docs" / "tutorial.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.S | re.M)
    (tmp_path / "mine.py").write_text(program)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.S | re.M)
    assert len(blocks) == 5
    said = []
    for block in blocks:
        done = subprocess.run(
            ["bash", "-eu", "-c", block],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout + done.stderr)
    assert "Verified: 3 rounds" in said[1]
    # One bit was changed: the round is named, and where.
    found = r"Round \d: the stored update .* was changed; the first wrong coordinate is \d+ \("
    assert re.search(found, said[2].replace("\n", " "))
    rounds = [
        (str(entry.round), f"{entry.gas:,}", entry.root[:8])
        for entry in History.load(tmp_path / "first").rounds
    ]
    row = re.compile(r"^ +(\d+) +10 +10 .* ([\d,]+) +(0x\w{6})…", re.M)
    assert row.findall(page) == rounds
    assert row.findall((checkout / "README.md").read_text())[:3] == rounds
    mine = History.load(tmp_path / "mine")
    reached = [f"{mine.rounds[n].accuracy:.2f}" for n in (0, -1)]
    assert f"from {reached[0]} to {reached[1]} in six rounds" in page
