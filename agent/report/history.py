"""`history.jsonl`: one line per run that could change the host: who, what, how it ended."""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from pathlib import Path
from typing import Any

from agent import __version__
from agent.errors import HostError
from agent.host import files, json_input
from agent.host.clock import Clock
from agent.report.last_word import LastWord
from agent.report.log import clean
from agent.report.record import Ending, RunHead
from agent.secret import Redactor

SCHEMA = 1
# When the file has grown to this, the older half of its lines goes: some thousand runs.
MOST_BYTES = 1 << 20


class History(LastWord):
    """A sink that appends one line at the end of the run. A run that is killed leaves none."""

    def __init__(self, path: Path, clock: Clock, redactor: Redactor) -> None:
        super().__init__()
        self._path = path
        self._clock = clock
        self._redactor = redactor

    def ended_as(self, head: RunHead, ending: Ending, seconds: float) -> None:
        """The line. What is deployed then is in `release`; a run that could not be recorded is not held up by that."""
        line = {
            "schema": SCHEMA,
            "agent": __version__,
            "run": head.id,
            "command": head.command,
            "user": head.user,
            "started_at": head.started_at,
            "finished_at": self._clock.now().isoformat(timespec="milliseconds"),
            "seconds": round(seconds, 3),
            "outcome": ending.outcome,
            "exit_code": ending.exit_code,
            "text": ending.text,
            "errors": [str(error) for error in ending.errors],
            "release": ending.release,
        }
        with contextlib.suppress(OSError, HostError):
            self._append(json.dumps(clean(line, self._redactor)) + "\n")

    def _append(self, line: str) -> None:
        if not self._path.parent.is_dir():
            return  # the run has not come as far as to keep anything
        if self._path.exists() and self._path.stat().st_size > MOST_BYTES:
            lines = self._path.read_bytes().splitlines(keepends=True)
            files.write(self._path, b"".join(lines[len(lines) // 2 :]), 0o600)
        with self._path.open("a+b") as file:
            self._path.chmod(0o600)
            # A line that a crash has cut off must not take this one with it.
            whole = file.tell() == 0 or os.pread(file.fileno(), 1, file.tell() - 1) == b"\n"
            file.write((line if whole else f"\n{line}").encode())


def read(path: Path, most: int) -> list[dict[str, Any]]:
    """The last `most` runs, the oldest first; a line that was cut off by a crash is left out."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = deque(file, maxlen=most)
    except FileNotFoundError:
        return []
    runs = []
    for line in lines:
        with contextlib.suppress(ValueError):
            document = json_input.loads(line)
            if isinstance(document, dict) and "run" in document:
                runs.append(document)
    return runs
