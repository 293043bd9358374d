"""Deploys the library of claims that private federations link. All of a chain may share it."""

from typing import Any

CONTRACT = "Claims"
PRIVATE = True


def constructor_arguments(_params: tuple[Any, ...], _private: tuple[Any, ...]) -> list[Any]:
    """A library has no constructor arguments."""
    return []
