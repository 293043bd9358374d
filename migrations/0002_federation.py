"""Deploys one federation."""

from typing import Any

CONTRACT = "Federation"


def constructor_arguments(params: tuple[Any, ...]) -> list[Any]:
    """``params`` is the tuple of IFederation.sol's ``Params``."""
    return [params]
