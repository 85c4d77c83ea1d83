"""The last words of a failed boot: short, plain, without secrets, and never in the way."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import pytest

from agent.cli.terminal import Surroundings
from agent.errors import DeployFailed, HostError
from agent.report.farewell import MOST_LINES, Farewell
from agent.report.record import Costs, Ending, ServiceLine
from agent.secret import Redactor, Secret
from tests.unit.fakes import HEAD


def told(console: Path, ending: Ending) -> None:
    redactor = Redactor()
    redactor.learn([Secret("hunter2hunter2")])
    sink = Farewell(console, redactor)
    sink.began(HEAD)
    sink.finished(ending, 12.5, Costs())


def failed(*details: str) -> Ending:
    error = DeployFailed("starting", "web is unhealthy", "look at it", details=details)
    lines = [ServiceLine("web", "unhealthy"), ServiceLine("db", "healthy")]
    return Ending(outcome="failed", exit_code=76, text="not taken back", errors=(error,), services=lines)


def test_outcome_code_cause_evidence_and_next_step_are_on_the_console(tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.touch()

    told(console, failed("\x1b[31mred\x1b[0m\x07 hunter2hunter2", "last"))

    assert console.read_text().splitlines() == [
        "",
        "delphi-agent: failed, exit 76, after 12.5 s: not taken back",
        f"delphi-agent: run {HEAD.id}, `delphi-agent init`, began {HEAD.started_at}",
        "  error [deploy-failed] starting: web is unhealthy",
        "    next: look at it",
        "    | red [redacted]",
        "    | last",
        "  service web: unhealthy",
        "delphi-agent: more: `delphi-agent status`, `journalctl -u delphi-agent`, `delphi-agent support-bundle`",
    ]


def test_however_much_there_is_to_say_it_is_short(tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.touch()
    errors = [HostError("a", "b", "c", details=["x" * 10_000] * 100) for _ in range(9)]

    told(console, Ending(outcome="failed", exit_code=74, text="", errors=errors))

    lines = console.read_text().splitlines()
    assert len(lines) == MOST_LINES + 1
    assert max(len(line) for line in lines) <= 400


def test_a_run_that_ended_well_says_nothing(tmp_path: Path) -> None:
    console = tmp_path / "console"
    console.touch()

    told(console, Ending(outcome="verified", exit_code=0, text=""))

    assert console.read_bytes() == b""


def test_a_console_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    told(tmp_path / "console", failed())

    assert not (tmp_path / "console").exists()


def test_a_console_that_nobody_reads_holds_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / "console"
    os.mkfifo(path)
    told(path, failed())  # nobody has it open

    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        told(path, failed())  # it is full
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize(
    ("environ", "unattended"),
    [
        ({}, False),
        ({"INVOCATION_ID": "1"}, True),
        ({"JOURNAL_STREAM": "8:1"}, True),
        ({"INVOCATION_ID": "1", "SSH_CONNECTION": "203.0.113.7 1 10.0.0.1 22"}, False),
        ({"INVOCATION_ID": "1", "SUDO_USER": "ubuntu"}, False),
    ],
)
def test_a_boot_is_what_a_unit_started_and_no_person(environ: dict[str, str], *, unattended: bool) -> None:
    made = Surroundings(environ=environ, out=io.StringIO(), err=io.StringIO(), argv=["init"], inp=io.StringIO())

    assert made.unattended == unattended
