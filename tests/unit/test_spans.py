"""What a run keeps below its steps: names and times, bounded, without secrets, whatever the threads do."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.host import processes
from agent.host.clock import Deadline, SystemClock
from agent.host.side_by_side import SideBySide
from agent.report import record, status
from agent.report.record import Ending, Recorder
from agent.report.spans import MOST, MOST_ALIKE, NAME_LENGTH, Spans
from agent.report.status_file import StatusFile
from agent.secret import REDACTED, Redactor, Secret
from tests.unit import fakes
from tests.unit.fakes import HEAD, FakeClock

CANARY = "CANARYspans7hJ2"
DONE = Ending(outcome="verified", exit_code=0, text="x")


class Running:
    """The spans of a run whose clock is told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.spans = Spans(lambda: self.clock.monotonic() - 1000)

    def document(self) -> list[dict[str, object]]:
        return self.spans.document(str)


def test_a_span_is_told_while_it_goes_on_and_when_it_is_over() -> None:
    running = Running()
    running.clock.advance(2)
    doing = running.spans.begin("command", "docker pull", "images")
    assert running.document()[0]["seconds"] is None
    running.clock.advance(1.5)
    doing.again()
    doing.end("exit 1")
    running.clock.advance(1)
    doing.end("later")

    assert running.document() == [
        {
            "kind": "command",
            "name": "docker pull",
            "step": "images",
            "started": 2,
            "seconds": 1.5,
            "count": 1,
            "attempts": 2,
            "failed": 1,
            "error": "exit 1",
        }
    ]


def test_ten_thousand_of_a_kind_are_one_from_the_first_one_s_begin_to_the_last_one_s_end() -> None:
    running = Running()
    early = running.spans.begin("aws", "s3:GetObject", "bundle")
    for number in range(9_998):
        running.clock.advance(0.001)
        with running.spans.begin("aws", "s3:GetObject", "bundle") as doing:
            if number % 1000 == 0:
                doing.again()
    late = running.spans.begin("aws", "s3:GetObject", "bundle")
    other = running.spans.begin("aws", "s3:GetObject", "manifest")
    running.clock.advance(1)
    early.end()
    assert [span["seconds"] for span in running.document()] == [None, None]
    running.clock.advance(1)
    late.end("SlowDown")
    other.end()

    whole, apart = running.document()
    assert (whole["count"], whole["attempts"], whole["failed"], whole["error"]) == (10_000, 10_010, 1, "SlowDown")
    assert (whole["started"], whole["seconds"]) == (0, 11.998)
    assert (apart["step"], apart["count"]) == ("manifest", 1)


def test_a_few_of_a_kind_are_kept_apart() -> None:
    running = Running()
    for _ in range(MOST_ALIKE):
        running.spans.begin("aws", "s3:GetObject", "bundle").end()

    assert [span["count"] for span in running.document()] == [1] * MOST_ALIKE


def test_there_are_never_more_than_the_most_and_what_is_left_out_is_counted() -> None:
    running = Running()
    for number in range(3 * MOST):
        with running.spans.begin("image", f"host/{number}:{'x' * 5000}", "pull"):
            pass

    document = running.document()
    assert (len(document), running.spans.left_out) == (MOST, 2 * MOST)
    assert len(json.dumps(document)) < MOST * (NAME_LENGTH + 200)


def test_no_secret_gets_in_not_even_one_that_is_hidden_or_cut_in_two() -> None:
    redactor = Redactor()
    redactor.learn([Secret(CANARY)])
    running = Running()
    hidden = f"{CANARY[:6]}\x1b{CANARY[6:]}"
    for name in (f"host/app:{CANARY}", "x" * (NAME_LENGTH - 9) + CANARY, f"\x07{CANARY}", hidden):
        running.spans.begin("image", name, "pull").end(CANARY)

    text = json.dumps(running.spans.document(redactor.clean))
    assert CANARY[:8] not in text.replace("?", "")[:400]
    assert f"host/app:{REDACTED}" in text
    assert [span["error"] for span in running.spans.document(redactor.clean)] == [REDACTED] * 4
    assert CANARY not in text


