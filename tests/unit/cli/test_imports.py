"""A command loads only what it needs: no EVM where it talks to a chain of processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support.imports import imports_of, modules_of, reached_from

EVM = ("eth", "eth_tester")
DEVELOPMENT_CHAIN = "fl_orchestrator.chain.nodes.development"
# What runs a chain in this process, or replays one.
WITH_A_CHAIN = {
    *("trial.demo", "trial.own", "trial.attack", "trial.look"),
    *("audit.verify", "audit.report"),
}

CREATE = """
import sys
from fl_orchestrator.cli.main import main
sys.argv = ["flo", "federation", "create", "--dataset", "breast-cancer", "--parties", "5",
            "--rpc", "http://127.0.0.1:9", "--deployments", "deployments.json"]
try:
    main()
except SystemExit as end:
    assert end.code == 3, end.code  # The chain, which it asks after it has built the model.
"""
UP = """
import sys
from fl_orchestrator.cli.trial import up
from fl_orchestrator.service.local.federation import LocalFederation, Plan
from fl_orchestrator.simulation.options import Options
up._model(Options("breast-cancer", 3, 1))
up._terms(3, 4, False)
from fl_orchestrator.chain.nodes.connect import connect
"""


def test_only_the_development_chain_runs_an_evm(checkout: Path) -> None:
    importers = set()
    for module, path in modules_of(checkout).items():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if {name.partition(".")[0] for name in names} & set(EVM):
                importers.add(module)
    nodes = "fl_orchestrator.chain.nodes"
    own = ("in_process", "evm.steps", "evm.storage_trie", "evm.straight")
    assert importers == {DEVELOPMENT_CHAIN, *(f"{nodes}.{name}" for name in own)}


def test_only_what_simulates_or_replays_a_chain_can_load_an_evm(checkout: Path) -> None:
    modules = modules_of(checkout)
    imports = imports_of(modules)
    cli = "fl_orchestrator.cli."
    commands = {m for m in modules if m.startswith(cli)} - {f"{cli}main"}
    loading = {m for m in commands if DEVELOPMENT_CHAIN in reached_from(m, imports)}
    assert {module.removeprefix(cli) for module in loading} == WITH_A_CHAIN


@pytest.mark.parametrize("script", [CREATE, UP], ids=["federation create --dataset", "up"])
def test_a_command_on_a_data_set_loads_no_evm_before_its_chain(script: str, tmp_path: Path) -> None:
    shown = f"print([name for name in {EVM!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script + shown], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]", done.stdout
