"""What a release consists of: equal bytes whoever builds it, and nothing that is not the project's.

`make release` also installs the wheel in bare environments of every Python that there is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import fl_orchestrator


def script(checkout: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, checkout / f"scripts/release/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sdist and the wheel, of two builds with equal bytes."""
    files: list[Path] = script(checkout, "build").build(tmp_path_factory.mktemp("release"))
    return files


def test_two_builds_have_equal_bytes_and_their_sums_are_written(built: list[Path]) -> None:
    kinds = [path.name.endswith((".whl", ".tar.gz")) for path in built]
    assert kinds == [True, True]
    sums = (built[0].parent / "SHA256SUMS").read_text().splitlines()
    assert sums == [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in built]


def test_builds_that_differ_are_refused(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = script(checkout, "build")
    made: list[Path] = []

    def build_once(directory: Path, *_: object) -> list[Path]:
        directory.mkdir(parents=True)
        made.append(directory / "same.whl")
        made[-1].write_text(str(len(made)))
        return [made[-1]]

    monkeypatch.setattr(module, "_build_once", build_once)
    with pytest.raises(module.NotReproducible, match=r"same\.whl"):
        module.build(tmp_path / "out")
    assert len(made) == 2
    assert not (tmp_path / "out").exists()


def test_they_have_the_releases_artifacts_and_no_tool_or_cache(built: list[Path]) -> None:
    wheel, sdist = sorted(built, key=lambda path: path.suffix, reverse=True)
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    assert "fl_orchestrator/artifacts/releases/0.1.0.json" in in_wheel
    with tarfile.open(sdist) as files:
        members = files.getmembers()
    in_sdist = {member.name.partition("/")[2] for member in members}
    assert {"contracts/Federation.sol", "tests/conftest.py", "SECURITY.md"} <= in_sdist
    for name in in_wheel | in_sdist:
        assert not name.startswith((".venv", ".tools", "node_modules", "build/", "dist/")), name
        assert "__pycache__" not in name
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}


def test_the_sbom_names_every_locked_package_with_its_hashes_and_no_address(
    checkout: Path, tmp_path: Path
) -> None:
    sbom = script(checkout, "sbom")
    if not sbom.PROGRAM.exists():
        pytest.skip("there is no cyclonedx-py: run make release")
    lock = checkout / "requirements" / "demo.lock"
    text = sbom.write(tmp_path, lock).read_text()
    bom = json.loads(text)
    assert bom["metadata"]["component"]["version"] == fl_orchestrator.__version__
    named = {f"{entry['name']}=={entry['version']}" for entry in bom["components"]}
    assert named == set(re.findall(r"^[a-z0-9-]+==[^ ;]+", lock.read_text(), re.MULTILINE))
    assert all(entry["properties"] and entry["purl"] for entry in bom["components"])
    addresses = set(re.findall(r"[a-z]+://[^\"]*", text))
    assert all("cyclonedx.org/schema" in address for address in addresses)
    assert sbom.write(tmp_path / "again", lock).read_text() == text


def test_pythons_of_the_versions_that_we_promise_are_looked_for(checkout: Path) -> None:
    found = script(checkout, "bare").pythons()
    assert found
    assert all(path.is_file() for path in found)


def test_a_wheel_that_needs_an_extra_is_not_usable_alone(checkout: Path, tmp_path: Path) -> None:
    bare = script(checkout, "bare")
    wheel = tmp_path / "empty-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("empty-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: empty\n")
        archive.writestr(
            "empty-1.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("empty-1.dist-info/RECORD", "")
    with pytest.raises(bare.Unusable, match="failed"):
        bare.check(wheel, Path(sys.executable), tmp_path / "venv")
