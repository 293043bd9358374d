"""How many cores this process may use."""

import os


def cores() -> int:
    """As many as the machine has, or fewer where the user says so, such as with ``taskset``."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
