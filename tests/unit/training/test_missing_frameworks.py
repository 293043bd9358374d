"""What a user reads whose environment lacks a framework."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from fl_orchestrator.errors import FloError
from fl_orchestrator.training.csv_table import load_pandas
from fl_orchestrator.training.keras import load_tensorflow
from fl_orchestrator.training.sklearn.trainer import load_sklearn
from fl_orchestrator.training.torch import load_torch


def fresh(module: str) -> ModuleType:
    """Import a module as a new process does; the others keep theirs."""
    with mock.patch.dict(sys.modules):
        sys.modules.pop(module, None)
        return importlib.import_module(module)


@pytest.mark.parametrize(
    ("module", "load", "remedy"),
    [
        ("sklearn", load_sklearn, r"fl-orchestrator\[sklearn\]"),
        ("torch", load_torch, "pytorch.org"),
        ("tensorflow", load_tensorflow, r"fl-orchestrator\[demo\]"),
        ("pandas", load_pandas, r"fl-orchestrator\[tables\]"),
        ("eth_tester", lambda: fresh("fl_orchestrator.chain.nodes.development"), r"\[simulation\]"),
    ],
)
def test_a_missing_framework_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, module: str, load: Callable[[], Any], remedy: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FloError) as raised:
        load()
    assert re.search(remedy, str(raised.value.hint))
