"""The example "from a Keras script to a party" runs as written, and its README shows the truth."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fl_orchestrator.model.manifest import read_manifest


@pytest.fixture
def example(checkout: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkout / "examples" / "keras_script", tmp_path / "keras_script"))


def test_the_diff_in_the_readme_is_that_of_the_files_and_short(example: Path) -> None:
    (shown,) = re.findall(r"```diff\n(.*?)```", (example / "README.md").read_text(), re.DOTALL)
    old, new = ((example / name).read_text().splitlines() for name in ("train.py", "party.py"))
    true = [*difflib.unified_diff(old, new, "train.py", "party.py", lineterm="")]
    assert shown.splitlines() == true
    changed = [line for line in true[2:] if line[0] in "+-"]
    assert len(changed) <= 15


def test_the_script_and_the_party_run_as_written(example: Path, data_dir: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (example / "README.md").read_text(), re.DOTALL)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=example,
        env={
            **os.environ,
            "FACTORY_DATA": str(data_dir / "ai4i2020" / "ai4i2020.csv"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (example / "failures.keras").exists()
    manifest = read_manifest(example / "manifest.json")
    assert [tensor.name for tensor in manifest.tensors] == [
        f"{layer}/{kind}"
        for layer in ("dense", "dense_1", "dense_2")
        for kind in ("kernel", "bias")
    ]
    assert "Nothing was sent" in done.stdout
    # The party ends where the script ends: its validation rows are the same last fifth.
    script = float(re.findall(r"val_auc: ([\d.]+)", done.stdout)[-1])
    rehearsals = re.findall(r"auc\s+[\d.]+ before, ([\d.]+) after", done.stdout)
    assert script > 0.85
    assert len(rehearsals) == 2, done.stdout
    assert all(abs(float(value) - script) < 0.03 for value in rehearsals), done.stdout