def test_what_began_before_the_run_is_told_from_now_on() -> None:
    running = Running()
    running.clock.advance(5)
    running.spans.begin("service", "new", "verify", 2).end()
    running.spans.begin("service", "old", "verify", 86400).end()

    assert [(span["name"], span["started"]) for span in running.document()] == [("new", 3), ("old", 5)]


@pytest.mark.parametrize(("raised", "code"), [(HostError("x", "y", "z"), "host"), (OSError("secret"), "OSError")])
def test_an_exception_is_told_by_its_code_or_its_name_never_by_its_words(raised: Exception, code: str) -> None:
    running = Running()
    with pytest.raises(type(raised)), running.spans.begin("imds", "token", "identity"):
        raise raised

    assert running.document()[0]["error"] == code


def test_outside_of_any_step_nothing_is_kept_and_nothing_fails() -> None:
    recorder = Recorder(HEAD, FakeClock(), [])
    with record.doing("aws", "s3:GetObject") as doing:
        doing.again()

    assert recorder.spans.document(str) == []


def test_a_thread_s_spans_belong_to_the_step_that_started_it_and_none_is_lost() -> None:
    recorder = Recorder(HEAD, SystemClock(), [])
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        for _ in range(500):
            with record.doing("aws", "s3:GetObject") as doing:
                doing.again()

    with recorder.step("bundle", "x"), SideBySide(Deadline.after(SystemClock(), 20)) as jobs:
        for _ in range(8):
            jobs.start("work", work)

    (span,) = recorder.spans.document(str)
    assert (span["step"], span["count"], span["attempts"]) == ("bundle", 4000, 8000)
    assert span["seconds"] is not None


def test_what_still_goes_on_at_the_end_of_the_run_is_unfinished(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "status.json"
    recorder = Recorder(fakes.head(os.getpid()), clock, [])
    recorder.attach(StatusFile(path, clock, Redactor(), recorder.spans))
    with recorder.step("verify", "x"):
        record.doing("service", "api")
        clock.advance(4)
    between = status.read(path)
    recorder.finish(DONE)
    document = status.read(path)

    assert between is not None
    assert document is not None
    assert between["spans"][0]["seconds"] is None
    assert [(span["seconds"], span["error"]) for span in document["spans"]] == [(4, "unfinished")]
    assert document["spans_left_out"] == 0


def test_the_status_says_when_the_run_began_also_when_it_is_attached_late(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "status.json"
    recorder = Recorder(fakes.head(os.getpid()), clock, [])
    clock.advance(30)
    recorder.attach(StatusFile(path, clock, Redactor(), recorder.spans))
    document = status.read(path)

    assert document is not None
    assert processes.since(document["run"]["began_ticks"]) == pytest.approx(30, abs=5)


def test_spans_cost_no_write_of_their_own(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "status.json"
    recorder = Recorder(fakes.head(os.getpid()), clock, [])
    recorder.attach(StatusFile(path, clock, Redactor(), recorder.spans))
    with recorder.step("bundle", "x"):
        before = path.stat().st_ino
        for _ in range(100):
            clock.advance(1)
            record.doing("aws", "s3:GetObject").end()
        assert path.stat().st_ino == before


def test_a_secret_that_is_learnt_late_is_taken_out_of_what_was_kept_before(tmp_path: Path) -> None:
    clock, path, redactor = FakeClock(), tmp_path / "status.json", Redactor()
    recorder = Recorder(fakes.head(os.getpid()), clock, [])
    recorder.attach(StatusFile(path, clock, redactor, recorder.spans))
    with recorder.step("pull", "x"):
        record.doing("image", f"host/app:{CANARY}").end()
    redactor.learn([Secret(CANARY)])
    recorder.finish(DONE)

    assert CANARY not in path.read_text()
