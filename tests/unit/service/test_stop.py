"""How a process hears that it is to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fl_orchestrator.service.stop import Stop, stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_sleep_and_asks_to_stop(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        began = time.monotonic()
        stop.sleep(60)
        assert time.monotonic() - began < 30
        assert stop.requested
        stop.sleep(60)
    assert time.monotonic() - began < 30
    assert signal.getsignal(number) is before


def test_a_signal_that_another_thread_gets_ends_the_sleep_too() -> None:
    def hit() -> None:
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    with stop_on_signals() as stop:
        threading.Thread(target=hit, daemon=True).start()
        began = time.monotonic()
        stop.sleep(60)
        assert stop.requested
    assert time.monotonic() - began < 30


def test_a_process_that_outlives_its_terminal_on_purpose_is_left_alone() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def send_twice() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
        time.sleep(0)


def test_a_second_signal_ends_it_at_once() -> None:
    with stop_on_signals(), pytest.raises(KeyboardInterrupt):
        send_twice()


def test_a_sleep_ends_by_itself() -> None:
    stop = Stop()
    stop.sleep(0.01)
    stop.sleep(-1)
    assert not stop.requested


def test_signals_at_any_moment_of_a_sleep_are_heard() -> None:
    # An Event's own lock can be held just when the handler wants it.
    program = """
import os, signal, threading
from fl_orchestrator.service.stop import Stop, stop_on_signals
for _ in range(300):
    with stop_on_signals() as stop:
        threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGTERM)).start()
        while not stop.requested:
            stop.sleep(0.0001)
"""
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)
