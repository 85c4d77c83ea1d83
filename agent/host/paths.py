"""Every path of the host that the agent reads or writes, in one place (contract section 1, design section 4)."""

from __future__ import annotations

from pathlib import Path

from agent.dataclass import dataclass
from agent.host import plain

_ROOT = Path("/")


@dataclass(frozen=True)
class Paths:
    """The host's files below `root` (`/` on a real host, any folder in a test)."""

    root: Path = _ROOT

    @classmethod
    def below(cls, root: str) -> Paths:
        """Those below a root as the command line has it."""
        return cls(Path(root).absolute())

    def at(self, path: str) -> Path:
        """Where the absolute `path` of the host lies below the root."""
        return self.root / path.lstrip("/")

    def shown(self, path: Path) -> str:
        """`path` as a message names it: as the host knows it, without the root."""
        return f"/{path.relative_to(self.root)}" if path.is_relative_to(self.root) else str(path)

    @property
    def bootstrap(self) -> Path:
        """Written by cloud-init; infrastructure values and perhaps AWS keys."""
        return self.at("/opt/deployment/.env")

    @property
    def services(self) -> Path:
        """The parent of the role's folder and of `common`."""
        return self.at("/opt/services")

    @property
    def staging(self) -> Path:
        """Where a bundle is put together before anything live changes: on the same file system as the live folders."""
        return self.services / ".delphi-agent-staging"

    def role(self, role: str) -> Path:
        """The role's bundle and the Compose project's folder."""
        return self.services / role

    @property
    def common(self) -> Path:
        """The bundle's files that are shared between roles."""
        return self.services / "common"

    @property
    def daemon_json(self) -> Path:
        """The Docker engine's settings."""
        return self.at("/etc/docker/daemon.json")

    @property
    def run(self) -> Path:
        """0755, gone after a reboot."""
        return self.at("/run/delphi-agent")

    @property
    def lock(self) -> Path:
        """Held (flock) by the one run that may act."""
        return self.run / "lock"

    @property
    def children(self) -> Path:
        """0700: a file for each agent that has children at work, for whoever finds them after it was killed."""
        return self.run / "children"

    @property
    def engine_restart(self) -> Path:
        """Which engine has not read what was written to its settings."""
        return self.run / "engine-restart.json"

    @property
    def status(self) -> Path:
        """0644, no secrets: the running or the last run."""
        return self.at(plain.STATUS)

    @property
    def signal(self) -> Path:
        """0600: what Auto Scaling and CloudFormation wait for, what they were told, until when a failure is held."""
        return self.run / "signal.json"

    @property
    def signalled(self) -> Path:
        """0600, kept: which instance's stack has had its signal."""
        return self.state / "signalled.json"

    @property
    def docker_config(self) -> Path:
        """0700: the registry token for the time of a run."""
        return self.run / "docker"

    def of_compose(self, pid: int | str) -> Path:
        """0700: the registry token and the override for the time of the command `compose` with this pid."""
        return self.run / f"compose-{pid}"

    @property
    def overrides(self) -> Path:
        """0700: the generated compose override."""
        return self.run / "compose"

    @property
    def state(self) -> Path:
        """0700, kept: releases, verdicts, the fingerprint key."""
        return self.at("/var/lib/delphi-agent")

    @property
    def history(self) -> Path:
        """0600: a line per run that could change the host."""
        return self.state / "history.jsonl"

    @property
    def docker_socket(self) -> Path:
        """Where the engine listens unless DOCKER_HOST says otherwise."""
        return self.at("/var/run/docker.sock")

    @property
    def docker_pid(self) -> Path:
        """The engine's own note of its process."""
        return self.at("/var/run/docker.pid")

    @property
    def console(self) -> Path:
        """What EC2's get-console-output shows."""
        return self.at("/dev/console")

    @property
    def journal_socket(self) -> Path:
        """Where journald takes entries with fields."""
        return self.at("/run/systemd/journal/socket")

    @property
    def unit_enabled(self) -> Path:
        """There when the boot's unit is enabled."""
        return self.at("/etc/systemd/system/multi-user.target.wants/delphi-agent.service")

    @property
    def dmi(self) -> Path:
        """What the firmware says about the machine."""
        return self.at("/sys/class/dmi/id")
