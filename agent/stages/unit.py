"""The boot's unit: it joins a boot that cloud-init began, so its target is reached, and 69 is tried again."""

from __future__ import annotations

import os

from agent.errors import AgentError
from agent.host.command import Command
from agent.host.host import Host
from agent.run import Options, Run
from agent.steps.daemon_proxy import has_systemd

_UNIT = "delphi-agent.service"
_SYSTEMCTL_SECONDS = 10.0


def is_looked_after(host: Host) -> bool:
    """Whether systemd tries this boot again, and tells of it when it gives up."""
    return _is_of_the_unit(host) or _can_start(host)


def start_unit(run: Run) -> None:
    """Have the unit join this boot. Nothing for the unit's own run, a person's, and one with options: it has none.

    Also nothing while there is no bootstrap file: systemd would skip the unit. What goes wrong is a warning.
    """
    is_boot = run.recorder.head.boot and run.options == Options()
    if not is_boot or _is_of_the_unit(run.host) or not _can_start(run.host):
        return
    command = Command(argv=("systemctl", "start", "--no-block", _UNIT), env=run.host.child_environment())
    try:
        done = run.host.commands.run(command, run.deadline.share(_SYSTEMCTL_SECONDS))
    except AgentError as error:
        run.warn("unit.not-started", f"{_UNIT} could not be started: {error}")
        return
    if not done.ok:
        run.warn("unit.not-started", f"{_UNIT} could not be started: {' '.join(done.tail(1))}")


def _is_of_the_unit(host: Host) -> bool:
    return "NOTIFY_SOCKET" in host.environ


def _can_start(host: Host) -> bool:
    """Whether it is enabled, and not skipped (its `ConditionPathExists=`)."""
    paths = host.paths
    return has_systemd(paths) and os.path.lexists(paths.unit_enabled) and paths.bootstrap.exists()
