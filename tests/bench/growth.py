"""What the agent costs as a deployment grows: parameters, secrets, files, bytes, services.

python -m tests.bench.growth [--only SERIES] [--runs N] [--json FILE] [--svg FILE]
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tests.conftest  # noqa: F401 - its guard refuses every connection of this process that would leave the machine
from tests.bench import growth_report, installed, report, surroundings
from tests.bench.cases import QUIET
from tests.bench.growth_report import Series
from tests.bench.measure import Sample
from tests.bench.phases import empty
from tests.bench.side import Side
from tests.bench.worlds import Spec
from tests.lab.process import LabError

_BASE = Spec(name="growth", files=8, total=40_000, parameters=1, secrets=1, services=1, health=QUIET)


@dataclass(frozen=True)
class Growth:
    """One number of the world that grows: `field` of its spec, and the command whose cost is looked at."""

    name: str
    field: str
    unit: str
    sizes: tuple[int, ...]
    command: str = "init"

    def spec(self, size: int) -> Spec:
        """The world of this size; files are 1 KB each."""
        fields: dict[str, Any] = {self.field: size, **({"total": 1_000 * size} if self.field == "files" else {})}
        return replace(_BASE, **fields)


SERIES = (
    Growth("parameters", "parameters", "parameters", (1, 100, 400, 1_000, 2_000)),
    Growth("secrets", "secrets", "secrets", (1, 10, 25, 50, 100)),
    Growth("services", "services", "services", (1, 2, 4, 8, 16)),
    Growth("files", "files", "files", (8, 500, 2_000, 5_000, 10_000), "fetch"),
    Growth("bytes", "big", "bytes in one object", (1, 64 << 20, 256 << 20, 512 << 20, 1 << 30), "fetch"),
)


def measure(side: Side, growth: Growth, runs: int) -> Series:
    """`init` with nothing to change (its services run already), or `fetch` of a bundle that is not there."""
    samples = []
    for size in growth.sizes:
        spec = growth.spec(size)
        side.enter(spec)
        side.fresh(images="there" if growth.command == "init" else "needless")
        samples.append([_once(side, growth.command) for _ in range(runs + 1)][1:])
        least = min(sample.wall for sample in samples[-1])
        print(f"{growth.name} {size:,}: {least:.2f} s", file=sys.stderr, flush=True)
    return Series(growth.name, growth.command, growth.unit, growth.sizes, samples)


def _once(side: Side, command: str) -> Sample:
    if command == "fetch":
        empty(side)
    return side.agent(command)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.bench.growth", description=__doc__)
    parser.add_argument("--only", choices=[growth.name for growth in SERIES], help="one series (all)")
    parser.add_argument("--runs", type=int, default=3, help="runs at each size, after one that is not counted (3)")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    parser.add_argument("--svg", type=Path, help="draw the curves into this file")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    chosen = [growth for growth in SERIES if options.only in (None, growth.name)]
    try:
        with Side() as side:
            found = [measure(side, growth, options.runs) for growth in chosen]
    except LabError as error:
        print(f"growth: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("growth: stopped", file=sys.stderr)
        return 130
    print(growth_report.of_series(found))
    about = {"machine": surroundings.machine(), "versions": installed.versions(), "runs": options.runs}
    report.save(options.json, lambda: report.kept(about, "series", [growth_report.as_json(one) for one in found]))
    report.save(options.svg, lambda: growth_report.curves(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
