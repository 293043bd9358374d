"""`flo contracts build`: the same bytecode as forge, from any compiler, and errors that help."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_typing import ChecksumAddress
from sha3 import keccak_256
from web3 import EthereumTesterProvider, Web3

from fl_orchestrator.artifacts import (
    Artifact,
    ArtifactNotFoundError,
    Hole,
    UnlinkedLibraryError,
    load_artifact,
)
from fl_orchestrator.chain.deployment import compile as compiler
from fl_orchestrator.chain.deployment.compile import (
    CompilationError,
    CompilerNotFoundError,
    NoProjectError,
    build_contracts,
    compile_artifacts,
    find_solc,
)

VERSION = "0.8.30"
# Those of the small project.
CONTRACTS = {"Federation", "PrivateFederation", "ModelMirror", "RewardShares", "Doubler"}

FEDERATION = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Doubler} from "./libraries/Doubler.sol";

contract Federation {
    uint256 public immutable start;
    constructor(uint256 start_) { start = start_; }
    function grown() external view returns (uint256) { return Doubler.double(Math.max(start, 3)); }
    uint256[] private kept;
    function keep(uint256 x) external { Doubler.keep(kept, x); }
}
"""
PRIVATE_FEDERATION = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;
import {Doubler} from "./libraries/Doubler.sol";

contract PrivateFederation {
    uint256[] private kept;
    function keep(uint256 x) external { Doubler.keep(kept, x); }
}
"""
MODEL_MIRROR = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;
import {Doubler} from "./libraries/Doubler.sol";

contract ModelMirror {
    function twice(uint256 x) external pure returns (uint256) { return Doubler.double(x); }
}
"""
REWARD_SHARES = MODEL_MIRROR.replace("ModelMirror", "RewardShares")
DOUBLER = """// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;
library Doubler {
    function double(uint256 x) external pure returns (uint256) { return 2 * x; }
    function keep(uint256[] storage kept, uint256 x) external { kept.push(x); }
}
"""


def write_project(root: Path, checkout: Path) -> Path:
    """A small project with this checkout's settings: four contracts that link a library."""
    if not (checkout / "node_modules" / "solc").is_dir():
        pytest.skip("npm packages are not installed: run npm ci")
    (root / "contracts" / "libraries").mkdir(parents=True)
    (root / "contracts" / "Federation.sol").write_text(FEDERATION)
    (root / "contracts" / "PrivateFederation.sol").write_text(PRIVATE_FEDERATION)
    (root / "contracts" / "ModelMirror.sol").write_text(MODEL_MIRROR)
    (root / "contracts" / "RewardShares.sol").write_text(REWARD_SHARES)
    (root / "contracts" / "libraries" / "Doubler.sol").write_text(DOUBLER)
    (root / "fl_orchestrator" / "artifacts").mkdir(parents=True)
    (root / "scripts").mkdir()
    shutil.copy(checkout / "scripts" / "solc", root / "scripts" / "solc")
    shutil.copy(checkout / "foundry.toml", root)
    (root / "node_modules").symlink_to(checkout / "node_modules")
    return root


@pytest.fixture
def project(tmp_path: Path, checkout: Path) -> Path:
    """A fresh copy of the small project."""
    return write_project(tmp_path / "project", checkout)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> dict[str, str]:
    """The text of the small project's artifacts, by the contract's name."""
    return compile_artifacts(
        write_project(tmp_path_factory.mktemp("compiled") / "project", checkout)
    )


@pytest.fixture
def no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a compiler or a network; returns the directory of its only programs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    solcx = tmp_path / "solcx"
    solcx.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("SOLCX_BINARY_PATH", str(solcx))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return programs


@pytest.fixture
def fake_solc() -> Callable[[Path, str], Path]:
    """Writes a program that says it is the given version of solc."""

    def write(file: Path, version: str) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\necho 'Version: {version}+commit.73712a01.Linux.g++'\n")
        file.chmod(0o755)
        return file

    return write


def forge_output(root: Path, checkout: Path, scratch: Path) -> dict[str, dict[str, Any]]:
    """What `forge build` makes of each contract that ``root`` deploys, and of what those link."""
    forge = shutil.which("forge", path=f"{checkout}/node_modules/.bin:{os.environ['PATH']}")
    if forge is None:
        pytest.skip("forge is not installed: run npm ci")
    built: dict[str, dict[str, Any]] = {}
    for name in compiler.DEPLOYED:
        out = scratch / name
        places = ["--root", root, "--out", out, "--cache-path", scratch / f"{name}-cache"]
        subprocess.run(
            [forge, "build", *map(str, places), f"contracts/{name}.sol"],
            env={**os.environ, "FOUNDRY_SOLC": str(find_solc(VERSION, checkout))},
            check=True,
            capture_output=True,
        )
        for file in out.glob("*.sol/*.json"):
            artifact = json.loads(file.read_text())
            # A library that both link must be the same for both.
            same = built.setdefault(file.stem, artifact)
            assert same["bytecode"]["object"] == artifact["bytecode"]["object"]
    return built


