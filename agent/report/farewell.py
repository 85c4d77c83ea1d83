"""The last words of a failed boot, on the console: `get-console-output` shows them when the host is gone."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from agent.errors import AgentError
from agent.report.last_word import LastWord
from agent.report.record import Ending, RunHead
from agent.report.words import duration
from agent.secret import Redactor

MOST_LINES = 30
MOST_WIDTH = 400
# Lines of evidence of one error; the whole is in the log and in the status.
MOST_EVIDENCE = 12

_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x1f\x7f-\x9f]")


class Farewell(LastWord):
    """A sink that tells the console how a run failed: verdict, causes, next steps, the end of the evidence.

    At most `MOST_LINES` plain lines, with known secrets taken out. A console that is not there, or does not take them
    at once, is left alone: nothing is waited for, and nothing fails. A run that ends well writes nothing.
    """

    def __init__(self, console: Path, redactor: Redactor) -> None:
        super().__init__()
        self._console = console
        self._redactor = redactor

    def ended_as(self, head: RunHead, ending: Ending, seconds: float) -> None:
        """The last words, when it has failed."""
        if ending.exit_code == 0:
            return
        lines = [*_lines(head, ending, seconds)][:MOST_LINES]
        # A serial line shows each as it comes: the words of the kernel before it may have no line end.
        text = "\n" + "".join(f"{self._plain(line)}\n" for line in lines)
        with contextlib.suppress(OSError):
            self._write(text.encode("utf-8", "replace"))

    def _plain(self, line: str) -> str:
        # First without control codes: one in the middle of a secret would hide it from the redactor.
        return self._redactor.clean(_CONTROL.sub("", line.expandtabs()))[:MOST_WIDTH]

    def _write(self, data: bytes) -> None:
        # Never made when it is not there, never waited for (a stopped terminal), never this process's terminal.
        console = os.open(self._console, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            while data:
                data = data[os.write(console, data) :]
        finally:
            os.close(console)


def _lines(head: RunHead, ending: Ending, seconds: float) -> Iterator[str]:
    yield f"delphi-agent: {ending.outcome}, exit {ending.exit_code}, after {duration(seconds)}: {ending.text}"
    yield f"delphi-agent: run {head.id}, `{head.command}`, began {head.started_at}"
    for error in ending.errors:
        yield from _told(error)
    unwell = [line for line in ending.services if line.state not in {"healthy", "running", "done"}]
    for line in unwell:
        yield f"  service {line.name}: {line.state}"
    yield "delphi-agent: more: `delphi-agent status`, `journalctl -u delphi-agent`, `delphi-agent support-bundle`"


def _told(error: AgentError) -> Iterator[str]:
    yield f"  error [{error.code}] {error}"
    yield f"    next: {error.next_step}"
    more = len(error.details) - MOST_EVIDENCE
    if more > 0:
        yield f"    ... {more} lines before these"
    for line in error.details[-MOST_EVIDENCE:]:
        yield f"    | {line}"
