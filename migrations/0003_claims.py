"""Deploys the library of claims that private federations link. All of a chain may share it."""

from typing import Any

CONTRACT = "Claims"
FOR = ("PrivateFederation",)


def constructor_arguments(_terms: tuple[Any, ...]) -> list[Any]:
    """A library has no constructor arguments."""
    return []
