"""Finds the imports between the product's modules, from their source."""

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PRODUCT = (
    "fl_orchestrator",
    "contracts",
    "migrations",
    "network",
    "benchmarks",
    "examples",
    "scripts",
)


class Import(NamedTuple):
    """An import of one module by another, with its line."""

    importer: str
    line: int
    imported: str

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules_of(checkout: Path) -> dict[str, Path]:
    """The product's Python files by their dotted names."""
    found = {}
    for folder in PRODUCT:
        for path in sorted((checkout / folder).rglob("*.py")):
            parts = path.relative_to(checkout).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _names(node: ast.AST, package: str) -> Iterator[tuple[str, ...]]:
    """The imports of a statement, each as the module names it may mean, the most specific first."""
    if isinstance(node, ast.Import):
        yield from ((alias.name,) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        yield from ((f"{base}.{alias.name}", base) for alias in node.names)


def imports_of(modules: dict[str, Path]) -> list[Import]:
    """All imports between modules, also inside functions and only for the type checker.

    These count as well, because they are dependencies for a reader and when a module is moved.
    """
    found = []
    for module, path in modules.items():
        if module == "fl_orchestrator":
            continue  # its names are loaded when they are first used
        folder = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text())):
            for names in _names(node, folder):
                # A script imports the files beside it by their bare names. In the package, a bare
                # name is another package: training/torch/ imports PyTorch.
                beside = [] if module.startswith("fl_orchestrator") else names
                candidates = [*names, *(f"{folder}.{name}" for name in beside)]
                imported = next((name for name in candidates if name in modules), None)
                if imported is not None and isinstance(node, ast.Import | ast.ImportFrom):
                    found.append(Import(module, node.lineno, imported))
    return found


def reached_from(module: str, imports: Iterable[Import]) -> set[str]:
    """A module and everything that it imports, directly or indirectly."""
    graph: dict[str, set[str]] = {}
    for found in imports:
        graph.setdefault(found.importer, set()).add(found.imported)
    reached: set[str] = set()
    todo = {module}
    while todo:
        reached |= todo
        todo = {other for one in todo for other in graph.get(one, ())} - reached
    return reached
