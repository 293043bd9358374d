"""A private chain of four geth validators (Clique) on this machine; see docs/network.md."""
