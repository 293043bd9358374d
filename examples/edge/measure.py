"""Runs a command, and writes to stderr what it took.

python measure.py flo party check --trainer ../heart_disease/numpy_trainer.py …
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time


def main() -> None:
    began = time.perf_counter()
    code = subprocess.run(sys.argv[1:], check=False).returncode
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{seconds:.1f} s, {used.ru_utime + used.ru_stime:.2f} CPU-s, "
        f"at most {used.ru_maxrss / 1024:.0f} MB",
        file=sys.stderr,
    )
    sys.exit(code)


if __name__ == "__main__":
    main()
