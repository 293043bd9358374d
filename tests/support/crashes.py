"""Processes that crash once at every point where they use the chain, the store or the relay."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from fl_orchestrator.chain.contract.federation import Call
from fl_orchestrator.chain.sending.send import Receipt, Sender
from fl_orchestrator.content.cid import Cid
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.roles import base
from fl_orchestrator.roles.base import Step
from fl_orchestrator.roles.relay import Relay


class Killed(BaseException):
    """Simulates SIGKILL: a BaseException, which no handler of the role under test catches."""


class CrashPoints:
    """Raises Killed the first time that each point is reached."""

    def __init__(self) -> None:
        self.passed: list[str] = []

    def at(self, point: str) -> None:
        if point not in self.passed:
            self.passed.append(point)
            raise Killed(point)

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function with a crash point before it and one after it."""

        def mortal(*arguments: Any, **keywords: Any) -> Any:
            self.at(f"before {name}")
            result = function(*arguments, **keywords)
            self.at(f"after {name}")
            return result

        return mortal


class MortalSender(Sender):
    """Crashes before and after each kind of transaction."""

    def __init__(self, inner: Sender, points: CrashPoints) -> None:
        super().__init__(inner.web3, inner.signer, inner._reverts, on_receipt=inner._on_receipt)
        self._points = points

    def send(self, call: Call) -> Receipt:
        self._points.at(f"before {call.label}")
        receipt = super().send(call)
        self._points.at(f"after {call.label}")
        return receipt


class MortalStore(LocalStore):
    """Crashes before and after each put and get."""

    def __init__(self, directory: Any, points: CrashPoints) -> None:
        super().__init__(directory)
        self._points = points

    def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:
        self._points.at("before put")
        cid = super().put(stream, pin=pin)
        self._points.at("after put")
        return cid

    def put_file(self, path: Path, *, pin: bool = True) -> Cid:
        self._points.at("before put")
        cid = super().put_file(path, pin=pin)
        self._points.at("after put")
        return cid

    def get(self, cid: Cid, max_bytes: int) -> io.BufferedReader:
        self._points.at(f"before get {cid}")
        stream = super().get(cid, max_bytes)
        self._points.at(f"after get {cid}")
        return stream


class MortalRelay:
    """Crashes before and after each message."""

    def __init__(self, inner: Relay, points: CrashPoints) -> None:
        self.post_commit = points.around("post_commit", inner.post_commit)
        self.put_update = points.around("put_update", inner.put_update)
        self.post_reveal = points.around("post_reveal", inner.post_reveal)
        self.post_attestation = points.around("post_attestation", inner.post_attestation)


class Restarted:
    """A role that is restarted before every step, and after every crash."""

    def __init__(self, build: Callable[[], base.Worker]) -> None:
        self._build = build
        self.deaths = 0

    def step(self) -> Step:
        try:
            return self._build().step()
        except Killed:
            self.deaths += 1
            return Step("died")
