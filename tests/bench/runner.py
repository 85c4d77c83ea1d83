"""Runs a command inside the machine and writes down what it cost.

    python3 -I -S runner.py RESULT COMMAND...

RESULT gets one JSON object: `wall` and `cpu` (with all descendants that were waited for) in seconds, `own_cpu` and
`peak` of the command's own process, `biggest` of any process of it (KiB), `code`. Only the standard library, and no
import that takes long: it is started anew for every measurement.
"""

import json
import os
import sys
import threading
import time

_EVERY = 0.01


def peak_of(pid: int, done: threading.Event, peaks: list[int]) -> None:
    """Look at the high-water mark until the process ends: it only grows, and is gone with the process."""
    while not done.wait(_EVERY):
        try:
            with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - pathlib takes longer to import than this to run
                peaks.extend(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        except OSError:
            return


def children_seconds(pid: int) -> float:
    """CPU of the descendants that the process waited for, as long as it is itself not waited for."""
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - pathlib takes long to import
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Start, wait, write."""
    result, *command = sys.argv[1:]
    done, peaks = threading.Event(), [0]
    began = time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ)
    watcher = threading.Thread(target=peak_of, args=(pid, done, peaks), daemon=True)
    watcher.start()
    # It stays a zombie that can still be looked at.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    wall = time.monotonic() - began
    done.set()
    children = children_seconds(pid)
    _, status, usage = os.wait4(pid, 0)
    cpu = usage.ru_utime + usage.ru_stime
    cost = {"wall": wall, "cpu": cpu, "own_cpu": max(0.0, cpu - children), "peak": peaks[-1]}
    with open(result, "w") as file:  # noqa: PTH123 - pathlib takes long to import
        json.dump({**cost, "biggest": usage.ru_maxrss, "code": os.waitstatus_to_exitcode(status)}, file)


main()
