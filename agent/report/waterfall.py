"""A run as bars on a line of time, from its status: what `delphi-agent timeline` draws, whatever it draws it on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from agent.dataclass import dataclass
from agent.errors import HostError
from agent.host import processes
from agent.report.words import amount, duration

State = Literal["done", "failed", "interrupted", "running"]

# A file that somebody else wrote may say anything.
_MOST_NAME = 200
_MOST_BARS = 2000
_STATES: dict[str, State] = {"done": "done", "failed": "failed", "interrupted": "interrupted"}
# Steps that follow each other at once are told a few milliseconds apart.
_CLOSE_SECONDS = 0.005
_LABELS = {"imds": "IMDS ", "command": "$ ", "image": "image ", "service": "service "}
_TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One line: a step, or (`kind` says of what) something within it. Times are seconds since the run began.

    `path`: it is a step of the chain that took as long as the run; `share` is its part of the whole.
    """

    kind: str
    name: str
    step: str
    start: float
    end: float
    state: State
    note: str = ""
    share: float = 0.0
    path: bool = False

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class Waterfall:
    """The whole picture: steps in the order of their begin, each followed by what it did."""

    title: str
    about: str
    seconds: float
    bars: tuple[Bar, ...]
    left_out: int

    @property
    def path_seconds(self) -> float:
        """How long the steps of the path took together."""
        return sum(bar.seconds for bar in self.bars if bar.path)


def of(document: Mapping[str, Any]) -> Waterfall:
    """The picture of a status. Raises `HostError` for one that is none; one of an older agent has steps alone."""
    try:
        return _of(document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise HostError(
            "reading the times of the run in the status",
            f"it is not as this agent writes it ({type(error).__name__}: {error})",
            "run `delphi-agent init` again: it writes a new one",
        ) from error


def _of(document: Mapping[str, Any]) -> Waterfall:
    run, outcome = document["run"], plain(document["outcome"])
    seen = [*document["steps"][:_MOST_BARS], *document.get("spans", ())[:_MOST_BARS]]
    last = max((_time(item["started"]) + _time(item["seconds"] or 0) for item in seen), default=0.0)
    if run["seconds"] is not None:
        last = max(last, _time(run["seconds"]))
    elif outcome == "running" and run.get("began_ticks") is not None:
        last = max(last, processes.since(int(_time(run["began_ticks"]))))
    steps = sorted((_step(item, last) for item in document["steps"][:_MOST_BARS]), key=lambda bar: bar.start)
    spans = sorted((_span(item, last) for item in document.get("spans", ())[:_MOST_BARS]), key=lambda bar: bar.start)
    took = f"{'for' if outcome == 'running' else 'after'} {duration(last)}"
    code = "" if document["exit_code"] is None else f", exit {plain(document['exit_code'])}"
    return Waterfall(
        title=f"{plain(run['command'])}: {outcome} {took}{code}",
        about=f"run {plain(run['id'])}, {plain(run['started_at'])}",
        seconds=last,
        bars=tuple(_nested(_with_path(steps, last), spans)),
        left_out=int(_time(document.get("spans_left_out", 0))),
    )


def _step(item: Mapping[str, Any], now: float) -> Bar:
    running = item["seconds"] is None
    state: State = "running" if running else _STATES.get(item["state"], "failed")
    code = plain(item.get("error_code") or "")
    waits = plain(item["waiting_for"] or "")
    note = code if state == "failed" else "interrupted" if state == "interrupted" else ""
    if running and waits:
        note = f"waiting for {waits}"
    start = _time(item["started"])
    end = now if running else start + _time(item["seconds"])
    share = (end - start) / now if now else 0.0
    name = plain(item["name"])
    return Bar(kind="step", name=name, step=name, start=start, end=end, state=state, note=note, share=share)


def _span(item: Mapping[str, Any], now: float) -> Bar:
    kind, count, failed = plain(item["kind"]), int(_time(item["count"])), int(_time(item["failed"]))
    running, retries = item["seconds"] is None, int(_time(item["attempts"])) - count
    error = plain(item["error"] or "")
    notes = [
        amount(retries, "retry", "retries") if retries > 0 else "",
        (f"{failed} failed: " if count > 1 else "") + error if failed else "",
    ]
    start = _time(item["started"])
    return Bar(
        kind=kind,
        name=f"{_LABELS.get(kind, '')}{plain(item['name'])}" + (f" x {count:,}" if count > 1 else ""),
        step=plain(item["step"]),
        start=start,
        end=now if running else start + _time(item["seconds"]),
        state="running" if running else "failed" if failed and failed >= count else "done",
        note=", ".join(filter(None, notes)),
    )


def _with_path(steps: Sequence[Bar], end: float) -> list[Bar]:
    """The steps, those marked that the run was as long as: from its end, each time the one that ended last before."""
    marked: set[int] = set()
    at = end
    while True:
        before = [
            (bar.end, -bar.start, place)
            for place, bar in enumerate(steps)
            if place not in marked and bar.end <= at + _CLOSE_SECONDS and bar.start < at
        ]
        if not before:
            break
        place = max(before)[2]
        marked.add(place)
        at = steps[place].start
    return [replace(bar, path=place in marked) for place, bar in enumerate(steps)]


def _nested(steps: Sequence[Bar], spans: Sequence[Bar]) -> Iterator[Bar]:
    """What a step did comes below it; what belongs to a name that several have, below the one that had begun then."""
    homes: dict[int, list[Bar]] = {}
    for span in spans:
        fitting = [place for place, step in enumerate(steps) if step.name == span.step]
        begun = [place for place in fitting if steps[place].start <= span.start + _CLOSE_SECONDS]
        homes.setdefault((begun or fitting or [len(steps)])[-1], []).append(span)
    for place, step in enumerate(steps):
        yield step
        yield from homes.get(place, ())
    yield from homes.get(len(steps), ())


def ticks(seconds: float, most: int) -> list[float]:
    """Round times from 0 on, at most `most` of them up to `seconds`."""
    small = (factor * 10.0**power for power in range(-3, 0) for factor in (1, 2, 5))
    for step in itertools.chain(small, map(float, _TICKS)):
        # Binary fractions: 0.6 holds 0.2 a little less than three times.
        count = math.floor(seconds / step + 1e-9) + 1
        if count <= most:
            return [number * step for number in range(count)]
    return [0.0]


def tick_text(seconds: float) -> str:
    """A time on the scale: `0.05 s`, `12 s`, `2 min`, `1 min 30 s`."""
    if seconds < 60:  # noqa: PLR2004 - seconds in a minute
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"


def plain(value: object) -> str:
    """Text that moves no cursor and turns no line around, and is not without end."""
    text = "".join(one if one.isprintable() else "?" for one in str(value)[: _MOST_NAME + 1])
    return text if len(text) <= _MOST_NAME else f"{text[: _MOST_NAME - 3]}..."


def _time(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{plain(value)!r} is no number")
    return min(max(0.0, float(value)), 1e12)
