"""A child on the agent's own streams: an operator's command, which the agent only prepares and waits for."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from types import FrameType

from agent.host.command import Command, open_process

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)


def run(command: Command) -> int:
    """Run it until it ends; returns its exit code, 128 + n when signal n ended it. To be called in the main thread.

    It is in the agent's own process group, and lives on when the agent is killed, as it would have done without the
    agent. Every signal that is to end the agent is passed on, one that comes before the child is there too, and the
    child's answer is waited for. SIGINT is not, once there is one: a terminal has sent it to both already.
    """
    waiting: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _: FrameType | None) -> None:
        if number != signal.SIGINT or child is None:
            waiting.append(number)
        if child is not None:
            _send(child, waiting)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_PASSED_ON)}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, pass_on)
        child = open_process(command, attached=True)
        _send(child, waiting)
        status = _end_of(child)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _end_of(child: subprocess.Popen[bytes]) -> int:
    """As `wait`, which a signal that comes right before the call would not wake up."""
    heard, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    ended = os.pidfd_open(child.pid)
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    try:
        while (status := child.poll()) is None:
            if heard in select.select([heard, ended], [], [])[0]:
                os.read(heard, 4096)
        return status
    finally:
        signal.set_wakeup_fd(before)
        for fd in (heard, told, ended):
            os.close(fd)


def _send(child: subprocess.Popen[bytes], waiting: list[int]) -> None:
    # Another signal's handler may have taken what is left.
    with contextlib.suppress(IndexError):
        while True:
            child.send_signal(waiting.pop(0))
