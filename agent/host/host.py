"""`Host`: everything that a run touches outside itself, as one argument."""

from __future__ import annotations

import pwd
from collections.abc import Mapping
from dataclasses import field

from agent.dataclass import dataclass
from agent.host.clock import Clock
from agent.host.command import Commands
from agent.host.paths import Paths
from agent.secret import Secret

# systemd gives no HOME and a short PATH (contract section 2): children get these whatever started the agent.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"


@dataclass(frozen=True, kw_only=True)
class Host:
    """The host as a run sees it. `environ` is the agent's own environment, read once."""

    paths: Paths
    clock: Clock
    commands: Commands
    environ: Mapping[str, str] = field(repr=False)
    uid: int

    @property
    def home(self) -> str:
        """The home folder of the user that runs the agent, by the user database, not by HOME."""
        try:
            return pwd.getpwuid(self.uid).pw_dir
        except KeyError:
            return "/"

    @property
    def docker_host(self) -> str:
        """The engine's address: DOCKER_HOST of the agent's own environment, else the socket below the root."""
        return self.environ.get("DOCKER_HOST") or f"unix://{self.paths.docker_socket}"

    def child_environment(self) -> dict[str, Secret]:
        """What every child gets: PATH, HOME and where the engine is."""
        return {"PATH": Secret(PATH), "HOME": Secret(self.home), "DOCKER_HOST": Secret(self.docker_host)}
