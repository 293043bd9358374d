"""Deploys one mirror of a federation, which may be on another chain."""

from typing import Any

CONTRACT = "ModelMirror"
FOR = ("ModelMirror",)


def constructor_arguments(terms: tuple[Any, ...]) -> list[Any]:
    """``terms`` are the tuples of ``MirrorParams`` and ``Params``, and the words of the seats."""
    return list(terms)
