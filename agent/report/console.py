"""A run on a terminal: each step as it goes, what it waits for and since when, and a short summary at the end.

Without a live terminal (a pipe, `TERM=dumb`) the same lines come once, finished, with no control codes and no colour.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Mapping
from typing import TextIO

from agent import __version__
from agent.errors import AgentError
from agent.host.clock import Clock
from agent.report.log import LEVELS
from agent.report.record import Costs, Ending, Level, RunHead, Step
from agent.report.words import amount, duration
from agent.secret import Redactor

_TICK_SECONDS = 0.1
_COLOURS = {"green": "32", "red": "31", "yellow": "33", "dim": "2", "bold": "1"}
# What containers and tools say may move the cursor or set the title: only the console's own colours get through.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_OWN = frozenset(f"\x1b[{code}m" for code in (*_COLOURS.values(), "0"))
_MARKS = {
    True: {"done": "✓", "failed": "✗", "interrupted": "■", "warning": "!", "running": "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"},
    False: {"done": "ok", "failed": "FAIL", "interrupted": "stop", "warning": "!", "running": "-\\|/"},
}
_NAME_WIDTH = 13


class Console:
    """A sink that draws the run; `live` redraws the running steps in place, `colour` paints."""

    def __init__(
        self, stream: TextIO, clock: Clock, redactor: Redactor, level: str, *, live: bool, colour: bool
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._began = clock.monotonic()
        self._redactor = redactor
        self._level = LEVELS[level]
        # Above info only what is wrong is told: the terminal belongs to the command's own output.
        self._steps = self._level <= LEVELS["info"]
        self._live = live and self._steps
        self._colour = colour
        self._marks = _MARKS["utf" in (stream.encoding or "").lower()]
        self._running: list[Step] = []
        self._drawn = 0
        self._frame = 0
        self._lock = threading.RLock()
        self._stop = threading.Event()

    def began(self, head: RunHead) -> None:
        """The headline; the ticker starts."""
        self._began = self._clock.monotonic()
        title = self._paint("bold", "delphi-agent")
        command = head.command.removeprefix("delphi-agent ")
        if not self._steps:
            return
        self._print(f"{title} {__version__}  {command}  (deadline {head.deadline_seconds:.0f} s)")
        if self._live:
            threading.Thread(target=self._tick, name="console", daemon=True).start()

    def started(self, step: Step) -> None:
        """The step joins the live lines."""
        with self._lock:
            self._running.append(step)
            self._redraw()

    def progressed(self, step: Step) -> None:
        """The ticker shows it at its next round."""

    def ended(self, step: Step) -> None:
        """The step's last line, for good."""
        with self._lock:
            self._running.remove(step)
            if not self._steps:
                return
            colour = {"done": "green", "failed": "red"}.get(step.state, "yellow")
            mark = self._paint(colour, self._marks[step.state])
            text = self._fit(step.detail or step.doing, step.seconds or 0.0)
            self._print(f" {mark} {step.name:<{_NAME_WIDTH}}{text}")

    def said(self, level: Level, event: str, text: str, fields: Mapping[str, object]) -> None:
        """A warning or message between the steps."""
        if LEVELS[level] < self._level:
            return
        mark = self._paint("yellow", self._marks["warning"]) if level in {"warning", "error"} else " "
        with self._lock:
            self._print(f" {mark} {text}" if level != "debug" else self._paint("dim", f"   {text}"))

    def finished(self, ending: Ending, seconds: float, costs: Costs) -> None:
        """The summary: release, services and their health, time and costs; or what failed and what to do."""
        self._stop.set()
        with self._lock:
            self._running.clear()
            if self._steps:
                self._print("")
            for line in ending.services:
                colour = "green" if line.state in {"healthy", "running", "done"} else "red"
                self._print(f"   {line.name:<16}{self._paint(colour, f'{line.state:<10}')} {line.note}".rstrip())
            for error in ending.errors:
                self._tell_error(error)
            if self._steps or ending.outcome == "interrupted":
                colour = "green" if ending.exit_code == 0 else "red"
                tail = f"{duration(seconds)}, {_costs(costs)}, exit {ending.exit_code}"
                self._print(f"{self._paint(colour, ending.outcome)}: {ending.text} ({tail})")

    def _tell_error(self, error: AgentError) -> None:
        self._print(f"{self._paint('red', 'error')} [{error.code}] {error}")
        for detail in error.details:
            self._print(f"    {detail}")
        self._print(f"  {self._paint('bold', 'next:')} {error.next_step}")

    def _tick(self) -> None:
        while not self._stop.wait(_TICK_SECONDS):
            with self._lock:
                if self._stop.is_set():
                    return
                self._frame += 1
                self._redraw()

    def _print(self, line: str) -> None:
        with self._lock:
            self._clear()
            self._stream.write(self._clean(line) + "\n")
            self._redraw()

    def _clear(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _redraw(self) -> None:
        if not self._live:
            self._stream.flush()
            return
        self._clear()
        for step in self._running:
            frames = self._marks["running"]
            now = self._clock.monotonic() - self._began
            waited = duration(max(0.0, now - step.waiting_since))
            waits = f"waiting for {step.waiting_for}, {waited} so far" if step.waiting_for else ""
            text = ", ".join(part for part in (step.detail, waits) if part) or step.doing
            mark = frames[self._frame % len(frames)]
            line = f" {mark} {step.name:<{_NAME_WIDTH}}{self._fit(text, max(0.0, now - step.started))}"
            self._stream.write(self._clean(line) + "\n")
            self._drawn += 1
        self._stream.flush()

    def _fit(self, text: str, seconds: float) -> str:
        width = max(40, shutil.get_terminal_size((100, 24)).columns) if self._live else 100
        room = width - _NAME_WIDTH - 15
        if self._live and len(text) > room:
            text = f"{text[: room - 3]}..."
        return f"{text:<{room}} {duration(seconds):>8}"

    def _clean(self, line: str) -> str:
        own = _OWN if self._colour else frozenset()
        return self._redactor.clean(_CONTROL.sub(lambda match: match[0] if match[0] in own else "", line))

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self._colour else text


def _costs(costs: Costs) -> str:
    parts = [f"{amount(costs.calls, 'AWS call')}", f"{amount(costs.retries, 'retry', 'retries')}"]
    if costs.throttled:
        parts.append(f"{costs.throttled} throttled")
    return ", ".join(parts)
