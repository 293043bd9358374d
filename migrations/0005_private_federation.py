"""Deploys one private federation."""

from typing import Any

CONTRACT = "PrivateFederation"
PRIVATE = True


def constructor_arguments(params: tuple[Any, ...], private: tuple[Any, ...]) -> list[Any]:
    """``params`` and ``private`` are the tuples of ``Params`` and ``PrivateParams``."""
    return [params, private]
