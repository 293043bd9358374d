"""The project's own files: lock files, the wheel, and the rule against skipped tests."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import fl_orchestrator
from fl_orchestrator.artifacts import CONTRACTS_VERSION

LOCKS = ("demo", "dev", "docs", "flower", "release", "slither")


def locked(checkout: Path, name: str) -> dict[str, set[str]]:
    """The versions of each package in a lock file (more than one where platforms differ)."""
    versions: dict[str, set[str]] = {}
    text = (checkout / "requirements" / f"{name}.lock").read_text()
    for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE):
        versions.setdefault(package, set()).add(version)
    return versions


def test_package_and_contracts_are_of_one_release(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    interface = (checkout / "contracts" / "interfaces" / "IFederation.sol").read_text()
    found = re.findall(r'^string constant VERSION = "(.*)";$', interface, re.MULTILINE)
    assert found == [CONTRACTS_VERSION]
    assert project["version"] == fl_orchestrator.__version__ == CONTRACTS_VERSION


def required(checkout: Path, *extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, with the extras, which may name each other."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    found = [Requirement(text) for text in project["dependencies"]]
    todo = list(extras)
    while todo:
        for text in project["optional-dependencies"][todo.pop()]:
            requirement = Requirement(text)
            if requirement.name == project["name"]:
                todo.extend(requirement.extras)
            else:
                found.append(requirement)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_holds_no_address_and_no_local_path(checkout: Path, name: str) -> None:
    text = (checkout / "requirements" / f"{name}.lock").read_text()
    assert not re.search(r"://|^-|@ |file:|^/|\.whl", text, re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_its_hashes(checkout: Path, name: str) -> None:
    text = (checkout / "requirements" / f"{name}.lock").read_text()
    packages = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert packages
    assert [p for p in packages if "--hash=sha256:" not in p] == []


@pytest.mark.parametrize("extra", ["demo", "dev", "flower"])
def test_a_lock_file_satisfies_pyproject_toml(checkout: Path, extra: str) -> None:
    versions = locked(checkout, extra)
    for requirement in required(checkout, extra):
        name = requirement.name.lower().replace("_", "-")
        assert name in versions, f"{name} is not locked: run make lock"
        for version in versions[name]:
            assert requirement.specifier.contains(Version(version), prereleases=True), name


def test_the_demo_runs_on_the_versions_that_were_tested(checkout: Path) -> None:
    tested = locked(checkout, "dev")
    for package, versions in locked(checkout, "demo").items():
        assert versions == tested[package], package


def test_npm_packages_are_pinned_and_the_lock_file_holds_no_address(checkout: Path) -> None:
    package = json.loads((checkout / "package.json").read_text())
    lock = json.loads((checkout / "package-lock.json").read_text())
    wanted = {
        name: version
        for kind in ("dependencies", "devDependencies", "optionalDependencies")
        for name, version in package[kind].items()
    }
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    for name, entry in lock["packages"].items():
        assert "resolved" not in entry, name
        assert name == "" or entry["integrity"].startswith("sha512-"), name


def test_npms_compiler_is_the_one_of_foundry_toml(checkout: Path) -> None:
    package = json.loads((checkout / "package.json").read_text())
    profile = tomllib.loads((checkout / "foundry.toml").read_text())["profile"]["default"]
    assert package["devDependencies"]["solc"] == profile["solc"]


def test_the_wheel_carries_the_contracts_and_the_migrations(checkout: Path, tmp_path: Path) -> None:
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=checkout, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "fl_orchestrator/artifacts/Federation.json" in names
    migrations = {f"fl_orchestrator/migrations/{p.name}" for p in checkout.glob("migrations/*.py")}
    assert migrations
    assert migrations <= names
    assert not {name for name in names if name.startswith(("tests/", "contracts/"))}


SKIPPING_TESTS = """
import pytest

def test_that_skips():
    pytest.skip("no such program")

@pytest.mark.skipif(True, reason="no such module")
def test_that_is_marked():
    pass

def test_that_passes():
    pass
"""


@pytest.mark.parametrize(
    ("require", "outcome"), [(None, "1 passed, 2 skipped"), ("all", "1 failed, 1 passed, 1 error")]
)
def test_every_skip_is_a_failure_when_everything_is_required(
    checkout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    require: str | None,
    outcome: str,
) -> None:
    (tmp_path / "conftest.py").write_text((checkout / "tests" / "conftest.py").read_text())
    (tmp_path / "test_skipping.py").write_text(SKIPPING_TESTS)
    monkeypatch.delenv("FLO_REQUIRE", raising=False)
    if require:
        monkeypatch.setenv("FLO_REQUIRE", require)
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    result = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert outcome in result.stdout
    assert (result.returncode == 0) == (require is None)
