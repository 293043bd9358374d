"""Deploys the library for disputes about masked updates. All of a chain may share it."""

from typing import Any

CONTRACT = "MaskedDisputes"
PRIVATE = True


def constructor_arguments(_params: tuple[Any, ...], _private: tuple[Any, ...]) -> list[Any]:
    """A library has no constructor arguments."""
    return []
