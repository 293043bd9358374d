"""The record of what migrations have deployed on a chain."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from fl_orchestrator.errors import InputError
from fl_orchestrator.files import write_whole
from fl_orchestrator.json_text import to_json
from fl_orchestrator.model.protocol import ADDRESS


class DamagedRecord(InputError):
    """The file is not a deployment record of this program."""


class UnwritableRecord(InputError):
    """The directory of the deployment records cannot be written."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The contract that a migration deployed. ``block`` is 0 until the deployment is known to be
    mined. ``version`` is that of the contracts; empty in a record of
    flo 0.1.0."""

    migration: str
    contract: str
    address: str
    block: int
    code_hash: str
    version: str = ""

    @classmethod
    def of(cls, item: Any) -> Deployment:
        """From JSON. Raises TypeError and ValueError for anything else."""
        item = {"version": "", **item}
        deployment = cls(**{field.name: item[field.name] for field in fields(cls)})
        texts = (deployment.migration, deployment.contract, deployment.address)
        if not all(
            isinstance(text, str) for text in (*texts, deployment.code_hash, deployment.version)
        ):
            raise TypeError("a text is not one")
        if type(deployment.block) is not int or deployment.block < 0:
            raise ValueError("there is no such block")
        if not ADDRESS.fullmatch(deployment.address):
            raise ValueError(f"{deployment.address!r} is not an address")
        return deployment


class DeploymentRecord:
    """The deployments on one chain: the file ``<directory>/<chain id>.json``."""

    def __init__(self, directory: Path, chain_id: int) -> None:
        self.path = directory / f"{chain_id}.json"

    def load(self) -> dict[str, Deployment]:
        """The deployments by migration. Raises DamagedRecord."""
        try:
            found = from_json(self.path.read_bytes())
            if not isinstance(found, list):
                raise TypeError("a record is a list")
            deployments = [Deployment.of(item) for item in found]
        except FileNotFoundError:
            return {}
        except (OSError, LookupError, TypeError, ValueError) as error:
            raise DamagedRecord(
                f"{self.path} is not a deployment record.", "Restore or delete it."
            ) from error
        return {deployment.migration: deployment for deployment in deployments}

    def save(self, deployment: Deployment) -> None:
        """Add a deployment, or replace that of the same migration. Raises UnwritableRecord."""
        deployments = {**self.load(), deployment.migration: deployment}
        items = [asdict(d) for d in deployments.values()]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, to_json(items, indent=2) + "\n")
        except OSError as error:
            raise UnwritableRecord(
                f"{self.path} cannot be written: {error.strerror}.", "Check --deployments."
            ) from error
