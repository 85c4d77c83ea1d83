"""Signals that end a run: the first one raises `Interrupted` in the main thread, where that does no harm.

An exception can come between any two steps of Python's own code. Within the import of a module it leaves the global
lock of imports taken, and the next thread that imports waits for ever; in a callback or a destructor it is lost.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from agent.errors import Interrupted

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# What is interrupted there goes on for so long before it is looked at again.
_AGAIN_SECONDS = 0.002
# Of the module `threading`, where a thread may wait long: these clean up after themselves. Its other functions and all
# of `contextlib` take or give back a lock or a block's end for somebody, who would never know.
_WAITING = frozenset({"wait", "join", "_wait_for_tstate_lock"})
_LOCKING = frozenset({"contextlib", "logging"})
_IMPORTS = "<frozen importlib."
# What closes a file or a connection hears of no exception, and the interpreter drops it; so in a destructor.
_DEAF = frozenset({"__del__", "close", "closed"})
# A child that has been started must be known to who started it; a step that has ended must be told as that.
_WHOLE = frozenset({("subprocess", "__init__"), ("agent.report.record", "_end")})


class Stops:
    """The first SIGINT, SIGTERM or SIGHUP raises `Interrupted` in the main thread; later ones do nothing.

    They do nothing up to the end of the process: a run that is ending must clean up what it made, and once the verdict
    has been told the exit code must be the verdict's.
    """

    WANTED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._ignored = False
        self._wanted: int | None = None
        """The signal that came, once one has."""
        self._unraisable: Callable[[UnraisableHookArgs], object] | None = None

    def watch(self) -> None:
        """From here on `Interrupted` may be raised: to be called right before who catches it."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGALRM, self._again)
            # Whoever started the agent may have had it blocked.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
            self._unraisable, sys.unraisablehook = sys.unraisablehook, self._lost
            for number in self.WANTED:
                # What `nohup` and a shell's `&` have ignored stays ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self._stop)

    def hold(self) -> None:
        """No signal cuts the run short any more. By a handler: children would inherit it that one is ignored."""
        self._ignored = True

    def ignore(self) -> None:
        """No signal does anything any more. Not by a handler: those are gone before the interpreter is."""
        self._ignored = True
        if threading.current_thread() is threading.main_thread():
            for number in self.WANTED:
                signal.signal(number, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if self._unraisable is not None:
                sys.unraisablehook, self._unraisable = self._unraisable, None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._ignored:
            return
        self._wanted = self._wanted or number
        if _is_delicate(frame):
            # By a timer of the kernel's: a thread, or a lock, might be just what is being made.
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
            return
        self._ignored = True
        raise Interrupted(signal.Signals(self._wanted))

    def _again(self, number: int, frame: FrameType | None) -> None:
        # Without one that was put off it is an alarm from outside, which outlasts an exec: a limit of the caller's.
        self._stop(self._wanted or number, frame)

    def _lost(self, what: UnraisableHookArgs) -> None:
        if isinstance(what.exc_value, Interrupted):
            self._ignored = False
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        elif self._unraisable is not None:
            self._unraisable(what)


def settle() -> None:
    """A signal that was put off is raised here: for who gives the process, or its signals, to somebody else."""
    # The kernel counts in ticks, and may say a little more than it was told.
    while 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 10 * _AGAIN_SECONDS:
        time.sleep(_AGAIN_SECONDS / 2)


def _is_delicate(frame: FrameType | None) -> bool:
    """Whether what was interrupted has to come to its end before anything is raised."""
    if frame is None:
        return False
    module = frame.f_globals.get("__name__")
    if module in _LOCKING or (module == "threading" and _takes_a_lock(frame)):
        return True
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_IMPORTS) or code.co_name in _DEAF:
            return True
        # A signal beside another one finds this module at work.
        if frame.f_globals is globals() and code is not settle.__code__:
            return True
        if (frame.f_globals.get("__name__"), code.co_name) in _WHOLE:
            return True
        frame = frame.f_back
    return False


def _takes_a_lock(frame: FrameType) -> bool:
    if frame.f_code.co_name not in _WAITING:
        return True
    # `Condition.wait` has a moment in which it has given the lock back and does not know it yet.
    return "waiter" in frame.f_locals and "saved_state" not in frame.f_locals
