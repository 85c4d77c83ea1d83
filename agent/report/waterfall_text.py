"""The waterfall on a terminal, or in plain ASCII for any other reader."""

from __future__ import annotations

import math
from collections.abc import Iterator

from agent.dataclass import dataclass
from agent.report.waterfall import Bar, Waterfall, tick_text, ticks
from agent.report.words import duration

NARROWEST = 60
_COLOURS = {"step": "1", "aws": "36", "imds": "35", "command": "33", "image": "34", "service": "32"}
_FAILED = "31"
# Name, duration, share.
_FIGURES = 19
_TICK_WIDTH = 12
_HALF_A_CELL = 0.5


@dataclass(frozen=True)
class _Marks:
    step: str
    span: str
    moment: str
    failed: str
    running: str


_UTF8 = _Marks("█", "▒", "▏", "✗", "…")
_ASCII = _Marks("=", "-", "|", "x", ">")


def draw(picture: Waterfall, width: int, *, utf8: bool, colour: bool) -> list[str]:
    """The lines, none wider than `width` (at least `NARROWEST`)."""
    page = _Page(picture, max(width, NARROWEST), _UTF8 if utf8 else _ASCII, colour=colour)
    lines = [*page.head(), *(line for bar in picture.bars for line in page.lines(bar)), *page.foot()]
    return lines if utf8 else [line.encode("ascii", "backslashreplace").decode() for line in lines]


class _Page:
    def __init__(self, picture: Waterfall, width: int, marks: _Marks, *, colour: bool) -> None:
        self._picture = picture
        self._width = width
        self._marks = marks
        self._colour = colour
        longest = max((len(_name(bar)) for bar in picture.bars), default=0)
        self._names = min(longest, max(18, (width - _FIGURES) * 2 // 5))
        self._left = 3 + self._names + _FIGURES
        self._room = width - self._left

    def head(self) -> Iterator[str]:
        yield self._paint("1", _cut(self._picture.title, self._width))
        yield _cut(self._picture.about, self._width)
        yield ""
        scale = ""
        for at in ticks(self._picture.seconds, max(1, self._room // _TICK_WIDTH)):
            place, text = self._column(at), tick_text(at)
            if place + len(text) <= self._room and place >= len(scale):
                scale = f"{scale:<{place}}{text}"
        yield f"{'':<{self._left}}{scale}".rstrip()

    def lines(self, bar: Bar) -> Iterator[str]:
        """The bar with its name and figures; what is to be said of it beside it, or below where it has no room."""
        start = min(self._column(bar.start), self._room - 1)
        end = min(max(math.ceil(bar.end / self._seconds * self._room), start + 1), self._room)
        fill = self._marks.step if bar.kind == "step" else self._marks.span
        if bar.seconds / self._seconds * self._room < _HALF_A_CELL:
            end, fill = start + 1, self._marks.moment
        drawn = self._paint(_FAILED if bar.state == "failed" else _COLOURS.get(bar.kind, "0"), fill * (end - start))
        note, before, below = bar.note, "", ""
        if note and end + 1 + len(note) > self._room:
            if len(note) + 1 <= start:
                before, note = f"{note:>{start - 1}} ", ""
            else:
                note, below = "", note
        tail = f" {self._paint(_FAILED, note) if bar.state == 'failed' else note}" if note else ""
        yield f"{self._figures(bar)}{before or ' ' * start}{drawn}{tail}"
        if below:
            yield f"{'':>5}{_cut(below, self._width - 5)}"

    def _figures(self, bar: Bar) -> str:
        mark = {"failed": self._marks.failed, "running": self._marks.running, "interrupted": "!"}.get(bar.state, " ")
        name = f"{_cut(_name(bar), self._names):<{self._names}}"
        share = f"{bar.share:>5.0%}" if bar.kind == "step" else ""
        return f"{'*' if bar.path else ' '}{mark} {name}{duration(bar.seconds):>12}{share:>6} "

    def foot(self) -> Iterator[str]:
        yield ""
        if any(bar.path for bar in self._picture.bars):
            took = f"{duration(self._picture.path_seconds)} of {duration(self._picture.seconds)}"
            yield _cut(f"* one after the other, these made the run as long as it was: {took}", self._width)
        if self._picture.left_out:
            yield f"{self._picture.left_out:,} more were not kept"

    @property
    def _seconds(self) -> float:
        return self._picture.seconds or 1.0

    def _column(self, seconds: float) -> int:
        return math.floor(seconds / self._seconds * self._room + 1e-9)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


def _name(bar: Bar) -> str:
    return bar.name if bar.kind == "step" else f"  {bar.name}"


def _cut(text: str, width: int) -> str:
    """The end of an image's name tells it from another one: what is left out is in the middle."""
    if len(text) <= width:
        return text
    kept = max(width - 3, 0)
    return f"{text[: kept // 2]}...{text[len(text) - (kept - kept // 2) :]}"[:width]
