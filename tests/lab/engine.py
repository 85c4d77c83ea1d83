"""The machine's Docker engine: the stock dockerd with stock paths."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.lab.machine import Machine
from tests.lab.network import UnixConnection
from tests.lab.process import LabError, Running, wait_until

SOCKET = "/run/docker.sock"
DAEMON_JSON = "/etc/docker/daemon.json"


class Engine:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._process: Running | None = None
        self._config: str | None = None

    def start(self, env: Mapping[str, str] | None = None) -> None:
        """Start dockerd (its log is /.lab/log/dockerd.log); `env` is for proxies and the like."""
        if self._process is not None:
            return
        self._config = self._daemon_json()
        argv = ["dockerd", "--cgroup-parent", self._machine.cgroup, "--shutdown-timeout", "2"]
        # There is no systemd in the machine to manage cgroups, whatever the host has.
        argv += ["--exec-opt", "native.cgroupdriver=cgroupfs", "--group", "root", "--log-level", "warn"]
        self._process = self._machine.start_process(argv, env=env, log="dockerd.log", service=True)

    def wait_ready(self) -> None:
        process = self._process
        assert process is not None

        def ready() -> bool:
            if process.returncode is not None:
                raise LabError(f"dockerd ended: {process.stdout()[-3000:]}")
            with contextlib.suppress(OSError):
                return self._api("GET", "/_ping")[0] == 200
            return False

        wait_until(ready, "the Docker engine", timeout=30)

    def stop(self) -> None:
        """Stop dockerd and, with it, the containers; as a clean shutdown of the service would."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.signal(15)
            process.wait(20)
        with contextlib.suppress(FileNotFoundError):
            self._machine.path(SOCKET).unlink()

    def freeze(self) -> None:
        """It takes connections and answers nothing, until thaw()."""
        assert self._process is not None
        self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.thaw()

    def restart(self, env: Mapping[str, str] | None = None) -> None:
        self.stop()
        self.start(env)
        self.wait_ready()

    def docker(self, *args: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the docker command line inside."""
        return self._machine.run(["docker", *args], check=check, timeout=timeout)

    def log(self) -> str:
        return self._machine.path("/.lab/log/dockerd.log").read_text(errors="replace")

    def containers(self) -> list[dict[str, Any]]:
        """All containers, as the engine's API lists them."""
        found: list[dict[str, Any]] = self._api("GET", "/containers/json?all=1")[1]
        return found

    def reset(self, env: Mapping[str, str] | None = None) -> None:
        """Running with today's daemon.json, without containers, networks or volumes. Images stay."""
        if self._process is not None and self._process.returncode is not None:
            self._process = None
        if self._process is not None and self._daemon_json() != self._config:
            # Before it goes: containers would come up with the next one, and make folders of the mounts that are gone.
            self._remove_containers()
            self.stop()
        if self._process is None:
            self.start(env)
            self.wait_ready()
        self._remove_containers()
        self._api("POST", "/networks/prune")
        self._api("POST", "/volumes/prune")

    def remove_containers(self) -> bool:
        """Remove them all; false when it does not run. One that restarts would make folders of mounts that are gone."""
        if self._process is None or self._process.returncode is not None:
            return False
        self._remove_containers()
        return True

    def _remove_containers(self) -> None:
        paths = [f"/containers/{container['Id']}?force=1&v=1" for container in self.containers()]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda path: self._api("DELETE", path), paths))

    def forget_images(self) -> None:
        """Remove all images, so that the next start has to pull."""
        for image in self._api("GET", "/images/json")[1]:
            self._api("DELETE", f"/images/{image['Id']}?force=1")

    def _daemon_json(self) -> str | None:
        try:
            return self._machine.path(DAEMON_JSON).read_text()
        except FileNotFoundError:
            return None

    def _api(self, method: str, path: str) -> tuple[int, Any]:
        connection = UnixConnection(str(self._machine.path(SOCKET)))
        try:
            connection.request(method, path)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        return response.status, json.loads(data) if is_json and data else None
