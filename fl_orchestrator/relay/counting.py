"""How many requests there are in a minute, by whom."""

from __future__ import annotations

import ipaddress
from typing import Final

#: Per client address. A hundred parties behind one address post three messages each in a round.
REQUESTS_PER_MINUTE: Final = 600


class PerMinute:
    """Counts up to so many hits in a minute, for each key of its own."""

    def __init__(self, most: int) -> None:
        # Its import takes longer than that of the server; nothing counts before a first request.
        from limits import RateLimitItemPerMinute
        from limits.storage import MemoryStorage
        from limits.strategies import FixedWindowRateLimiter

        self._most = RateLimitItemPerMinute(most)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    def hit(self, *key: str) -> bool:
        """Count one; returns whether it is within the limit."""
        return self._limiter.hit(self._most, *key)


def network_of(host: str) -> str:
    """The addresses of one client: an IPv4 address, or an IPv6 /64 network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
