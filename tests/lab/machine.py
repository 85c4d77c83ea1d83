"""A private Linux machine: its own root file system, network and processes, made from the host it runs on.

Its root is an overlay on the host's, so everything installed there is usable, and everything that is written stays in
the machine. It needs root. Three promises: nothing on the host changes, nothing of the host's environment gets in, and
nothing is left when the owning process ends, however it ends (see machine_init.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import cgroups
from tests.lab.host import CHECKOUT, check_host, compose_plugin, foreign_folders
from tests.lab.network import NamespaceConnection
from tests.lab.process import SYSTEM_PATH, LabError, Running, enter_command
from tests.lab.strays import kill_strays

_NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc")


@dataclasses.dataclass(frozen=True)
class WrittenFile:
    """A regular file that was written in the machine."""

    path: str
    """Where the machine sees it."""
    outside: Path
    """Where the test reads it."""


class Machine:
    """A running machine; use it as a context manager, or call start() and stop()."""

    def __init__(self) -> None:
        self.pid = 0
        """PID of the machine's process 1 as the host sees it; 0 when it does not run."""
        self._holder: subprocess.Popen[str] | None = None
        self._processes: list[Running] = []
        self._services: list[Running] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        check_host()
        cgroups.sweep()
        here = Path(__file__).parent
        work = tempfile.mkdtemp(prefix="delphi-lab-")
        script = [str(here / "machine_root.sh"), work, str(CHECKOUT), str(compose_plugin())]
        script += [sys.executable, str(here / "machine_init.py")]
        self._holder = subprocess.Popen(
            ["unshare", *_NAMESPACES, "--fork", "--kill-child", "sh", *script, *foreign_folders()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": SYSTEM_PATH},
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        line = self._holder.stdout.readline()
        # It is only a name to mount on, and the mount is elsewhere by now: the host needs it no more.
        Path(work).rmdir()
        if not line:
            reason = self._holder.stderr.read()
            self.stop()
            raise LabError(f"the machine did not start: {reason.strip()}")
        self.pid = int(line)
        self.path("/.lab/log").mkdir()

    def stop(self) -> None:
        """End every process of the machine and everything it has; safe to call twice."""
        holder, self._holder, self.pid = self._holder, None, 0
        if holder is None:
            return
        assert holder.stdin is not None
        with contextlib.suppress(OSError):
            holder.stdin.close()
        try:
            holder.wait(10)
        except subprocess.TimeoutExpired:
            holder.kill()
            holder.wait()
        for stream in (holder.stdout, holder.stderr):
            if stream is not None:
                stream.close()
        while self._processes:
            self._processes.pop().kill()

    @property
    def cgroup(self) -> str:
        """The cgroup, from the root of each hierarchy, under which everything of this machine's engine must be."""
        return f"/{cgroups.PREFIX}{self.pid}"

    def path(self, inside: str) -> Path:
        """The machine's file as seen from outside. (An absolute symbolic link in it would lead to the host's files.)"""
        return Path(f"/proc/{self.pid}/root{inside}")

    def start_process(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log: str | None = None,
        network: str | None = None,
        service: bool = False,
    ) -> Running:
        """Start a program with PATH, and what `env` adds, as its whole environment.

        `log` names a file of /.lab/log that takes its output; `network` runs it in another network namespace; a
        `service` and its children are spared by end_strays().
        """
        file = self.path(f"/.lab/log/{log}") if log else None
        process = Running(enter_command(self.pid, network), argv, {"PATH": SYSTEM_PATH, **(env or {})}, file)
        self._processes.append(process)
        if service:
            self._services.append(process)
        return process

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002 (as subprocess.run calls it)
        timeout: float = 60,
        check: bool = False,
        network: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; its environment is PATH and what `env` adds. After `timeout` it is killed."""
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape") as stdin:
            stdin.write(input or "")
            stdin.seek(0)
            command = enter_command(self.pid, network)
            process = Running(command, argv, {"PATH": SYSTEM_PATH, **(env or {})}, stdin=stdin)
            code = process.wait(timeout)
        done = subprocess.CompletedProcess(process.argv, code, process.stdout(), process.stderr())
        if check and code != 0:
            raise LabError(f"{' '.join(argv)} failed ({code}): {done.stderr.strip() or done.stdout.strip()}")
        return done

    def end_strays(self) -> None:
        """Kill what tests have left running: all but process 1, the services and what came of them."""
        spared = [process.pid for process in self._services if process.returncode is None]
        kill_strays(self.pid, spared)

    def http(self, port: int, host: str = "127.0.0.1") -> NamespaceConnection:
        """A connection to an HTTP server inside, as a process of the machine would make it."""
        return NamespaceConnection(f"/proc/{self.pid}/ns/net", host, port)

    def add_hosts(self, address: str, names: Iterable[str]) -> None:
        """Let names of the machine's /etc/hosts lead to `address`."""
        with self.path("/etc/hosts").open("a") as hosts:
            hosts.write(f"{address} {' '.join(names)}\n")

    def written(self) -> Iterator[WrittenFile]:
        """Every regular file written since the start: on the root file system, in Docker's data, in /run, /dev/shm."""
        places = {"/.lab/upper": "", "/.lab/docker": "/var/lib/docker", "/run": "/run", "/dev/shm": "/dev/shm"}
        for place, shown_as in places.items():
            top = self.path(place)
            file_system = top.stat().st_dev
            for folder, _, names in os.walk(top):
                for name in names:
                    file = Path(folder) / name
                    with contextlib.suppress(FileNotFoundError):
                        found = file.lstat()
                        # Not what is mounted there, like handles of network namespaces.
                        if stat.S_ISREG(found.st_mode) and found.st_dev == file_system:
                            yield WrittenFile(f"{shown_as}/{file.relative_to(top)}", file)
