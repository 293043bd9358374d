"""Deploys the dispute library that federations link. All federations of a chain may share it."""

from typing import Any

CONTRACT = "DisputeLogic"
FOR = ("Federation", "PrivateFederation", "ModelMirror")


def constructor_arguments(_terms: tuple[Any, ...]) -> list[Any]:
    """A library has no constructor arguments."""
    return []
