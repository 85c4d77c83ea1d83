"""What a handful of measurements come to: the median with its quartiles, and the ratio of two that were interleaved."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import log


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if not values:
            raise ValueError("nothing was measured")
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours over theirs, round by round: what slowed the machine down for one round is in both halves of a pair."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} runs of one, {len(theirs)} of the other: they are no pairs")
    return Spread.of([mine / other for mine, other in zip(ours, theirs, strict=True)])


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The k of `cost = a + b * size ** k` that fits best: 1 is linear, 0 does not grow.

    `a` is the cost that there is without any size, so the smallest size should be near nothing.
    """
    base = costs[0]
    points = [(size - sizes[0], cost - base) for size, cost in zip(sizes, costs, strict=True)]
    grown = [(size, cost) for size, cost in points if size > 0]
    # Growth that drowns in what a run varies by anyway has no exponent.
    if len(grown) < 2 or min(cost for _, cost in grown) <= 0 or grown[-1][1] < 0.05 * base:
        return 0.0
    slope, _ = statistics.linear_regression(*zip(*[(log(size), log(cost)) for size, cost in grown], strict=True))
    return slope
