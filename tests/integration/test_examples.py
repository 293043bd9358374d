"""The examples run as their README has it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fl_orchestrator.model.manifest import read_manifest


@pytest.mark.parametrize("hospital", ["cleveland", "va"])
def test_the_readme_of_heart_disease_runs_as_written(
    hospital: str, checkout: Path, data_dir: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "heart_disease"
    shutil.copytree(checkout / "examples" / "heart_disease", directory)
    blocks = re.findall(r"```sh\n(.*?)```", (directory / "README.md").read_text(), re.DOTALL)
    assert blocks
    file = data_dir / "heart_disease" / f"processed.{hospital}.data"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=directory,
        env={
            **os.environ,
            "HOSPITAL_DATA": str(file),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = read_manifest(directory / "manifest.json")
    assert [(t.name, t.shape) for t in manifest.tensors] == [
        ("output/kernel", (13, 1)),
        ("output/bias", (1,)),
    ]
    assert (directory / "update.safetensors").stat().st_size < 512
    assert "Nothing was sent" in done.stdout
    assert "clipped        0.000%" in done.stdout
