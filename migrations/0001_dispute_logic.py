"""Deploys the library that federations link: disputes. All federations of a chain may share it."""

from typing import Any

CONTRACT = "DisputeLogic"


def constructor_arguments(_params: tuple[Any, ...]) -> list[Any]:
    """A library takes none."""
    return []
