"""The servers that one process uses, each behind something that a test can disturb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from support.hostile_server import Front, front
from support.rpc_proxy import RpcProxy, rpc_proxy


@dataclass(frozen=True, slots=True)
class Servers:
    """The node of the chain, the keeper's relay, and the IPFS node; None where there is none."""

    rpc: RpcProxy
    relay: Front
    store: Front | None

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a process that uses them, without the relay."""
        found = {"FLO_RPC": self.rpc.url}
        if self.store is not None:
            found["FLO_STORE"] = f"kubo+{self.store.url}"
        return found


@contextmanager
def servers(rpc: int, relay: int, store: int | None) -> Iterator[Servers]:
    """Run what is before the servers at these ports."""
    with ExitStack() as stack:
        yield Servers(
            stack.enter_context(rpc_proxy(rpc)),
            stack.enter_context(front(relay)),
            None if store is None else stack.enter_context(front(store)),
        )
