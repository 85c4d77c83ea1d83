"""Costs against sizes: the fitted exponent of each series, as a table and as curves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

from tests.bench import chart, results
from tests.bench.measure import Sample
from tests.bench.pairs import exponent
from tests.bench.results import Value
from tests.bench.table import table
from tests.lab.aws_model import Json

_VALUES: dict[str, Value] = {"wall": results.wall, "own CPU": results.own_cpu, "peak MiB": results.peak}
_WIDE, _HIGH, _ACROSS = 230, 150, 3


@dataclasses.dataclass(frozen=True)
class Series:
    """What one command costs as one number of its world grows."""

    name: str
    command: str
    unit: str
    sizes: Sequence[int]
    samples: Sequence[Sequence[Sample]]

    def costs(self, value: Value) -> list[float]:
        return [median(value(sample) for sample in samples) for samples in self.samples]


def of_series(found: Sequence[Series]) -> str:
    """From the least to the most, and how it grows: 1 is linear, 0 not at all."""
    head = ["growing", "command"]
    rows = []
    for series in found:
        row = [f"{series.sizes[0]:,} to {series.sizes[-1]:,} {series.unit}", f"`{series.command}`"]
        for value in _VALUES.values():
            costs = series.costs(value)
            digits = 0 if value is results.peak else 2
            row += [f"{costs[0]:.{digits}f} to {costs[-1]:.{digits}f}", f"{exponent(series.sizes, costs):.2f}"]
        rows.append(row)
    for name in _VALUES:
        head += [f"{name}{' s' if 'MiB' not in name else ''}", "exponent"]
    return table(head, rows)


def curves(found: Sequence[Series]) -> str:
    """A panel for each series, wall and CPU in it."""
    parts = ['<text class="title" x="10" y="20">What the agent costs as a deployment grows</text>']
    for number, series in enumerate(found):
        x, y = 10 + number % _ACROSS * (_WIDE + 20), 50 + number // _ACROSS * (_HIGH + 60)
        parts += _panel(series, x, y)
    rows = -(-len(found) // _ACROSS)
    bottom = 50 + rows * (_HIGH + 60)
    parts.append(f'<text class="small" x="10" y="{bottom}">green: seconds of the command; yellow: of its CPU</text>')
    return chart.picture(bottom + 14, parts)


def _panel(series: Series, x: float, y: float) -> list[str]:
    most = max(max(series.costs(value)) for value in (results.wall, results.own_cpu))
    parts = [
        f'<text x="{x}" y="{y - 8}">{escape(series.unit)}: {escape(series.command)}</text>',
        f'<path class="axis" fill="none" d="M{x} {y} V{y + _HIGH} H{x + _WIDE}"/>',
        f'<text class="small" x="{x + 4}" y="{y + 10}">{most:.2f} s</text>',
        f'<text class="small" x="{x}" y="{y + _HIGH + 14}">0 to {series.sizes[-1]:,}</text>',
    ]
    for value, kind in ((results.wall, "agent"), (results.own_cpu, "other")):
        points = [
            (x + _WIDE * size / series.sizes[-1], y + _HIGH - (_HIGH - 14) * cost / most)
            for size, cost in zip(series.sizes, series.costs(value), strict=True)
        ]
        line = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
        parts.append(f'<polyline class="{kind}-line" points="{line}"/>')
        parts += [f'<circle class="{kind}" cx="{left:.1f}" cy="{top:.1f}" r="2.5"/>' for left, top in points]
    return parts


def as_json(series: Series) -> Json:
    return {**dataclasses.asdict(series), "samples": [[dataclasses.asdict(s) for s in at] for at in series.samples]}


def load(path: Path) -> list[Series]:
    """What `as_json` gave of each."""
    found = json.loads(path.read_text())["series"]
    return [Series(**{**one, "samples": [[Sample(**s) for s in at] for at in one["samples"]]}) for one in found]
