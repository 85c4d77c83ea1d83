"""What the figures are to be, what they are, and whether that holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench import bound, results
from tests.bench.pairs import Spread, ratio
from tests.bench.results import Result, Value, find
from tests.bench.table import share, table
from tests.bench.worlds import SPECS


@dataclass(frozen=True)
class Target:
    """`measured` is None where the run did not have the case."""

    name: str
    most: float
    unit: str
    measured: Callable[[Sequence[Result]], Spread | None]

    def row(self, measured: Sequence[Result]) -> list[str]:
        found = self.measured(measured)
        if found is None:
            return [self.name, f"<= {self.most:g}{self.unit}", "", "not measured"]
        return [self.name, f"<= {self.most:g}{self.unit}", share(found), "yes" if found.median <= self.most else "NO"]


def over(
    world: str, case: str, theirs: str | Sequence[str], value: Value = results.wall, rtt: float = 0
) -> Callable[[Sequence[Result]], Spread | None]:
    """The agent over another; of several others, over the best."""

    def measured(all_: Sequence[Result]) -> Spread | None:
        result = find(all_, world, case, rtt)
        if result is None:
            return None
        others = [name for name in ([theirs] if isinstance(theirs, str) else theirs) if name in result.samples]
        best = min(others, key=lambda name: result.spread(name, value).median, default=None)
        return result.ratio("agent", best, value) if best else None

    return measured


def alone(world: str, case: str, value: Value) -> Callable[[Sequence[Result]], Spread | None]:
    """The agent's own figure."""

    def measured(all_: Sequence[Result]) -> Spread | None:
        result = find(all_, world, case, 0)
        return result.spread("agent", value) if result else None

    return measured


def _cpu_share(all_: Sequence[Result]) -> Spread | None:
    """The agent's own CPU over that of all processes of the scripts."""
    result = find(all_, "small", "rerun", 0)
    if result is None:
        return None
    ours, theirs = result.samples["agent"], result.samples["scripts"]
    return ratio([sample.own_cpu for sample in ours], [sample.cpu for sample in theirs])


def _above_bound(all_: Sequence[Result]) -> Spread | None:
    """Round trips of a rerun beyond those of the longest chain."""
    times = results.round_trips(all_).get(("small", "rerun", "agent"))
    if times is None:
        return None
    above = times - bound.round_trips(SPECS["small"])
    return Spread(above, above, above)


PEERS = ("rclone", "s5cmd")
TARGETS = (
    Target("rerun, nothing changed, small, 0 ms: wall over the scripts'", 0.12, "", over("small", "rerun", "scripts")),
    Target("the same: the agent's own CPU", 0.40, " s", alone("small", "rerun", results.own_cpu)),
    Target("the same: own CPU over the scripts' CPU", 0.10, "", _cpu_share),
    Target("the same: the AWS part over the scripts'", 0.09, "", over("small", "rerun", "scripts", results.aws_part)),
    Target("rerun at 30 ms: wall over the scripts'", 0.12, "", over("small", "rerun", "scripts", rtt=30)),
    Target("rerun: round trips beyond the longest chain", 4, "", _above_bound),
    Target("rerun: wall over `docker compose up -d` alone", 2.0, "", over("small", "rerun", "compose up -d alone")),
    Target("first boot, images on the host: over the scripts", 0.25, "", over("small", "first-boot", "scripts")),
    Target("bundle, 2,000 files, cold: over the best peer", 1.2, "", over("large", "bundle-cold", PEERS)),
    Target("bundle, 2,000 files, rerun: over the best peer", 1.2, "", over("large", "bundle-rerun", PEERS)),
    Target("bundle, 500 MB: over the best peer", 1.1, "", over("bulk", "bundle-cold", PEERS)),
    Target("bundle, 500 MB: peak memory", 100, " MiB", alone("bulk", "bundle-cold", results.peak)),
    Target("400 parameters + 30 secrets: over the scripts", 0.04, "", over("large", "values", "scripts")),
    Target("peak memory of `init`, small", 80, " MiB", alone("small", "first-boot", results.peak)),
    Target("`--help` over `python3 -I -S -c pass`", 3.0, "", over("small", "help", "python3")),
    Target("`status` over `python3 -I -S -c pass`", 3.0, "", over("small", "status", "python3")),
)


def of_targets(measured: Sequence[Result], *, every: bool = True) -> str:
    """The table that the suite ends with; without `every`, only what was measured."""
    rows = [target.row(measured) for target in TARGETS]
    return table(["target", "at most", "measured", "holds"], [row for row in rows if every or row[2]])
