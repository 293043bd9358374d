"""Deploys one federation."""

from typing import Any

CONTRACT = "Federation"
PRIVATE = False


def constructor_arguments(params: tuple[Any, ...], _private: None) -> list[Any]:
    """``params`` is the tuple of IFederation.sol's ``Params``."""
    return [params]
