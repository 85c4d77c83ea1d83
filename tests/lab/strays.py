"""Which processes of a machine nobody is in charge of."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection
from pathlib import Path

# The engine's helpers leave its process tree on purpose (so that containers survive it) and are not strays.
_ENGINE = {"dockerd", "containerd", "containerd-shim", "containerd-shim-runc-v2", "docker-proxy", "docker-init", "runc"}


def kill_strays(machine: int, spared: Collection[int]) -> None:
    """Kill every process of the machine but its process 1, `spared` with their descendants, the engine, containers."""
    for pid in _processes(machine):
        if pid != machine and not _belongs_to(pid, spared) and _program(pid) not in _ENGINE:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _processes(machine: int) -> list[int]:
    """The processes in the machine's own PID namespace; those of containers have others."""
    namespace = Path(f"/proc/{machine}/ns/pid").readlink()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "ns/pid").readlink() == namespace:
                found.append(int(folder.name))
    return found


def _belongs_to(pid: int, owners: Collection[int]) -> bool:
    while pid > 1:
        if pid in owners:
            return True
        pid = _parent(pid)
    return False


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # The name in parentheses may hold anything; the fields after it do not.
    return int(stat.rpartition(")")[2].split()[1])


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""
