"""Fault cells: the children of a run, which end or talk as they should not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.lab import docker_wrapper
from tests.lab.lab import Lab
from tests.lab_tests.fault_cell import HOST, INVALID, LATE, RESTORED, Cell

_CHILDREN = {
    "compose config": "config --format",
    "compose pull": " pull ",
    "compose dry run": "--dry-run",
    "compose up": " up --detach",
}
_WAYS = {
    "fails": "echo made up by the lab >&2; exit 1",
    "hangs": "exec sleep 600",
    "is killed": "kill -KILL $$",
    "says nothing": "exit 0",
    "says nonsense": "echo '{\"'; echo '\\033[31m' >&2; exit 0",
}


# How the run has to end, by the way its child went; nothing was started before `up`. Whether `up` did anything is seen
# at the containers, not believed.
_ENDS = {
    "compose config": {"fails": INVALID, "hangs": LATE, "is killed": HOST, "says nothing": INVALID},
    "compose pull": {"fails": LATE, "hangs": LATE, "is killed": HOST},
    "compose dry run": {"fails": INVALID, "hangs": LATE, "is killed": HOST, "says nothing": HOST},
    "compose up": {"fails": RESTORED, "hangs": RESTORED, "is killed": RESTORED, "says nothing": RESTORED},
}


def children() -> Iterator[Cell]:
    """Each child, gone wrong in each way."""
    for call, ends in _ENDS.items():
        for way, codes in ends.items():
            yield Cell(call, way, codes, _wrapped(_CHILDREN[call], _WAYS[way]))
            if way == "says nothing":
                yield Cell(call, "says nonsense", codes, _wrapped(_CHILDREN[call], _WAYS["says nonsense"]))


def _wrapped(match: str, script: str) -> Callable[[Lab], None]:
    return lambda lab: docker_wrapper.put(lab, f"case \" $* \" in *'{match}'*) {script} ;; esac")


def mend(lab: Lab) -> None:
    """Docker is Docker again."""
    docker_wrapper.remove(lab)
