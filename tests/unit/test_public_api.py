"""The public Python API: complete, and light to import."""

from __future__ import annotations

import json
import subprocess
import sys

import fl_orchestrator


def test_every_public_name_is_there_and_documented() -> None:
    for name in fl_orchestrator.__all__:
        assert getattr(fl_orchestrator, name).__doc__, name
    assert set(fl_orchestrator.__all__) <= set(dir(fl_orchestrator))


def test_importing_the_package_loads_no_library() -> None:
    code = "import sys, json; import fl_orchestrator; print(json.dumps(list(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code]))
    heavy = {"numpy", "web3", "tensorflow", "keras", "torch", "sklearn", "pandas", "pydantic"}
    assert heavy.isdisjoint(loaded)
    assert "fl_orchestrator" in loaded
