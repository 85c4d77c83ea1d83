"""Processes inside a lab machine, started from outside with nsenter(1)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

# What systemd gives a service on Debian, and nothing else: no HOME, no proxies, no AWS settings of the host.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


T = TypeVar("T")


class LabError(Exception):
    """The lab itself does not work; never a fault of the thing under test."""


def enter_command(pid: int, network: str | None = None) -> list[str]:
    """The command line prefix that runs a program in the namespaces of `pid`.

    `network` names another network namespace of that machine ("aws" is the only one).
    """
    nsenter = shutil.which("nsenter")
    if nsenter is None:
        raise LabError("nsenter not found; run tests/lab/install.sh")
    net = f"--net=/proc/{pid}/root/run/netns/{network}" if network else "--net"
    return [nsenter, "-t", str(pid), "--mount", "--pid", "--uts", "--ipc", net, "--root", "--wd", "--"]


class Running:
    """A process inside the machine; its two outputs are collected in files, so it never blocks on a full pipe."""

    def __init__(
        self,
        command: Sequence[str],
        argv: Sequence[str],
        env: Mapping[str, str],
        log: Path | None = None,
        stdin: IO[str] | None = None,
    ) -> None:
        """Start `argv` behind the prefix `command`; with `log`, both outputs are appended to that file."""
        self._out: IO[bytes] = log.open("ab+") if log else _temporary_file()
        self._err: IO[bytes] = self._out if log else _temporary_file()
        self._texts: tuple[str, str] | None = None
        self.argv = list(argv)
        # A session of its own: a Ctrl-C meant for pytest does not reach it, and one signal ends it with its children.
        self._entry = subprocess.Popen(
            [*command, *argv],
            stdin=stdin or subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=dict(env),
            cwd="/",
            start_new_session=True,
        )
        self._inner: int | None = None

    @property
    def pid(self) -> int:
        """The PID, as seen from outside, of the process itself (nsenter only waits for it)."""
        if self._inner is None:
            self._inner = wait_until(self._find_inner, f"{self.argv[0]} to start", timeout=5)
        return self._inner

    def _find_inner(self) -> int | None:
        entry = self._entry.pid
        if self._entry.poll() is not None:
            raise ProcessLookupError(f"{self.argv[0]} has ended")
        with contextlib.suppress(OSError):
            nsenter = Path(f"/proc/{entry}/exe").readlink()
            for child in Path(f"/proc/{entry}/task/{entry}/children").read_text().split():
                # Between fork and exec it is still nsenter, and a signal would be handled (and lost) there.
                if Path(f"/proc/{child}/exe").readlink() != nsenter:
                    return int(child)
        return None

    def signal(self, number: int) -> None:
        """Send a signal to the process itself; ProcessLookupError when it has ended."""
        if self._entry.poll() is not None:
            raise ProcessLookupError(f"{self.argv[0]} has ended")
        os.kill(self.pid, number)

    def thaw(self) -> None:
        """Let it go on after a SIGSTOP, and nsenter too: that stops itself when its child does."""
        for pid in (self.pid, self._entry.pid):
            os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the process and its descendants at once; one that has ended and was waited for is left alone."""
        # Its number may be another process's by now: a machine that lived for an hour has had every number there is.
        if self._entry.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._entry.pid, signal.SIGKILL)
        self._entry.wait()
        self._keep_outputs()

    def wait(self, timeout: float = 60) -> int:
        """The exit code (negative: killed by that signal); after `timeout`, kill it and raise TimeoutExpired."""
        try:
            code = self._entry.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise subprocess.TimeoutExpired(self.argv, timeout, self.stdout(), self.stderr()) from None
        self._keep_outputs()
        return code

    @property
    def returncode(self) -> int | None:
        return self._entry.poll()

    def stdout(self) -> str:
        """What it has written so far."""
        return self._texts[0] if self._texts else _read(self._out)

    def stderr(self) -> str:
        """What it has written so far (with a log file: the same as stdout)."""
        return self._texts[1] if self._texts else _read(self._err)

    def _keep_outputs(self) -> None:
        if self._texts is None:
            self._texts = (_read(self._out), _read(self._err))
            self._out.close()
            self._err.close()


def _temporary_file() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _read(file: IO[bytes]) -> str:
    # pread leaves the offset alone, which the running process shares.
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode("utf-8", "surrogateescape")


def wait_until(probe: Callable[[], T | None], what: str, timeout: float = 15) -> T:
    """The first result of `probe` that is true; LabError naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        if result := probe():
            return result
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(0.01)
