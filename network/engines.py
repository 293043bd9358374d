"""The engines by name, and their programs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from network.clique import Clique
from network.istanbul import Istanbul
from network.network import Engine

ENGINES: Final[dict[str, Engine]] = {engine.name: engine for engine in (Clique(), Istanbul())}
_SCRIPTS: Final = Path(__file__).resolve().parents[1] / "scripts"


def program(engine: Engine) -> Path:
    """The engine's program; the first time it is built. Raises CalledProcessError."""
    script = _SCRIPTS / engine.build
    done = subprocess.run([script], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip())
