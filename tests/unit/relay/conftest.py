"""What the tests of the relay share: small federations in this process."""

from support.fixtures import build

__all__ = ["build"]
