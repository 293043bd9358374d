"""A private chain of four validators on this machine; see docs/network.md."""
