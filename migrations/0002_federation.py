"""Deploys one federation."""

from typing import Any

CONTRACT = "Federation"
FOR = ("Federation",)


def constructor_arguments(terms: tuple[Any, ...]) -> list[Any]:
    """``terms`` are the tuple of IFederation.sol's ``Params``."""
    return list(terms)
