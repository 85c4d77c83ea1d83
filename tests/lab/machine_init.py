"""Process 1 of a lab machine: tells its PID, reaps orphans, and ends the machine when its owner is gone.

The owner holds the other end of standard input and never writes. However the owner ends (an exit, a crash, SIGKILL),
the kernel closes that end, this process reads the end of the file, kills everything in the machine, removes the
cgroups of its containers and exits; its namespaces and mounts go with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path


def reap() -> bool:
    """Collect every child that has ended; false when there are no children left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def wait_for_owner_to_end() -> None:
    """Sleep until standard input ends, reaping what is orphaned meanwhile."""
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([0, wake], [], [])
        if wake in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
            reap()
        if 0 in readable and not os.read(0, 4096):
            return


def remove_cgroups(name: str) -> bool:
    """Remove the (empty) cgroups called `name` in every hierarchy; false while one of them is still in use."""
    hierarchies = Path("/sys/fs/cgroup")
    for top in [hierarchies / name, *hierarchies.glob(f"*/{name}")]:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        if top.exists():
            return False
    return True


def main() -> None:
    host_pid = sys.argv[1]
    os.chdir("/")
    print(host_pid, flush=True)
    wait_for_owner_to_end()
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    deadline = time.monotonic() + 3
    # Containers are killed asynchronously; a cgroup can be removed only when its last process is really gone.
    while (reap() or not remove_cgroups(f"delphi-lab-{host_pid}")) and time.monotonic() < deadline:
        time.sleep(0.01)


if __name__ == "__main__":
    main()
