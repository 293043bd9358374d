"""Compiles the contracts with py-solc-x, from the settings of foundry.toml.

The artifacts are committed in ``fl_orchestrator/artifacts``, so that users need no compiler. They
are byte for byte what ``forge build`` makes of the same sources, with any of the compilers that
``find_solc`` finds.
"""

import logging
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from sha3 import keccak_256

from fl_orchestrator.artifacts import ADDRESS_BYTES
from fl_orchestrator.errors import InputError, ToolchainError
from fl_orchestrator.json_text import to_json

#: The contracts that are deployed, for each kind of federation, and for mirrors and shares: each in
#: the file of its name.
#: An artifact is written for each of them, and for the libraries that they link.
DEPLOYED: Final = ("Federation", "PrivateFederation", "ModelMirror", "RewardShares")

_ARTIFACTS: Final = Path("fl_orchestrator", "artifacts")
_WRAPPER: Final = Path("scripts", "solc")
_VERSION_SECONDS: Final = 60
_DOWNLOAD_SECONDS: Final = 60
# The immutable in which a library compiled through the IR keeps its own address, so that it can
# refuse direct calls (Solidity documentation, "Call Protection For Libraries").
_OWN_ADDRESS: Final = "library_deploy_address"
_PLACEHOLDER: Final = re.compile(r"__\$[0-9a-f]{34}\$__")

_log = logging.getLogger(__name__)


class NoProjectError(InputError):
    """The directory is not a checkout with contracts and a readable foundry.toml."""


class CompilerNotFoundError(ToolchainError):
    """No solc of the version that foundry.toml asks for could be found or fetched."""


class CompilationError(ToolchainError):
    """The compiler refused the contracts."""


