"""What became of a fleet."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """`ready`: seconds from an instance's own boot to its values; `finished`: the same from the fleet's first second.

    Both are of the instances that got there. `failures` are runs that gave up.
    """

    instances: int
    ready: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    throttled: Counter[str] = field(default_factory=Counter)
    failures: int = 0


def percentile(seconds: Sequence[float], share: float, instances: int) -> float | None:
    """The second within which this share of all instances got there; None when it never did."""
    place = max(0, math.ceil(share * instances) - 1)
    return sorted(seconds)[place] if place < len(seconds) else None
