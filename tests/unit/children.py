"""Real Python processes for tests that need one of their own: clean, with nothing in their environment."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """How the process ended."""

    status: int
    out: str
    err: str


def command(code: str, *arguments: str) -> list[str]:
    """The command line that runs `code` with the project importable and no bytecode written."""
    return [sys.executable, "-B", "-c", textwrap.dedent(code), *arguments]


def python(code: str, *, env: Mapping[str, str] | None = None, arguments: Sequence[str] = ()) -> Ended:
    """Run `code` to its end; a traceback fails the test."""
    ended = subprocess.run(
        command(code, *arguments),
        cwd=PROJECT,
        env=dict(env or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)
