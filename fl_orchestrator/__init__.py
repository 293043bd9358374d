"""Federated learning that nobody has to trust: exact aggregation, checked on-chain."""

__version__ = "0.1.0"
