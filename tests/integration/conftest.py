"""Fixtures of the integration tests: small federations in this process, in the test's directory."""

from support.fixtures import build

__all__ = ["build"]
