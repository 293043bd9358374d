"""Deploys the rewards by shares of one federation, beside it."""

from typing import Any

CONTRACT = "RewardShares"
FOR = ("RewardShares",)


def constructor_arguments(terms: tuple[Any, ...]) -> list[Any]:
    """``terms`` are the address of the federation."""
    return list(terms)
