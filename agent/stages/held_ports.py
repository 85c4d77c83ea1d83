"""An engine that keeps a port for a container that does not run: after a power loss nothing but a restart frees it.

When it starts, it takes the ports of the containers that ran, and can fail to let go of one whose container it then
starts anew (seen with 20.10): from then on `port is already allocated`, for whoever wants it, until it is restarted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.run import Run
from agent.stages.engine import RESTARTED, restart
from agent.steps import daemon_proxy

_HELD = re.compile(r"Bind for \S+:(\d+) failed: port is already allocated")


def let_go(run: Run, project: str, said: Sequence[str]) -> bool:
    """True when the engine was restarted since `up` said that it holds a port which no container has.

    Never where containers run that are not of the project, nor for a port that a running container publishes.
    """
    wanted = {int(match[1]) for line in said if (match := _HELD.search(line))}
    if not wanted:
        return False
    running = run.engine.published_ports()
    if any(wanted & published for _, published in running):
        return False
    ports = ", ".join(str(port) for port in sorted(wanted))
    what = f"the Docker engine holds the port {ports} for a container that does not run, as it can after a power loss"
    if any(name != project for name, _ in running) or not daemon_proxy.has_systemd(run.host.paths):
        run.warn("engine.port-held", f"{what}; restart it: `systemctl restart docker`")
        return False
    came = restart(run, run.engine, f"so that it lets the port {ports} go", "the port waits")
    run.warn("engine.port-held", f"{what}: {came}")
    return came == RESTARTED
