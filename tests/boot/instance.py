"""One booting machine: systemd as process 1 of a container of its own (systemd-nspawn), inside a lab machine.

Its root is an overlay on an image's folder, so that a boot costs no copy; its disk, and Docker's on it, outlive a power
loss. It must be in the lab machine's network, or in another namespace there, to see AWS as an instance does.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.lab.machine import Machine
from tests.lab.process import LabError, Running, wait_until

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# systemd's own: what tells process 1 of a container to power off, or to reboot (systemd(1), "Signals").
_POWER_OFF, _REBOOT = signal.SIGRTMIN + 4, signal.SIGRTMIN + 5
# How nspawn ends when the container asks for a reboot.
_ASKED_FOR_REBOOT = 133


class Instance:
    """A disk that can be booted, again and again. `network` names its namespace, the lab machine's own without."""

    def __init__(self, machine: Machine, name: str, layers: Sequence[str], *, network: str | None = None) -> None:
        self.name = name
        self.network = network
        self._machine = machine
        self._disk = f"/.lab/{name}"
        self._process: Running | None = None
        self._leader = 0
        self._boots = 0
        self.began = 0.0
        """When the last boot began (monotonic)."""
        for folder in ("upper", "work", "root", "docker"):
            machine.path(f"{self._disk}/{folder}").mkdir(parents=True)
        lower = ":".join(layers)
        options = f"lowerdir={lower},upperdir={self._disk}/upper,workdir={self._disk}/work"
        machine.run(["mount", "-t", "overlay", "-o", options, "overlay", f"{self._disk}/root"], check=True)

    def path(self, inside: str) -> Path:
        """A file of its disk, as the test reaches it."""
        return self._machine.path(f"{self._disk}/root{inside}")

    @property
    def on(self) -> bool:
        """Whether it has power."""
        return self._process is not None and self._process.returncode is None

    @property
    def layer(self) -> str:
        """What it has written, as a layer for other instances: the disk of an image made of it."""
        return f"{self._disk}/upper"

    def boot(self) -> None:
        """Power on; returns once process 1 runs."""
        self._boots += 1
        self.began = time.monotonic()
        cgroup = f"{self._machine.cgroup}/{self.name}"
        # In a cgroup of its own in each hierarchy, or the supervisor and its payload collide.
        script = (
            'for top in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do [ -e "$top/cgroup.procs" ] ||'
            f' continue; mkdir -p "$top{cgroup}"; echo $$ >"$top{cgroup}/cgroup.procs"; done; exec "$@"'
        )
        argv = ["systemd-nspawn", "--register=no", "--keep-unit", "-M", self.name, "-D", f"{self._disk}/root", "--boot"]
        argv += ["--console=read-only", "--capability=all", "--system-call-filter=@keyring bpf"]
        argv += [f"--bind={self._disk}/docker:/var/lib/docker", "--resolv-conf=off", "--timezone=off"]
        argv += ["--link-journal=no"]
        if self.network:
            argv += [f"--network-namespace-path=/run/netns/{self.network}"]
        env = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
        command = ["sh", "-c", script, "sh", *argv]
        log = f"{self.name}-console.log"
        self._process = self._machine.start_process(command, env=env, log=log, service=True)
        self._leader = wait_until(self._find_leader, f"process 1 of {self.name}", timeout=20)

    def _find_leader(self) -> int | None:
        assert self._process is not None
        if self._process.returncode is not None:
            raise LabError(f"{self.name} did not start: {self._process.stdout()[-2000:]}")
        for child in _children(self._process.pid):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return child
        return None

    @property
    def console(self) -> str:
        """What it has shown on its console, in all its boots."""
        return self._machine.path(f"/.lab/log/{self.name}-console.log").read_text(errors="replace")

    def run(
        self, *argv: str, timeout: float = 60, env: Mapping[str, str] | None = None, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root would over SSH."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._leader), "-a", "env", "-i", f"PATH={PATH}", "HOME=/root"]
            + [f"{name}={value}" for name, value in (env or {}).items()]
            + list(argv),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise LabError(f"{' '.join(argv)} failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")
        return done

    def unit(self, name: str, what: str = "ActiveState") -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--property", what, "--value", name).stdout.strip()

    def wait_unit(self, name: str, *states: str, timeout: float = 90) -> str:
        """Wait until the unit is in one of `states`; which."""

        def settled() -> str | None:
            state = self.unit(name)
            return state if state in states else None

        try:
            return wait_until(settled, f"{name} of {self.name} to be {' or '.join(states)}", timeout=timeout)
        except LabError as error:
            raise LabError(f"{error}\n{self.journal()}\n{self.console[-3000:]}") from error

    def wait_settled(self, timeout: float = 90) -> str:
        """Wait until systemd has nothing more to do and cloud-init is done; `running`, or `degraded`."""

        def settled() -> str | None:
            state = self.run("systemctl", "is-system-running").stdout.strip()
            return state if state in {"running", "degraded"} else None

        return wait_until(settled, f"{self.name} to settle", timeout=timeout)

    def wait_status(self, code: int, timeout: float = 90) -> None:
        """Wait until a run of this boot has ended with `code`."""

        def ended() -> bool:
            done = self.run("delphi-agent", "status", "--json")
            document = json.loads(done.stdout) if done.stdout.strip() else {}
            return bool(document.get("run")) and document["exit_code"] == code

        try:
            wait_until(ended, f"a run of {self.name} that ends with {code}", timeout=timeout)
        except LabError as error:
            raise LabError(f"{error}\n{self.journal()}") from error

    def journal(self, unit: str = "delphi-agent") -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", "--boot", "--unit", unit).stdout[-8000:]

    def status(self) -> dict[str, Any]:
        """What the agent says of its last run."""
        document: dict[str, Any] = json.loads(self.run("delphi-agent", "status", "--json").stdout)
        return document

    def history(self) -> list[dict[str, Any]]:
        """Every run that could change the host."""
        file = self.path("/var/lib/delphi-agent/history.jsonl")
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def containers(self) -> dict[str, str]:
        """The id of each container by its name."""
        out = self.run("docker", "ps", "--all", "--no-trunc", "--format", "{{.Names}} {{.ID}}").stdout
        return dict(line.split() for line in out.splitlines())

    def power_off(self, timeout: float = 40) -> None:
        """A clean shutdown."""
        os.kill(self._leader, _POWER_OFF)
        assert self._process is not None
        self._process.wait(timeout)

    def reboot(self, timeout: float = 40) -> None:
        """A clean shutdown, and up again."""
        os.kill(self._leader, _REBOOT)
        assert self._process is not None
        code = self._process.wait(timeout)
        if code != _ASKED_FOR_REBOOT:
            raise LabError(f"{self.name} was asked to reboot and ended with {code}")
        self.boot()

    def power_loss(self) -> None:
        """Everything in it ends at once, with nothing written any more."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._leader, signal.SIGKILL)
        self._process.wait(20)

    def stall(self, seconds: float) -> None:
        """Process 1 does nothing for so long, as when it has much else to do; everything else runs on."""
        os.kill(self._leader, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(self._leader, signal.SIGCONT)

    def remove(self) -> None:
        """Pull the plug, and throw the disk away."""
        if self.on:
            self.power_loss()
        self._machine.run(["umount", "--recursive", f"{self._disk}/root"])
        shutil.rmtree(self._machine.path(self._disk), ignore_errors=True)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
