"""The compiled loops: they need no place for their cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
from numba.core import caching
# No directory can be written to: a read-only file system, as seen by numba.
def refuse(self):
    raise OSError(30, "Read-only file system")
caching._CacheLocator.ensure_cache_path = refuse
import numpy as np
from fl_orchestrator.aggregation import kernels
assert Path(kernels.__file__).is_relative_to(sys.argv[1])
sums, row = np.zeros(3, np.int32), np.array([1, -2, 3], np.int16)
kernels.add_weighted(sums, np.arange(10, dtype=np.int32), *[row] * 10)
print(sums.tolist())
"""


def test_the_loops_are_compiled_where_nothing_can_be_kept(checkout: Path, tmp_path: Path) -> None:
    package = tmp_path / "fl_orchestrator"
    shutil.copytree(
        checkout / "fl_orchestrator", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", SCRIPT, str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[45, -90, 135]"
    assert "NUMBA_CACHE_DIR" in done.stdout + done.stderr
    assert not list(package.rglob("*.nbi"))
