"""Two measurements of the same cases, held against each other: how far do the ratios travel?

python -m tests.bench.again packaging/bench/results.json again.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench import results, table
from tests.bench.results import Result

NEAR = 0.15
"""What two measurements may differ by."""


def rows(first: Sequence[Result], second: Sequence[Result]) -> Iterator[tuple[str, str, float, float, float]]:
    """For each contender of each cell that both have: case, contender, both ratios, and how far they are apart.

    Apart is the larger one over the smaller one, less 1.
    """
    for one in first:
        other = results.find(second, *one.cell)
        for name in one.samples:
            if other is not None and name != "agent" and name in other.samples:
                here, there = (item.ratio("agent", name, results.wall).median for item in (one, other))
                case = f"{one.title} ({one.world}, {one.rtt:g} ms)"
                yield case, name, here, there, max(here, there) / min(here, there) - 1


def compared(first: Sequence[Result], second: Sequence[Result]) -> str:
    """A table, those farthest apart first, and how many are near each other."""
    found = sorted(rows(first, second), key=lambda row: -row[-1])
    lines = [
        [case, name, f"{here:.3f}", f"{there:.3f}", f"{100 * apart:.0f} %"] for case, name, here, there, apart in found
    ]
    near = sum(row[-1] <= NEAR for row in found)
    shown = table.table(["case", "compared with", "first", "second", "apart"], lines)
    return f"{shown}\n\n{near} of {len(found)} ratios are within {100 * NEAR:.0f} % of each other."


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("tests.bench.again", description=__doc__)
    parser.add_argument("files", nargs=2, type=Path)
    first, second = (load(path) for path in parser.parse_args(argv).files)
    print(compared(first, second))
    return 0


def load(path: Path) -> list[Result]:
    """What `python -m tests.bench --json` has written."""
    return [Result.from_json(item) for item in json.loads(path.read_text())["results"]]


if __name__ == "__main__":
    sys.exit(main())
