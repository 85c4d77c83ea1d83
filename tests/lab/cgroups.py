"""The only thing that outlives a machine whose process 1 was killed before it could tidy up: empty cgroups."""

from __future__ import annotations

from pathlib import Path

from tests.lab.machine_init import remove_cgroups

PREFIX = "delphi-lab-"


def left_over() -> list[str]:
    """The names of cgroups whose machine (their name ends in its PID) is gone."""
    top = Path("/sys/fs/cgroup")
    names = {path.name for pattern in (f"{PREFIX}*", f"*/{PREFIX}*") for path in top.glob(pattern)}
    return sorted(name for name in names if not Path("/proc", name.removeprefix(PREFIX)).exists())


def sweep() -> None:
    """Remove the cgroups of machines that are gone; a non-empty one stays."""
    for name in left_over():
        remove_cgroups(name)
