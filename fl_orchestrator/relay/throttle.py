"""Rate limits of a relay."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

from fl_orchestrator.relay.counting import REQUESTS_PER_MINUTE, PerMinute, network_of
from fl_orchestrator.relay.screening import Refused

#: Per account, round and kind of message, counted after the signature or preimage was verified.
MESSAGES_PER_MINUTE: Final = 30
#: Concurrent downloads in total and per client address; each may occupy one of 40 threads.
DOWNLOADS: Final = 32
DOWNLOADS_PER_CLIENT: Final = 8


class Throttle:
    """Counts requests by client address, and valid messages by account."""

    def __init__(
        self,
        requests_per_minute: int = REQUESTS_PER_MINUTE,
        messages_per_minute: int = MESSAGES_PER_MINUTE,
        downloads: int = DOWNLOADS,
        downloads_per_client: int = DOWNLOADS_PER_CLIENT,
    ) -> None:
        self._requests = PerMinute(requests_per_minute)
        self._messages = PerMinute(messages_per_minute)
        self._downloads = downloads
        self._downloads_per_client = downloads_per_client
        self._downloading: Counter[str] = Counter()
        self._lock = threading.Lock()

    def request(self, host: str) -> None:
        """Count a request. Raises Refused."""
        if not self._requests.hit(network_of(host)):
            raise Refused(429, "Too many requests from this address.")

    def message(self, account: str, round_number: int, kind: str) -> None:
        """Count a valid message. Raises Refused.

        A message that the chain shows can be posted again by anybody. So those of one kind, or of
        an earlier round, do not use up what the account may still have to post.
        """
        if not self._messages.hit(account, str(round_number), kind):
            raise Refused(429, f"Too many messages of {account}.")

    def begin_download(self, host: str) -> None:
        """Count a file that is being sent until `end_download`. Raises Refused."""
        client = network_of(host)
        with self._lock:
            if self._downloading[client] >= self._downloads_per_client:
                raise Refused(429, "Too many downloads by this address at once.")
            if self._downloading.total() >= self._downloads:
                raise Refused(503, "Too many downloads at once.")
            self._downloading[client] += 1

    def end_download(self, host: str) -> None:
        with self._lock:
            self._downloading.subtract([network_of(host)])
            self._downloading += Counter()  # drops the zeros