@dataclass(frozen=True, slots=True)
class Project:
    """The build settings of foundry.toml; paths are relative to ``root``."""

    root: Path
    sources: Path
    solc_version: str
    settings: dict[str, Any]

    @classmethod
    def read(cls, root: Path) -> Self:
        """Read ``root/foundry.toml``. Raises NoProjectError."""
        file = root / "foundry.toml"
        try:
            profile = tomllib.loads(file.read_text(encoding="utf-8"))["profile"]["default"]
            settings = {
                "evmVersion": profile["evm_version"],
                "metadata": {
                    "appendCBOR": profile["cbor_metadata"],
                    "bytecodeHash": profile["bytecode_hash"],
                },
                "optimizer": {
                    "enabled": profile["optimizer"],
                    "runs": profile["optimizer_runs"],
                },
                "remappings": sorted(profile["remappings"]),
                "viaIR": profile["via_ir"],
            }
            sources = Path(profile["src"])
            shipped = [(sources / f"{name}.sol").as_posix() for name in DEPLOYED]
            for restriction in profile["compilation_restrictions"]:
                if restriction["paths"] in shipped:
                    settings["viaIR"] = restriction["via_ir"]
            return cls(root, sources, profile["solc"], settings)
        except FileNotFoundError as error:
            raise NoProjectError(
                f"{root} has no foundry.toml.", "Run this in a checkout of the project."
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise NoProjectError(f"{file} is unusable: {error!r}.", "Restore the file.") from error

    def source_files(self) -> list[Path]:
        """Every Solidity file of the project itself, sorted, relative to ``root``."""
        return sorted(
            file.relative_to(self.root) for file in (self.root / self.sources).rglob("*.sol")
        )

    def deployed_files(self) -> list[Path]:
        """The files of DEPLOYED, relative to ``root``. Raises NoProjectError."""
        files = [self.sources / f"{name}.sol" for name in DEPLOYED]
        missing = [str(file) for file in files if not (self.root / file).is_file()]
        if missing:
            raise NoProjectError(
                f"{self.root} has no {', '.join(missing)}.",
                "Run this in a checkout of the project.",
            )
        return files

    def compiler(self) -> Path:
        """The compiler to use. Raises CompilerNotFoundError."""
        return find_solc(self.solc_version, self.root)


def build_contracts(root: Path) -> list[Path]:
    """Compile the checkout at ``root`` and rewrite the artifacts; returns the files written.

    Raises NoProjectError, CompilerNotFoundError or CompilationError; nothing is written then.
    """
    artifacts = compile_artifacts(root)
    directory = root / _ARTIFACTS
    for stale in directory.glob("*.json"):
        if stale.stem not in artifacts:
            stale.unlink()
    written = []
    for name, text in artifacts.items():
        file = directory / f"{name}.json"
        file.write_text(text, encoding="utf-8")
        written.append(file)
    return written


def compile_artifacts(root: Path) -> dict[str, str]:
    """Compile the checkout at ``root``: the JSON text of each artifact, by the contract's name.

    Raises as ``build_contracts``.
    """
    project = Project.read(root)
    compiler = {"version": project.solc_version, "settings": project.settings}
    artifacts = {}
    # Each by itself: the code of a contract may depend on what is compiled with it.
    for deployed, file in zip(DEPLOYED, project.deployed_files(), strict=True):
        output = _compile(project, file)
        contracts = {
            (source, name): contract
            for source, members in output["contracts"].items()
            for name, contract in members.items()
        }
        for source, name, contract in _linked(deployed, contracts):
            # A library that both link is the same: see the tests.
            artifacts[name] = to_json(
                {"name": name, "source": source, "compiler": compiler, **_artifact(name, contract)},
                indent=1,
                sort_keys=True,
            )
            artifacts[name] += "\n"
    return artifacts


def find_solc(version: str, root: Path) -> Path:
    """Find the compiler of exactly this version: installed, downloaded, or npm's under ``root``.

    It tries a native compiler on the PATH, then one that py-solc-x has installed or can download
    (a failed download is only logged), then ``root/scripts/solc``. Raises CompilerNotFoundError.
    """
    for candidate in _candidates(version, root):
        found = _solc_version(candidate)
        if found == version:
            return candidate
        _log.debug("%s is solc %s, not %s", candidate, found, version)
    raise CompilerNotFoundError(
        f"There is no Solidity compiler {version} on this machine.",
        f"Put solc {version} on the PATH, or install Node.js 18 or later and run `npm ci`"
        " in the checkout.",
    )


def _candidates(version: str, root: Path) -> Iterator[Path]:
    if on_path := shutil.which("solc"):
        yield Path(on_path)
    yield from _solcx_compiler(version)
    if _download(version):
        yield from _solcx_compiler(version)
    yield (root / _WRAPPER).resolve()


def _solcx_compiler(version: str) -> Iterator[Path]:
    from solcx.exceptions import SolcNotInstalled
    from solcx.install import get_executable

    try:
        yield get_executable(version)
    except (SolcNotInstalled, OSError) as error:
        _log.debug("py-solc-x has no solc %s: %s", version, error)


def _download(version: str) -> bool:
    """Let py-solc-x download the native compiler; False if it fails, for example offline.

    It runs in a separate process with a time limit, because py-solc-x's requests have none.
    """
    command = [sys.executable, "-m", "solcx.install", version]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired:
        _log.debug("py-solc-x did not finish the download of solc %s in time", version)
        return False
    if result.returncode:
        _log.debug("py-solc-x could not download solc %s: %s", version, result.stderr)
    return result.returncode == 0


def _solc_version(solc: Path) -> str | None:
    """The version of the program ``solc``, or None if it does not exist or does not run."""
    try:
        result = subprocess.run(
            [str(solc), "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _log.debug("%s cannot be run: %s", solc, error)
        return None
    _, marker, version = result.stdout.partition("Version: ")
    return version.partition("+")[0] if marker else None


def _compile(project: Project, file: Path) -> dict[str, Any]:
    from solcx.exceptions import SolcError
    from solcx.main import compile_standard

    outputs = ["abi", "evm.bytecode", "evm.deployedBytecode"]
    request = {
        "language": "Solidity",
        "sources": {
            file.as_posix(): {"content": (project.root / file).read_text(encoding="utf-8")}
        },
        "settings": {**project.settings, "outputSelection": {"*": {"*": outputs}}},
    }
    solc = find_solc(project.solc_version, project.root)
    try:
        output: dict[str, Any] = compile_standard(request, solc_binary=solc, base_path=project.root)
    except SolcError as error:
        raise CompilationError(
            f"The contracts do not compile:\n{error.message}",
            "If an import was not found, run `npm ci`.",
        ) from error
    return output


def _linked(
    deployed: str, contracts: dict[tuple[str, str], dict[str, Any]]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The contracts to write, with their source and name: one of DEPLOYED, then what it links."""
    queue = [key for key in contracts if key[1] == deployed]
    if not queue:
        raise CompilationError(f"The sources have no contract {deployed}.")
    seen = set()
    while queue:
        key = queue.pop(0)
        if key in seen:
            continue
        seen.add(key)
        contract = contracts[key]
        yield *key, contract
        references = contract["evm"]["bytecode"]["linkReferences"]
        queue.extend((source, name) for source, names in references.items() for name in names)


def _artifact(name: str, contract: dict[str, Any]) -> dict[str, Any]:
    """The parts of solc's output that deployment and verification need."""
    creation = contract["evm"]["bytecode"]
    runtime = contract["evm"]["deployedBytecode"]
    runtime_code = _blank(runtime["object"])
    immutables = dict(runtime["immutableReferences"])
    own = immutables.pop(_OWN_ADDRESS, [])
    links = _links(runtime)
    if own:
        links[name] = [_last_bytes(word, ADDRESS_BYTES) for word in own]
    return {
        "abi": contract["abi"],
        "creationCode": _blank(creation["object"]),
        "links": {library: _places([places]) for library, places in _links(creation).items()},
        "runtimeCode": runtime_code,
        "runtimeCodeHash": "0x" + keccak_256(bytes.fromhex(runtime_code[2:])).hexdigest(),
        "runtimeHoles": _places([*immutables.values()]),
        "runtimeLinks": {library: _places([places]) for library, places in links.items()},
    }


def _last_bytes(place: dict[str, int], length: int) -> dict[str, int]:
    return {"start": place["start"] + place["length"] - length, "length": length}


def _blank(code: str) -> str:
    """Replace solc's placeholders for library addresses in the hex ``code`` by zeros."""
    return "0x" + _PLACEHOLDER.sub("00" * 20, code)


def _links(code: dict[str, Any]) -> dict[str, list[dict[str, int]]]:
    """The positions of each library's address in ``code``, by the library's name."""
    references = code["linkReferences"].values()
    return {name: places for libraries in references for name, places in libraries.items()}


def _places(references: list[list[dict[str, int]]]) -> list[list[int]]:
    """All positions as sorted pairs of start and length, in bytes."""
    return sorted([place["start"], place["length"]] for places in references for place in places)
