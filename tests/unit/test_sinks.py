"""What people and programs see: JSON lines, the console, the status file; none of them shows a secret."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.streams import SteadyStream
from agent.errors import DeployFailed, HostError
from agent.report import status
from agent.report.console import Console
from agent.report.log import JsonLog, clean
from agent.report.record import Costs, Ending, Recorder, ServiceLine, Sink
from agent.report.status_file import StatusFile
from agent.secret import REDACTED, Redactor, Secret
from tests.unit import children, fakes
from tests.unit.fakes import EPOCH, HEAD, FakeClock

CANARY = "c4naryV4lue"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def redactor() -> Redactor:
    made = Redactor()
    made.learn([Secret(CANARY)])
    return made


FAILED = Ending(
    outcome="failed",
    exit_code=76,
    text=f"the host was changed {CANARY}",
    errors=(
        DeployFailed("waiting", f"api is unhealthy {CANARY}", f"look {CANARY}", details=[f"log: {CANARY}", "log: two"]),
        HostError("writing", "disk full", "free some"),
    ),
    services=(ServiceLine("api", "unhealthy", "recreated"), ServiceLine("db", "healthy")),
)
VERIFIED = Ending(
    outcome="verified",
    exit_code=0,
    text="release 3",
    release={"number": 3, "tag": "v3"},
    services=(ServiceLine("api", "healthy"),),
)


def play(sink: Sink, clock: FakeClock, ending: Ending = FAILED) -> None:
    """A short run with every kind of event, and a secret in every place that takes a text."""
    recorder = Recorder(HEAD, clock, [sink])
    with recorder.step("bootstrap", f"reading {CANARY}") as step:
        clock.advance(0.25)
        recorder.progress(step, detail=f"12 variables {CANARY}", waiting_for=f"x {CANARY}")
        recorder.count(step, Costs(calls=3, retries=1))
    recorder.say("warning", "bootstrap.warning", f"mind {CANARY}", names=["a", {"b": f"deep {CANARY}"}], number=1)
    recorder.say("debug", "x", "detail")
    with pytest.raises(HostError), recorder.step("pull", "pulling"):
        raise HostError("x", f"y {CANARY}", "z")
    recorder.finish(ending)


class Full(io.BytesIO):
    """Takes nothing."""

    def write(self, data: object) -> int:
        raise OSError(28, "No space left on device")


# --- JSON lines


def logged(level: str = "debug", ending: Ending = FAILED) -> list[dict[str, Any]]:
    stream, clock = io.StringIO(), FakeClock()
    play(JsonLog(stream, clock, redactor(), level), clock, ending)
    assert CANARY not in stream.getvalue()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_event_is_one_line_of_json_with_run_time_and_level() -> None:
    lines = logged()

    assert [line["event"] for line in lines] == [
        "run.started",
        "step.started",
        "step.progress",
        "step.finished",
        "bootstrap.warning",
        "x",
        "step.started",
        "step.failed",
        "run.error",
        "run.error",
        "run.finished",
    ]
    assert {HEAD.id} == {line["run"] for line in lines}
    assert lines[0]["time"] == EPOCH.isoformat(timespec="milliseconds")
    assert {"info", "debug", "warning", "error"} == {line["level"] for line in lines}


def test_a_finished_step_has_its_time_and_costs_as_numbers() -> None:
    line = logged()[3]

    assert (line["step"], line["seconds"], line["calls"], line["retries"]) == ("bootstrap", 0.25, 3, 1)


def test_secrets_are_taken_out_however_deep_they_are() -> None:
    line = logged()[4]

    assert line["names"] == ["a", {"b": f"deep {REDACTED}"}]
    assert line["number"] == 1


def test_an_error_has_fields_of_its_own() -> None:
    line = logged()[8]

    assert (line["code"], line["exit_code"], line["doing"]) == ("deploy-failed", 76, "waiting")
    assert line["details"] == [f"log: {REDACTED}", "log: two"]


def test_the_last_line_has_the_verdict() -> None:
    failed, verified = logged()[-1], logged(ending=VERIFIED)[-1]

    assert (failed["level"], failed["outcome"], failed["exit_code"]) == ("error", "failed", 76)
    assert failed["services"] == {"api": "unhealthy", "db": "healthy"}
    assert (verified["level"], verified["release"], verified["calls"]) == ("info", {"number": 3, "tag": "v3"}, 3)


def test_what_is_below_the_level_is_not_logged() -> None:
    assert {"info", "warning", "error"} == {line["level"] for line in logged("info")}
    assert {"error"} == {line["level"] for line in logged("error")}


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
@pytest.mark.slow
def test_cleaning_keeps_everything_that_is_no_secret(value: object) -> None:
    assert value == clean(value, Redactor())


# --- the console


def drawn(
    ending: Ending = FAILED, *, level: str = "info", live: bool = False, colour: bool = False, encoding: str = "utf-8"
) -> str:
    raw, clock = io.BytesIO(), FakeClock()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", write_through=True)
    console = Console(stream, clock, redactor(), level, live=live, colour=colour)
    play(console, clock, ending)
    text = raw.getvalue().decode(encoding)
    assert CANARY not in text
    return text


def test_a_pipe_gets_no_colours_and_no_control_codes() -> None:
    assert not CONTROL.search(drawn())


def test_a_pipe_gets_no_control_codes_of_children_either() -> None:
    logs = ["\x1b[31mred\x1b[0m", "a\rb", "bell\x07", "\x1b]0;title\x07", "tab\tkept"]
    text = drawn(replace(FAILED, errors=(DeployFailed("waiting", "\x1b[1mbold", "look", details=logs),)))

    assert not CONTROL.search(text.replace("\t", ""))
    assert "tab\tkept" in text
    assert "red" in text


def test_a_step_comes_once_and_finished() -> None:
    lines = [line for line in drawn().splitlines() if "bootstrap" in line]

    assert len(lines) == 1
    assert lines[0].startswith(" ✓ bootstrap")
    assert lines[0].endswith("0.25 s")
    assert f"12 variables {REDACTED}" in lines[0]


def test_a_terminal_without_utf8_gets_plain_marks() -> None:
    text = drawn(encoding="ascii")

    assert " ok bootstrap" in text
    assert " FAIL pull" in text


def test_the_summary_tells_services_errors_next_steps_and_the_verdict() -> None:
    text = drawn()

    assert "   api             unhealthy  recreated\n" in text
    assert f"error [deploy-failed] waiting: api is unhealthy {REDACTED}\n    log: {REDACTED}\n    log: two\n" in text
    assert f"  next: look {REDACTED}\n" in text
    assert "error [host] writing: disk full\n" in text
    assert text.endswith(f"failed: the host was changed {REDACTED} (0.25 s, 3 AWS calls, 1 retry, exit 76)\n")


@pytest.mark.parametrize(("level", "shown"), [("debug", True), ("info", False)])
def test_debug_messages_are_shown_when_asked_for(level: str, *, shown: bool) -> None:
    assert shown == ("   detail\n" in drawn(level=level))


def test_a_terminal_gets_the_colours_of_the_console_and_no_other_control_codes() -> None:
    logs = ["\x1b[2J\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "a\rb"]
    text = drawn(replace(FAILED, errors=(DeployFailed("waiting", "x", "look", details=logs),)), colour=True)

    assert {f"\x1b[{code}m" for code in (0, 1, 31, 32, 33)} == set(re.findall(r"\x1b[^m]*m?", text))
    assert not CONTROL.search(text.replace("\x1b", ""))
    assert "\x9b" not in text


def test_colour_only_where_it_is_wanted() -> None:
    assert "\x1b[32m" in drawn(colour=True)
    assert "\x1b[32m" not in drawn(live=True)


def test_a_live_terminal_shows_what_a_step_waits_for_and_for_how_long() -> None:
    clock, stream = FakeClock(), io.StringIO()
    console = Console(stream, clock, redactor(), "info", live=True, colour=False)
    recorder = Recorder(HEAD, clock, [console])
    with recorder.step("identity", "finding out"):
        recorder.progress(recorder.steps[0], waiting_for=f"IMDS ({CANARY})")
        clock.advance(7)
        began = time.monotonic()
        while "7.0 s so far" not in stream.getvalue() and time.monotonic() - began < 3:
            time.sleep(0.01)
    recorder.finish(VERIFIED)

    assert f"waiting for IMDS ({REDACTED}), 7.0 s so far" in stream.getvalue()
    assert CANARY not in stream.getvalue()


def test_after_the_end_nothing_is_drawn_any_more() -> None:
    clock, stream = FakeClock(), io.StringIO()
    play(Console(stream, clock, redactor(), "info", live=True, colour=False), clock)
    text = stream.getvalue()
    time.sleep(0.25)

    assert text == stream.getvalue()
    assert "console" not in {thread.name for thread in threading.enumerate()}


def test_a_stream_that_breaks_is_left_alone_and_ends_nothing() -> None:
    # A device that is always full fails like a terminal that is gone.
    stream = SteadyStream(io.TextIOWrapper(Full(), write_through=True))
    for _ in range(3):
        assert stream.write("lost\n") == 5
        stream.flush()

    assert stream.broken


def test_a_stream_without_utf8_gets_the_rest_of_the_text() -> None:
    raw = io.BytesIO()
    stream = SteadyStream(io.TextIOWrapper(raw, "ascii", write_through=True))
    stream.write("✓ done")

    assert raw.getvalue() == b"\\u2713 done"


# --- the status file


def status_of(tmp_path: Path, ending: Ending = FAILED) -> dict[str, Any]:
    clock = FakeClock()
    play(StatusFile(tmp_path / "run" / "status.json", clock, redactor()), clock, ending)
    assert CANARY not in (tmp_path / "run" / "status.json").read_text()
    document = status.read(tmp_path / "run" / "status.json")
    assert document is not None
    return document


def test_the_status_tells_the_whole_run(tmp_path: Path) -> None:
    document = status_of(tmp_path)

    assert (document["schema"], document["outcome"], document["exit_code"], document["ready"]) == (
        1,
        "failed",
        76,
        False,
    )
    assert document["run"]["id"] == HEAD.id
    assert (document["run"]["seconds"], document["totals"]["calls"]) == (0.25, 3)
    assert [(step["name"], step["state"]) for step in document["steps"]] == [("bootstrap", "done"), ("pull", "failed")]
    assert document["warnings"] == [f"mind {REDACTED}"]
    assert document["errors"][0]["next_step"] == f"look {REDACTED}"
    assert document["services"][0] == {"name": "api", "state": "unhealthy", "note": "recreated"}


def test_a_verified_run_is_ready(tmp_path: Path) -> None:
    document = status_of(tmp_path, VERIFIED)

    assert (document["ready"], document["exit_code"], document["stage"]) == (True, 0, None)
    assert document["release"] == {"number": 3, "tag": "v3"}


def test_everybody_may_read_the_status(tmp_path: Path) -> None:
    status_of(tmp_path)

    assert stat.S_IMODE((tmp_path / "run" / "status.json").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o755


def test_the_status_is_whole_and_current_while_the_run_goes_on(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "status.json"
    recorder = Recorder(fakes.head(os.getpid()), clock, [StatusFile(path, clock, redactor())])
    seen = []
    with recorder.step("pull", "pulling the images") as step:
        seen.append(status.read(path))
        clock.advance(1)
        recorder.progress(step, detail="3 of 9")
        seen.append(status.read(path))
    first, second = seen

    assert first is not None
    assert second is not None
    assert (first["outcome"], first["stage"], first["exit_code"], first["ready"]) == ("running", "pull", None, False)
    assert first["steps"][0]["seconds"] is None
    assert second["steps"][0]["detail"] == "3 of 9"


def test_fast_progress_is_not_written_each_time(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "status.json"
    recorder = Recorder(fakes.head(os.getpid()), clock, [StatusFile(path, clock, redactor())])
    written = set()
    with recorder.step("pull", "pulling") as step:
        for number in range(100):
            clock.advance(0.01)
            recorder.progress(step, detail=f"{number} of 100")
            written.add(path.read_text())

    assert len(written) <= 4


def test_readers_never_see_half_a_status(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "status.json"
    recorder = Recorder(fakes.head(os.getpid()), clock, [StatusFile(path, clock, redactor())])
    stop, faults, looks = threading.Event(), list[Exception](), [0]

    def look() -> None:
        while not stop.is_set():
            try:
                assert status.read(path) is not None
                looks[0] += 1
            except Exception as error:  # noqa: BLE001 - told below
                faults.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(60):
        with recorder.step(f"step-{number}", "x" * 2000):
            pass
    stop.set()
    thread.join()

    assert faults == []
    assert looks[0] > 0


def test_a_run_whose_process_is_gone_is_shown_as_died(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    clock, path = FakeClock(), tmp_path / "status.json"
    recorder = Recorder(fakes.head(child.pid), clock, [StatusFile(path, clock, redactor())])
    with recorder.step("pull", "pulling"):
        alive = status.read(path)
        child.kill()
        child.wait()
        dead = status.read(path)

    assert alive is not None
    assert dead is not None
    assert (alive["outcome"], dead["outcome"], dead["ready"]) == ("running", "died", False)
    assert str(child.pid) in dead["text"]


def test_a_run_whose_pid_has_another_process_now_is_shown_as_died(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "status.json"
    Recorder(fakes.head(os.getpid()), clock, [StatusFile(path, clock, redactor())])
    document = json.loads(path.read_text())
    document["run"]["pid_started"] -= 1
    path.write_text(json.dumps(document))
    seen = status.read(path)

    assert seen is not None
    assert seen["outcome"] == "died"


def test_a_finished_run_stays_as_it_ended_although_its_process_is_gone(tmp_path: Path) -> None:
    assert status_of(tmp_path, VERIFIED)["outcome"] == "verified"


def test_no_status_is_none(tmp_path: Path) -> None:
    assert status.read(tmp_path / "status.json") is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"run": {}}', '{"run": {"pid": 1, "pid_started": 1}}']
)
def test_a_status_that_cannot_be_read_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "status.json").write_text(content)

    with pytest.raises(HostError, match="reading"):
        status.read(tmp_path / "status.json")


def test_structlog_writes_to_a_closed_terminal_without_an_error() -> None:
    code = """
        import os, sys
        from agent.cli.streams import SteadyStream
        from agent.host.clock import SystemClock
        from agent.report.log import JsonLog
        from agent.secret import Redactor

        reader, writer = os.pipe()
        os.close(reader)
        log = JsonLog(SteadyStream(os.fdopen(writer, "w")), SystemClock(), Redactor(), "info")
        log.said("info", "x", "y", {})
        print("went on")
        os._exit(0) if sys.stdout.flush() is None else None
    """

    assert children.python(code).out == "went on\n"
