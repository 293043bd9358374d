"""Fixtures of the attacks: small federations in this process, in the test's directory."""

from support.fixtures import build

__all__ = ["build"]
