"""Deploys the library for disputes about masked updates. All of a chain may share it."""

from typing import Any

CONTRACT = "MaskedDisputes"
FOR = ("PrivateFederation",)


def constructor_arguments(_terms: tuple[Any, ...]) -> list[Any]:
    """A library has no constructor arguments."""
    return []
