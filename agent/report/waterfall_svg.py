"""The waterfall as a picture that stands alone: no script, no font and no file from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Iterator

from agent.report.waterfall import Bar, Waterfall, tick_text, ticks
from agent.report.words import duration

WIDTH = 1200
_MARGIN, _ROW, _HEAD, _FOOT = 16, 20, 76, 44
# Of 12 pixel letters; a viewer's font is not known, so this is a little more than most need.
_LETTER = 6.9
_NAMES_LEAST, _NAMES_MOST = 140, 380
_MOST_TICKS = 11

_KINDS = {
    "step": "steps",
    "aws": "AWS calls",
    "imds": "instance metadata",
    "command": "commands",
    "image": "images",
    "service": "services until well",
}
_LIGHT = {
    "step": "#57606a",
    "aws": "#bf6a02",
    "imds": "#8250df",
    "command": "#1b7c83",
    "image": "#0969da",
    "service": "#1a7f37",
    "failed": "#cf222e",
}
_DARK = {
    "step": "#8b949e",
    "aws": "#e3a04f",
    "imds": "#bc8cff",
    "command": "#39c5cf",
    "image": "#58a6ff",
    "service": "#3fb950",
    "failed": "#ff7b72",
}


def draw(picture: Waterfall) -> str:
    """The picture; every bar says what it is when it is pointed at."""
    height = _HEAD + _ROW * max(1, len(picture.bars)) + _FOOT
    page = _Page(picture, height)
    title, about = html.escape(picture.title), html.escape(picture.about)
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    letters = 'font-family="system-ui, sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {letters}>',
        f"<title>{title}</title>",
        f"<style>{_style()}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        f'<text class="text" x="{_MARGIN}" y="24" font-size="15" font-weight="bold">{title}</text>',
        f'<text class="dim" x="{_MARGIN}" y="42">{about}</text>',
        *page.scale(),
        *(part for row, bar in enumerate(picture.bars) for part in page.bar(row, bar)),
        *page.foot(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _style() -> str:
    def colours(page: str, text: str, dim: str, line: str, bars: dict[str, str]) -> str:
        fills = {"page": page, "text": text, "dim": dim, **bars}
        rules = "".join(f".{name}{{fill:{value}}}" for name, value in fills.items())
        return f"{rules}.line{{stroke:{line}}}"

    light = colours("#ffffff", "#1f2328", "#59636e", "#d8dee4", _LIGHT)
    dark = colours("#0d1117", "#e6edf3", "#9198a1", "#30363d", _DARK)
    return f"{light}@media (prefers-color-scheme:dark){{{dark}}}"


class _Page:
    def __init__(self, picture: Waterfall, height: int) -> None:
        self._picture = picture
        self._bottom = height - _FOOT
        longest = max((len(bar.name) for bar in picture.bars), default=0) * _LETTER + 24
        self._left = _MARGIN + min(max(longest, _NAMES_LEAST), _NAMES_MOST)
        self._room = WIDTH - _MARGIN - self._left

    def _x(self, seconds: float) -> float:
        return self._left + seconds / (self._picture.seconds or 1.0) * self._room

    def scale(self) -> Iterator[str]:
        for at in ticks(self._picture.seconds, _MOST_TICKS):
            x = self._x(at)
            anchor = "end" if x > WIDTH - _MARGIN - 30 else "start" if at == 0 else "middle"
            yield f'<path class="line" d="M{x:.1f} {_HEAD - 8}V{self._bottom}"/>'
            yield f'<text class="dim" x="{x:.1f}" y="{_HEAD - 12}" text-anchor="{anchor}">{tick_text(at)}</text>'

    def bar(self, row: int, bar: Bar) -> Iterator[str]:
        top, is_step = _HEAD + row * _ROW, bar.kind == "step"
        x, width = self._x(bar.start), max(bar.seconds / (self._picture.seconds or 1.0) * self._room, 1.5)
        kind = "failed" if bar.state == "failed" else bar.kind if bar.kind in _LIGHT else "step"
        indent = _MARGIN + (0 if is_step else 14)
        weight = ' font-weight="bold"' if bar.path else ""
        name = html.escape(_cut(bar.name, int((self._left - indent - 6) / _LETTER)))
        yield f"<g><title>{html.escape(_told(bar))}</title>"
        yield f'<text class="{"text" if is_step else "dim"}" x="{indent}" y="{top + 14}"{weight}>{name}</text>'
        inset = 3 if is_step else 5
        opacity = ' fill-opacity="0.6"' if bar.state == "running" else ""
        yield (
            f'<rect class="{kind}" x="{x:.1f}" y="{top + inset}" width="{width:.1f}" height="{_ROW - 2 * inset}"'
            f' rx="2"{opacity}/>'
        )
        yield f"{self._beside(bar, x, x + width, top)}</g>"

    def _beside(self, bar: Bar, start: float, end: float, top: int) -> str:
        """How long it took and what is to be said of it: right of the bar, else left of it, else in it."""
        share = f"{bar.share:.0%}" if bar.kind == "step" else ""
        text = ", ".join(filter(None, [duration(bar.seconds), share, bar.note]))
        text = _cut(text, int(self._room / _LETTER) - 2)
        room, y = len(text) * _LETTER + 5, top + 14
        kind = "failed" if bar.state == "failed" else "dim"
        if end + room <= WIDTH - _MARGIN + 4:
            return f'<text class="{kind}" x="{end + 5:.1f}" y="{y}">{html.escape(text)}</text>'
        if start - room >= self._left:
            return f'<text class="{kind}" x="{start - 5:.1f}" y="{y}" text-anchor="end">{html.escape(text)}</text>'
        return f'<text class="page" x="{end - 6:.1f}" y="{y}" text-anchor="end">{html.escape(text)}</text>'

    def foot(self) -> Iterator[str]:
        x, y = float(_MARGIN), self._bottom + 26
        used = {bar.kind for bar in self._picture.bars}
        for kind, text in _KINDS.items():
            if kind in used:
                yield f'<rect class="{kind}" x="{x:.1f}" y="{y - 9}" width="10" height="10" rx="2"/>'
                yield f'<text class="dim" x="{x + 15:.1f}" y="{y}">{text}</text>'
                x += 15 + len(text) * (_LETTER + 0.7) + 14
        took = f"{duration(self._picture.path_seconds)} of {duration(self._picture.seconds)}"
        more = f"; {self._picture.left_out:,} more were not kept" if self._picture.left_out else ""
        told = f"bold: one after the other, these made the run as long as it was, {took}{more}"
        yield f'<text class="dim" x="{WIDTH - _MARGIN}" y="{y}" text-anchor="end">{told}</text>'


def _told(bar: Bar) -> str:
    share = f", {bar.share:.0%} of the run" if bar.kind == "step" else f", in {bar.step}"
    state = "" if bar.state == "done" else f", {bar.state}"
    note = f": {bar.note}" if bar.note else ""
    return f"{bar.name}: {bar.seconds:.3f} s from {bar.start:.3f} s on{share}{state}{note}"


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    kept = max(most - 1, 2)
    return f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
