"""The history of runs: one line each, bounded, and readable whatever a crash has left of it."""

from __future__ import annotations

import json
from pathlib import Path

from agent.errors import HostError
from agent.report import history
from agent.report.history import History
from agent.report.record import Costs, Ending, RunHead
from agent.secret import Redactor, Secret
from tests.unit.fakes import FakeClock

HEAD = RunHead("abc123", "delphi-agent update --ecr-tag 2", 7, "ubuntu (sudo) from 203.0.113.7", "2026-01-02", 300.0)


def run(path: Path, *, text: str = "release 2: fine", redactor: Redactor | None = None, code: int = 0) -> None:
    sink = History(path, FakeClock(), redactor or Redactor())
    sink.began(HEAD)
    errors = (HostError("writing x", text, "free some space"),) if code else ()
    sink.finished(Ending(outcome="done", exit_code=code, text=text, errors=errors), 1.23456, Costs())


def test_a_line_says_who_ran_what_and_how_it_ended(tmp_path: Path) -> None:
    run(tmp_path / "history.jsonl", code=74)
    (line,) = history.read(tmp_path / "history.jsonl", 10)

    assert (line["run"], line["command"], line["user"]) == (HEAD.id, HEAD.command, HEAD.user)
    assert (line["exit_code"], line["seconds"], line["errors"]) == (74, 1.235, ["writing x: release 2: fine"])
    assert (tmp_path / "history.jsonl").stat().st_mode & 0o7777 == 0o600


def test_no_known_secret_gets_into_it(tmp_path: Path) -> None:
    redactor = Redactor()
    redactor.learn([Secret("CANARYhistory")])
    run(tmp_path / "history.jsonl", text="it said CANARYhistory", redactor=redactor)

    assert "CANARY" not in (tmp_path / "history.jsonl").read_text()


def test_only_the_last_runs_are_read_and_a_line_cut_off_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for number in range(5):
        run(path, text=f"{number}")
    with path.open("a") as file:
        file.write('{"run": "cut')

    assert [line["text"] for line in history.read(path, 3)] == ["3", "4"]


def test_it_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps({"run": str(n), "text": "x" * 1000}) + "\n" for n in range(1200)))
    run(path, text="the last")

    assert path.stat().st_size < history.MOST_BYTES
    assert history.read(path, 1)[0]["text"] == "the last"
    assert path.stat().st_mode & 0o7777 == 0o600


def test_a_host_on_which_nothing_was_ever_kept_gets_no_file(tmp_path: Path) -> None:
    run(tmp_path / "absent" / "history.jsonl")

    assert not (tmp_path / "absent").exists()
    assert history.read(tmp_path / "absent" / "history.jsonl", 3) == []
