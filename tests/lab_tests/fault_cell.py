"""A cell of the fault matrix: one call of a run, one fault, and how the run has to end then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.lab.lab import Lab

FINE = frozenset({0})
INVALID = frozenset({65})
LATE = frozenset({69})
HOST = frozenset({74})
RESTORED = frozenset({75})
NOT_RESTORED = frozenset({76})
DENIED = frozenset({77})


@dataclass(frozen=True)
class Cell:
    """One call, one fault: `plant` puts it into the world; `codes` are the ends that are right."""

    call: str
    fault: str
    codes: frozenset[int]
    plant: Callable[[Lab], None]

    @property
    def name(self) -> str:
        return f"{self.call} | {self.fault}"


def points_at(name: str, address: str | None) -> Callable[[Lab], None]:
    """The instance finds `name` at another address, or (None) not at all."""

    def plant(lab: Lab) -> None:
        hosts = lab.machine.path("/etc/hosts")
        lines = [line.replace(f" {name}", " ") for line in hosts.read_text().splitlines()]
        hosts.write_text("\n".join([*lines, *([f"{address} {name}"] if address else []), ""]))

    return plant
