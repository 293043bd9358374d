"""Deploys one private federation."""

from typing import Any

CONTRACT = "PrivateFederation"
FOR = ("PrivateFederation",)


def constructor_arguments(terms: tuple[Any, ...]) -> list[Any]:
    """``terms`` are the tuples of ``Params`` and ``PrivateParams``."""
    return list(terms)
