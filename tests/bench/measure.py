"""One measurement: a command run inside a machine, and everything that it cost."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.machine import Machine
from tests.lab.process import LabError

_RESULT = "/run/bench.json"
_RUNNER = Path(__file__).parent / "runner.py"


@dataclass(frozen=True)
class Sample:
    """Seconds, KiB and counts of one run; `parts` are seconds of what the run says of itself."""

    wall: float
    cpu: float
    own_cpu: float
    peak: int
    """VmHWM of the command's own process."""
    biggest: int
    """ru_maxrss: of the biggest of all its processes."""
    calls: Mapping[str, int] = field(default_factory=dict)
    connections: int = 0
    imds: int = 0
    parts: Mapping[str, float] = field(default_factory=dict)


class Failed(LabError):
    """The command that was to be measured did not do its work: its figures would mean nothing."""


def run(machine: Machine, argv: Sequence[str], env: Mapping[str, str] | None = None, timeout: float = 300) -> Sample:
    """Run it inside, and measure the process and its descendants; what it asked is for the caller to add."""
    command = [sys.executable, "-I", "-S", str(_RUNNER), _RESULT, *argv]
    done = machine.run(command, env=env, timeout=timeout)
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)}: the runner ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(machine.path(_RESULT).read_text())
    if found.pop("code") != 0:
        raise Failed(f"{' '.join(argv)} failed: {(done.stderr or done.stdout)[-3000:]}")
    return Sample(**found)
