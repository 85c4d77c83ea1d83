"""Bar charts as self-contained SVG, readable on light and on dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests.bench import results
from tests.bench.results import Result

WIDTH, _LEFT, _RIGHT, _BAR, _GAP = 760, 250, 70, 16, 14
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px } .small { font-size: 11px; fill: #59636e }
.agent { fill: #2da44e } .other { fill: #d4a72c } .axis { stroke: #8c959f }
.agent-line { stroke: #2da44e; fill: none } .other-line { stroke: #d4a72c; fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .small { fill: #9198a1 }
  .axis { stroke: #6e7681 }
}
.in { fill: #1f2328 }"""


@dataclass(frozen=True)
class Bar:
    """One bar with the spread that it has."""

    name: str
    value: float
    low: float
    high: float
    ours: bool


@dataclass(frozen=True)
class Group:
    title: str
    bars: Sequence[Bar]


def bars(title: str, unit: str, groups: Sequence[Group], note: str = "") -> str:
    """Groups of horizontal bars on one scale."""
    most = max(bar.high for group in groups for bar in group.bars)
    scale = (WIDTH - _LEFT - _RIGHT) / most
    y, parts = 34.0, [f'<text class="title" x="10" y="20">{escape(title)}</text>']
    for group in groups:
        middle = y + len(group.bars) * _BAR / 2 + 4
        parts.append(f'<text x="10" y="{middle:.0f}">{escape(group.title)}</text>')
        for bar in group.bars:
            parts += _bar(bar, y, scale, unit)
            y += _BAR
        y += _GAP
    parts.append(f'<text class="small" x="10" y="{y + 6:.0f}">{escape(note)}</text>')
    parts.insert(1, f'<line class="axis" x1="{_LEFT}" y1="30" x2="{_LEFT}" y2="{y - _GAP + 4:.0f}"/>')
    return picture(y + 18, parts)


def picture(height: float, parts: Sequence[str]) -> str:
    """The parts in one SVG of the usual width, with the colours for both grounds."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>"]) + "\n"


def _bar(bar: Bar, y: float, scale: float, unit: str) -> list[str]:
    kind, middle, end = "agent" if bar.ours else "other", y + _BAR / 2, _LEFT + bar.value * scale
    low, high = _LEFT + bar.low * scale, _LEFT + bar.high * scale
    label = f"{bar.value:.2f}{unit} {bar.name}"
    inside = end > WIDTH - _RIGHT - 8 * len(label)
    # Bars have one colour on both grounds, and so has what stands on them.
    at = (
        f'class="in" x="{_LEFT + 6}" y="{middle + 4:.0f}"'
        if inside
        else f'x="{max(end, high) + 6:.0f}" y="{middle + 4:.0f}"'
    )
    return [
        f'<rect class="{kind}" x="{_LEFT}" y="{y + 1:.0f}" width="{end - _LEFT:.1f}" height="{_BAR - 2}"/>',
        f'<line class="axis" x1="{low:.1f}" y1="{middle:.0f}" x2="{high:.1f}" y2="{middle:.0f}"/>',
        f"<text {at}>{escape(label)}</text>",
    ]


def of_results(measured: Sequence[Result], world: str = "small", rtt: float = 0) -> str:
    """How long every case of this world takes, the agent beside the others."""
    groups = []
    for result in measured:
        if (result.world, result.rtt) == (world, rtt) and "scripts" in result.samples:
            spreads = {name: result.spread(name, results.wall) for name in result.samples}
            bars_ = [Bar(name, at.median, at.low, at.high, name == "agent") for name, at in spreads.items()]
            groups.append(Group(result.title, bars_))
    if not groups:
        return picture(40, ['<text x="10" y="20">nothing was measured that belongs here</text>'])
    note = "Seconds of the whole command, median; the line spans the quartiles. Runs were interleaved."
    return bars(f"World {world}, {rtt:g} ms to AWS", " s", groups, note)
