"""What the attacks share: small federations in this process, by the test's directory."""

from support.fixtures import build

__all__ = ["build"]