def entries(abi: list[dict[str, Any]]) -> list[str]:
    """The entries of an ABI in one order: forge sorts them otherwise than solc."""
    return sorted(json.dumps(entry, sort_keys=True) for entry in abi)


def assert_equal_to_forge(artifacts: dict[str, str], forge: dict[str, dict[str, Any]]) -> None:
    for name, text in artifacts.items():
        mine, theirs = Artifact.from_json(text), forge[name]
        assert entries(mine.abi) == entries(theirs["abi"])
        pairs = (
            (mine.creation_code, theirs["bytecode"]),
            (mine.runtime_code, theirs["deployedBytecode"]),
        )
        for code, other in pairs:
            expected = other["object"].removeprefix("0x")
            for libraries in other["linkReferences"].values():
                for place in (place for places in libraries.values() for place in places):
                    start, end = 2 * place["start"], 2 * (place["start"] + place["length"])
                    expected = expected[:start] + "0" * (end - start) + expected[end:]
            assert code.hex() == expected


@pytest.fixture(scope="module")
def committed(checkout: Path) -> dict[str, str]:
    """The text of each artifact in the checkout, by the contract's name."""
    directory = checkout / "fl_orchestrator" / "artifacts"
    return {file.stem: file.read_text() for file in directory.glob("*.json")}


def test_the_committed_artifacts_equal_a_fresh_build(
    committed: dict[str, str], checkout: Path
) -> None:
    assert committed == compile_artifacts(checkout), "run `flo contracts build` and commit"


def test_the_committed_artifacts_equal_forges_output(
    committed: dict[str, str], checkout: Path, tmp_path: Path
) -> None:
    libraries = {"Claims", "DisputeLogic", "MaskedDisputes"}
    assert set(committed) == {*compiler.DEPLOYED} | libraries
    assert_equal_to_forge(committed, forge_output(checkout, checkout, tmp_path))


def test_a_linked_library_and_its_contract_equal_forges_output(
    compiled: dict[str, str], project: Path, checkout: Path, tmp_path: Path
) -> None:
    assert set(compiled) == CONTRACTS
    assert_equal_to_forge(compiled, forge_output(project, checkout, tmp_path))


def test_the_artifacts_depend_neither_on_the_directory_nor_on_comments(
    compiled: dict[str, str], project: Path
) -> None:
    file = project / "contracts" / "Federation.sol"
    file.write_text(file.read_text() + "// a remark\n")
    assert compile_artifacts(project) == compiled


def test_a_build_writes_its_artifacts_and_removes_stale_ones(project: Path) -> None:
    directory = project / "fl_orchestrator" / "artifacts"
    (directory / "Gone.json").write_text("{}")
    written = build_contracts(project)
    assert sorted(written) == sorted(directory.glob("*.json"))
    assert {file.stem for file in written} == CONTRACTS
    for file in written:
        artifact = Artifact.from_json(file.read_text())
        assert artifact.runtime_code_hash == keccak_256(artifact.runtime_code).digest()
        assert artifact.compiler["version"] == VERSION
        assert artifact.compiler["settings"]["evmVersion"] == "paris"


def holes_of(artifact: Artifact) -> list[Hole]:
    links = artifact.runtime_links.values()
    return [*artifact.runtime_holes, *(hole for holes in links for hole in holes)]


def test_a_linked_contract_deploys_runs_and_is_recognised_by_its_code(project: Path) -> None:
    artifacts = {
        name: Artifact.from_json(text) for name, text in compile_artifacts(project).items()
    }
    federation, doubler = artifacts["Federation"], artifacts["Doubler"]
    w3 = Web3(EthereumTesterProvider())

    def deploy(artifact: Artifact, libraries: dict[str, bytes], *args: int) -> ChecksumAddress:
        factory = w3.eth.contract(abi=artifact.abi, bytecode=artifact.linked(libraries))
        receipt = w3.eth.wait_for_transaction_receipt(factory.constructor(*args).transact())
        address = receipt["contractAddress"]
        assert address is not None
        return address

    library = deploy(doubler, {})
    address = deploy(federation, {"Doubler": bytes.fromhex(library[2:])}, 21)
    assert w3.eth.contract(address=address, abi=federation.abi).functions.grown().call() == 42

    code = bytes(w3.eth.get_code(address))
    assert code != federation.runtime_code
    assert federation.runs_as(code)
    assert federation.libraries_of(code) == {"Doubler": bytes.fromhex(library[2:])}
    library_code = bytes(w3.eth.get_code(library))
    assert doubler.runs_as(library_code)
    assert doubler.libraries_of(library_code) == {"Doubler": bytes.fromhex(library[2:])}
    assert not doubler.runs_as(code)
    assert not federation.runs_as(code + b"\0")
    holes = {hole.start + i for hole in holes_of(federation) for i in range(hole.length)}
    solid = next(i for i in range(len(code)) if i not in holes)
    assert not federation.runs_as(code[:solid] + bytes([code[solid] ^ 1]) + code[solid + 1 :])


