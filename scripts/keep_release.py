"""Keeps what recognises the contracts of a release, before the contracts change.

    python scripts/keep_release.py [--artifacts DIRECTORY] [--version VERSION]

Run it after a release and before the next change of a contract; then raise ``VERSION`` in
``contracts/interfaces/IFederation.sol``. Newer versions of flo show the federations of the release,
verify them and withdraw from them. The ABIs and the hashes go into the package; the creation code
goes to ``tests/vectors/releases``, for the tests that deploy the release.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from fl_orchestrator.artifacts import CONTRACTS_VERSION

_ROOT: Final = Path(__file__).resolve().parent.parent
ARTIFACTS: Final = _ROOT / "fl_orchestrator" / "artifacts"
VECTORS: Final = _ROOT / "tests" / "vectors" / "releases"


def kept(version: str, artifacts: list[dict[str, Any]]) -> dict[str, Any]:
    """What recognises the contracts of a release."""
    return {
        "version": version,
        "contracts": {
            artifact["name"]: {
                "abi": artifact["abi"],
                "runtimeLength": len(artifact["runtimeCode"]) // 2 - 1,
                "runtimeCodeHash": artifact["runtimeCodeHash"],
                "runtimeHoles": artifact["runtimeHoles"],
                "runtimeLinks": artifact["runtimeLinks"],
            }
            for artifact in artifacts
        },
    }


def creation(artifacts: list[dict[str, Any]]) -> dict[str, Any]:
    """What deploys the contracts of a release."""
    return {
        artifact["name"]: {"creationCode": artifact["creationCode"], "links": artifact["links"]}
        for artifact in artifacts
    }


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")
    print(path.relative_to(_ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--artifacts", type=Path, default=ARTIFACTS)
    parser.add_argument("--version", default=CONTRACTS_VERSION)
    arguments = parser.parse_args()
    found = [
        json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(arguments.artifacts.glob("*.json"))
    ]
    name = f"{arguments.version}.json"
    _write(ARTIFACTS / "releases" / name, kept(arguments.version, found))
    _write(VECTORS / name, creation(found))


if __name__ == "__main__":
    main()
