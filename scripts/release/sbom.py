"""Writes the SBOM of a release (CycloneDX 1.6, JSON): each package of a lock file, with its hashes.

    python scripts/release/sbom.py [DIRECTORY] [--lock requirements/demo.lock]

It runs `cyclonedx-py`, of the environment that `make release` sets up, and takes out addresses:
whoever uses the SBOM has their own index. The same lock file gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PROGRAM: Final = ROOT / ".tools" / "release" / "bin" / "cyclonedx-py"
_HASH: Final = "fl-orchestrator:sha256"


def write(out: Path, lock: Path) -> Path:
    """Write the SBOM into a directory; returns the file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    command = [str(PROGRAM), "requirements", str(lock), "--pyproject", str(ROOT / "pyproject.toml")]
    made = subprocess.run(
        [*command, "--output-reproducible", "--of", "JSON"], check=True, capture_output=True
    ).stdout
    bom = json.loads(made)
    for component in bom["components"]:
        _without_addresses(component)
    del bom["metadata"]["tools"]
    out.mkdir(parents=True, exist_ok=True)
    name = project["name"].replace("-", "_")
    path = out / f"{name}-{project['version']}.cdx.json"
    path.write_text(json.dumps(bom, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def _without_addresses(component: dict[str, Any]) -> None:
    references = component.pop("externalReferences", [])
    component.pop("description", None)
    hashes = sorted(
        entry["content"] for reference in references for entry in reference.get("hashes", [])
    )
    component["properties"] = [{"name": _HASH, "value": value} for value in hashes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, nargs="?", default=ROOT / "dist")
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements" / "demo.lock")
    arguments = parser.parse_args()
    print(write(arguments.directory, arguments.lock))


if __name__ == "__main__":
    main()
