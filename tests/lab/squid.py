"""A real Squid in the lab, between the instance and AWS: Debian's, with its defaults (X-Forwarded-For among them)."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess

from tests.lab.aws_model import SERVER_ADDRESS
from tests.lab.machine import Machine
from tests.lab.network import connect_in_namespace
from tests.lab.process import SYSTEM_PATH, LabError, Running, wait_until

PORT = 3128
ADDRESS = f"{SERVER_ADDRESS}:{PORT}"

_CONFIG = """http_port {address}
pid_filename none
cache_log {folder}/cache.log
logformat lab %Ss/%03>Hs %rm %ru
access_log stdio:{folder}/access.log lab
logfile_rotate 0
cache deny all
coredump_dir {folder}
hosts_file /etc/hosts
shutdown_lifetime 0 seconds
visible_hostname lab-squid
netdb_filename none
pinger_enable off
max_filedescriptors 1024
"""
_WITH_PASSWORD = """auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/users
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
"""


class Squid:
    """One proxy; each start() has a folder, a log and a name of its own."""

    _numbers = itertools.count(1)

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._process: Running | None = None
        self._folder = ""

    def start(self, user: str = "", password: str = "", rules: str = "http_access allow all\n") -> None:
        """Listen at ADDRESS, for everybody or for one user; `rules` are its `http_access` when there is no user."""
        name = f"lab{self._machine.pid}x{next(self._numbers)}"
        self._folder = f"/.lab/{name}"
        path = self._machine.path(self._folder)
        path.mkdir()
        config = _CONFIG.format(address=ADDRESS, folder=self._folder)
        if user:
            path.joinpath("users").write_text(_line(user, password))
            rules = _WITH_PASSWORD.format(folder=self._folder)
        path.joinpath("squid.conf").write_text(config + rules)
        # It gives up root, and does not start as root alone.
        self._machine.run(["chown", "-R", "proxy:", self._folder], check=True)
        # Its segments in /dev/shm are called by its name.
        argv = ["squid", "-n", name, "-N", "-f", f"{self._folder}/squid.conf"]
        self._process = self._machine.start_process(argv, log=f"{name}.log", network="aws")
        wait_until(self._answers, "Squid")

    def stop(self) -> None:
        """Connections to it are refused from now on."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def log(self, match: str = "") -> list[str]:
        """What it was asked, each as "RESULT/STATUS METHOD TARGET", if it has `match` in it."""
        try:
            lines = self._machine.path(f"{self._folder}/access.log").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [line for line in lines if match in line]

    def _answers(self) -> bool:
        process = self._process
        assert process is not None
        if process.returncode is not None:
            raise LabError(f"Squid ended: {process.stdout()[-2000:]}")
        with contextlib.suppress(OSError):
            namespace = str(self._machine.path("/run/netns/aws"))
            connect_in_namespace(namespace, (SERVER_ADDRESS, PORT), 1).close()
            return True
        return False


def _line(user: str, password: str) -> str:
    htpasswd = shutil.which("htpasswd", path=SYSTEM_PATH)
    assert htpasswd is not None, "apache2-utils is not installed"
    return subprocess.run(
        [htpasswd, "-niB", "-C", "4", user], input=password, capture_output=True, text=True, check=True
    ).stdout
