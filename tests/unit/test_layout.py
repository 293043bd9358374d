"""The layout of the code: small folders, short files, and imports that run one way."""

import graphlib
import re
from pathlib import Path

import pytest
from support.imports import PRODUCT, Import, imports_of, modules_of

MOST_FILES = 16
MOST_LINES = 400

# From top to bottom. A module belongs to the longest name here that it starts with, and imports
# only from its own layer and from those below. Layers in one row do not import each other.
LAYERS = (
    ("benchmarks", "examples", "migrations", "scripts"),
    ("network",),
    ("fl_orchestrator.__main__",),
    ("fl_orchestrator.cli.main",),
    ("fl_orchestrator.cli.audit", "fl_orchestrator.cli.consortium", "fl_orchestrator.cli.trial"),
    ("fl_orchestrator.cli.roles",),
    ("fl_orchestrator.cli",),
    ("fl_orchestrator.dashboard.server",),
    ("fl_orchestrator.dashboard",),
    ("fl_orchestrator.members", "fl_orchestrator.attacks"),
    ("fl_orchestrator.simulation",),
    ("fl_orchestrator.relay",),
    ("fl_orchestrator.service.local",),
    ("fl_orchestrator.service",),
    ("fl_orchestrator.tracking",),
    ("fl_orchestrator.audit",),
    (
        "fl_orchestrator.roles.aggregator",
        "fl_orchestrator.roles.keeper",
        "fl_orchestrator.roles.mirror",
        "fl_orchestrator.roles.party",
        "fl_orchestrator.roles.watcher",
    ),
    ("fl_orchestrator.roles",),
    ("fl_orchestrator.privacy",),
    ("fl_orchestrator.chain.deployment",),
    ("fl_orchestrator.chain.sending",),
    ("fl_orchestrator.chain.mirror", "fl_orchestrator.chain.shares"),
    ("fl_orchestrator.chain.contract",),
    ("fl_orchestrator.chain.signing",),
    ("fl_orchestrator.chain.nodes",),
    ("fl_orchestrator.chain",),
    ("fl_orchestrator.training",),
    ("fl_orchestrator.aggregation",),
    ("fl_orchestrator.model",),
    ("fl_orchestrator.content",),
    ("fl_orchestrator.transport",),
    ("fl_orchestrator.artifacts",),
    (
        "fl_orchestrator.compiled",
        "fl_orchestrator.cores",
        "fl_orchestrator.files",
        "fl_orchestrator.json_text",
        "fl_orchestrator.printable",
    ),
    ("fl_orchestrator.log", "fl_orchestrator.units"),
    ("fl_orchestrator.errors",),
    ("fl_orchestrator",),
)
RANKS = {layer: rank for rank, row in enumerate(LAYERS) for layer in row}


def layer_of(module: str) -> str:
    while module not in RANKS and "." in module:
        module = module.rpartition(".")[0]
    return module


def runs_down(found: Import) -> bool:
    above, below = layer_of(found.importer), layer_of(found.imported)
    return above == below or RANKS[above] < RANKS[below]


def circle_in(imports: list[Import]) -> list[str]:
    """Modules that import each other, the first one again at the end; empty when none do."""
    graph: dict[str, set[str]] = {}
    for found in imports:
        graph.setdefault(found.importer, set()).add(found.imported)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


@pytest.fixture(scope="module")
def modules(checkout: Path) -> dict[str, Path]:
    return modules_of(checkout)


@pytest.fixture(scope="module")
def imports(modules: dict[str, Path]) -> list[Import]:
    """All imports, but for those of the public names: they are lazy, and stand for every room."""
    return imports_of(modules)


def test_no_folder_has_more_files_than_a_reader_takes_in(checkout: Path) -> None:
    folders: dict[Path, int] = {}
    for top in PRODUCT:
        for path in (checkout / top).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                folders[path.parent] = folders.get(path.parent, 0) + 1
    assert len(folders) > 20
    assert {str(folder): n for folder, n in folders.items() if n > MOST_FILES} == {}


def test_no_file_is_too_long_to_read_in_one_go(checkout: Path) -> None:
    files = [
        p for top in PRODUCT for kind in ("py", "sol") for p in checkout.glob(f"{top}/**/*.{kind}")
    ]
    lines = {str(path): len(path.read_text().splitlines()) for path in files}
    assert len(lines) > 150
    assert {path: n for path, n in lines.items() if n > MOST_LINES} == {}


def test_every_room_of_the_package_has_its_layer(modules: dict[str, Path]) -> None:
    """Give a new room its row in LAYERS, and its place in README.md."""
    package = "fl_orchestrator"
    assert [m for m in modules if m != package and layer_of(m) == package] == []
    assert RANKS.keys() - {layer_of(module) for module in modules} - set(PRODUCT) == set()


def test_the_readme_tells_the_order_of_the_rooms(checkout: Path) -> None:
    (sentence,) = re.findall(
        r"Imports run one way:(.*?)\.\s", (checkout / "README.md").read_text(), re.S
    )
    parts = [layer.split(".") for row in LAYERS for layer in row]
    rooms = [
        room
        for top, *rest in parts
        if top == "fl_orchestrator"
        for room in rest[:1]
        if room != "__main__"
    ]
    assert re.findall(r"`(\w+)`", sentence) == [*dict.fromkeys(rooms)]


def test_no_import_runs_upwards(imports: list[Import]) -> None:
    assert len(imports) > 1_000
    assert [str(found) for found in imports if not runs_down(found)] == []


def test_no_modules_import_each_other(imports: list[Import]) -> None:
    assert circle_in(imports) == []


def test_an_import_counts_wherever_it_stands(tmp_path: Path) -> None:
    text = """
if TYPE_CHECKING:
    from fl_orchestrator.chain import sending
def late():
    import fl_orchestrator.chain.sending
    from .. import chain
    from fl_orchestrator.chain.sending import send
"""
    for name in ("model/tree", "chain/__init__", "chain/sending"):
        path = tmp_path / "fl_orchestrator" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if name == "model/tree" else "")
    found = imports_of(modules_of(tmp_path))
    sending, chain = "fl_orchestrator.chain.sending", "fl_orchestrator.chain"
    assert [(i.line, i.imported) for i in found] == [
        (3, sending),
        (5, sending),
        (6, chain),
        (7, sending),
    ]
    assert not any(runs_down(i) for i in found)


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("roles.party.journal", "roles.retention", True),
        ("roles.retention", "roles.party.journal", False),
        ("roles.party.party", "roles.watcher.cases", False),
        ("chain.types", "chain.nodes.http", False),
        ("chain.sending.send", "chain.contract.reverts", True),
        ("errors", "units", False),
    ],
)
def test_a_room_imports_only_from_below(importer: str, imported: str, allowed: bool) -> None:
    names = [f"fl_orchestrator.{name}" for name in (importer, imported)]
    assert runs_down(Import(names[0], 1, names[1])) == allowed


def test_a_circle_is_found_over_any_number_of_modules() -> None:
    pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d")]
    circle = circle_in([Import(a, 1, b) for a, b in pairs])
    assert set(circle) == {"a", "b", "c"}
