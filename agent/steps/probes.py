"""The checks that a bundle declares, all side by side, each again and again until it passes or its time is over."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from agent.errors import AgentError, DeployFailed
from agent.host.clock import Deadline
from agent.host.side_by_side import SideBySide
from agent.steps.probe import ANSWER_SECONDS, Around, Fault, Probe, attempt

# Between two attempts, doubled up to the second figure.
FIRST_SECONDS, MOST_SECONDS = 0.25, 1.0


def run(probes: Sequence[Probe], around: Around, deadline: Deadline, tell: Callable[[str], None]) -> None:
    """Return when every probe has passed; `DeployFailed` with what was seen last of each that has not."""
    longest = max((probe.within for probe in probes), default=0.0)
    # An attempt that began in time may take a moment longer; one that hangs for good is left behind.
    patience = deadline.share(longest + ANSWER_SECONDS)
    waiting = {probe.check.name for probe in probes}
    faults: dict[str, Fault] = {}

    def work(probe: Probe) -> None:
        fault = _repeat(probe, around, deadline.share(probe.within))
        if fault is not None:
            faults[probe.check.name] = fault
        waiting.discard(probe.check.name)
        tell(", ".join(sorted(waiting)))

    tell(", ".join(sorted(waiting)))
    try:
        with SideBySide(patience) as jobs:
            for probe in probes:
                jobs.start(f"checking {probe.check.name}", functools.partial(work, probe))
    except AgentError:
        # No attempt raises: these are the ones that were left behind.
        for name in sorted(waiting):
            faults.setdefault(name, Fault("gave no answer"))
    if faults:
        raise _failure([(probe, faults[probe.check.name]) for probe in probes if probe.check.name in faults])


def _failure(failed: Sequence[tuple[Probe, Fault]]) -> DeployFailed:
    details = []
    for probe, fault in failed:
        details.append(f"{probe.check.name} ({probe.check.asks}): {fault.cause}")
        details += [f"  {line}" for line in fault.details]
    causes = "; ".join(
        f"{probe.check.name}: {fault.cause}" + ("" if fault.final else f", within {probe.within:.0f} s")
        for probe, fault in failed
    )
    return DeployFailed(
        "running the bundle's checks",
        causes,
        "the containers are left as they are: `delphi-agent compose logs --tail 50`; correct the bundle, the image or"
        " the check in vars.yaml, then run `delphi-agent init` again",
        details=details,
    )


def _repeat(probe: Probe, around: Around, deadline: Deadline) -> Fault | None:
    pause = FIRST_SECONDS
    while True:
        fault = attempt(probe, around, deadline)
        if fault is None or fault.final or deadline.left() <= pause:
            return fault
        deadline.clock.sleep(pause)
        pause = min(2 * pause, MOST_SECONDS)