def test_a_contract_without_the_address_of_its_library_is_refused(
    compiled: dict[str, str],
) -> None:
    federation = Artifact.from_json(compiled["Federation"])
    with pytest.raises(UnlinkedLibraryError, match=r"Federation needs .* the library Doubler"):
        federation.linked({})


@pytest.mark.parametrize("name", ["Nonesuch", "../conftest", "", "__init__"])
def test_an_unknown_artifact_is_refused(name: str) -> None:
    with pytest.raises(ArtifactNotFoundError, match="flo contracts build"):
        load_artifact(name)


def test_a_contract_that_does_not_compile_is_reported_with_its_place(project: Path) -> None:
    (project / "contracts" / "Federation.sol").write_text(
        FEDERATION.replace("Math.max", "Math.most")
    )
    with pytest.raises(CompilationError, match=r"contracts/Federation\.sol:9"):
        build_contracts(project)
    assert not list((project / "fl_orchestrator" / "artifacts").iterdir())


def test_a_missing_import_names_the_remedy(project: Path) -> None:
    (project / "foundry.toml").write_text(
        (project / "foundry.toml").read_text().replace("node_modules/@open", "nowhere/@open")
    )
    with pytest.raises(CompilationError, match="npm ci"):
        compile_artifacts(project)


def test_sources_without_the_deployed_contract_are_refused(project: Path) -> None:
    (project / "contracts" / "Federation.sol").unlink()
    with pytest.raises(NoProjectError, match=r"has no contracts/Federation\.sol"):
        compile_artifacts(project)


@pytest.mark.parametrize(
    "text", ["", "[profile.default", "[profile.default]\nsrc = 3\n", "profile = 1\n"]
)
def test_an_unusable_foundry_toml_is_refused(project: Path, text: str) -> None:
    (project / "foundry.toml").write_text(text)
    with pytest.raises(NoProjectError, match=r"foundry\.toml is unusable"):
        compile_artifacts(project)


def test_a_directory_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoProjectError, match="Run this in a checkout"):
        build_contracts(tmp_path)


def test_a_project_without_contracts_is_refused(project: Path) -> None:
    shutil.rmtree(project / "contracts")
    with pytest.raises(NoProjectError, match=r"has no contracts/Federation\.sol"):
        compile_artifacts(project)


def test_a_compiler_on_the_path_comes_first(
    project: Path, no_compiler: Path, fake_solc: Callable[[Path, str], Path]
) -> None:
    fake_solc(Path(os.environ["SOLCX_BINARY_PATH"]) / f"solc-v{VERSION}", VERSION)
    on_path = fake_solc(no_compiler / "solc", VERSION)
    assert find_solc(VERSION, project) == on_path


def test_a_compiler_of_another_version_is_passed_over(
    project: Path, no_compiler: Path, fake_solc: Callable[[Path, str], Path]
) -> None:
    fake_solc(no_compiler / "solc", "0.8.29")
    installed = fake_solc(Path(os.environ["SOLCX_BINARY_PATH"]) / f"solc-v{VERSION}", VERSION)
    assert find_solc(VERSION, project) == installed


def test_a_compiler_is_downloaded_before_npms_is_used(
    project: Path,
    no_compiler: Path,
    fake_solc: Callable[[Path, str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = Path(os.environ["SOLCX_BINARY_PATH"]) / f"solc-v{VERSION}"

    def download(version: str) -> bool:
        fake_solc(installed, version)
        return True

    monkeypatch.setattr(compiler, "_download", download)
    assert find_solc(VERSION, project) == installed


def test_npms_compiler_is_used_without_a_network(project: Path, no_compiler: Path) -> None:
    assert find_solc(VERSION, project) == project / "scripts" / "solc"


def test_a_download_that_hangs_is_given_up(
    no_compiler: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "_DOWNLOAD_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy)
        assert find_solc(VERSION, project) == project / "scripts" / "solc"


def test_a_machine_without_any_compiler_is_told_what_to_install(
    no_compiler: Path, tmp_path: Path
) -> None:
    with pytest.raises(CompilerNotFoundError, match=r"no Solidity compiler 0\.8\.30.*npm ci"):
        find_solc(VERSION, tmp_path)
