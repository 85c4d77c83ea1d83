"""What systemd is told: where the boot stands, how long it may take, and that it is ready only when it is."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.report.notify import Notify
from agent.report.record import Ending, Recorder
from agent.secret import Redactor, Secret
from tests.unit.fakes import HEAD, FakeClock


@contextmanager
def supervisor(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(str(path))
        inbox.settimeout(0.2)
        yield inbox


def heard(inbox: socket.socket) -> list[list[str]]:
    found = []
    while True:
        try:
            found.append(inbox.recv(65536).decode().splitlines())
        except TimeoutError:
            return found


def test_a_boot_says_its_steps_how_long_it_may_take_and_that_it_is_ready(tmp_path: Path) -> None:
    clock, redactor = FakeClock(), Redactor()
    redactor.learn([Secret("hunter2hunter2")])
    with supervisor(tmp_path / "notify") as inbox:
        recorder = Recorder(HEAD, clock, [Notify(str(tmp_path / "notify"), clock, redactor)])
        clock.advance(100)
        with recorder.step("pull", "pulling\nthe images") as step:
            clock.advance(2)
            recorder.progress(step, waiting_for="hunter2hunter2")
            recorder.progress(step, waiting_for="too soon to be told")
        recorder.finish(Ending(outcome="verified", exit_code=0, text="all is well"))

        assert heard(inbox) == [
            ["STATUS=delphi-agent init", "EXTEND_TIMEOUT_USEC=450000000"],
            ["STATUS=pulling the images", "EXTEND_TIMEOUT_USEC=350000000"],
            ["STATUS=pulling the images, waiting for [redacted]", "EXTEND_TIMEOUT_USEC=348000000"],
            ["STATUS=verified: all is well", "READY=1"],
        ]


def test_a_run_that_still_says_something_is_given_half_a_minute_however_late_it_is(tmp_path: Path) -> None:
    clock = FakeClock()
    with supervisor(tmp_path / "notify") as inbox:
        recorder = Recorder(HEAD, clock, [Notify(str(tmp_path / "notify"), clock, Redactor())])
        clock.advance(440)
        with recorder.step("restore", "going back") as step:
            clock.advance(60)
            recorder.progress(step, detail="nearly there")

        assert [lines[1] for lines in heard(inbox)[1:]] == ["EXTEND_TIMEOUT_USEC=30000000"] * 2


def test_a_boot_that_failed_is_never_ready(tmp_path: Path) -> None:
    clock = FakeClock()
    with supervisor(tmp_path / "notify") as inbox:
        recorder = Recorder(HEAD, clock, [Notify(str(tmp_path / "notify"), clock, Redactor())])
        recorder.finish(Ending(outcome="restored", exit_code=75, text="release 1 is back"))

        assert heard(inbox)[1:] == [["STATUS=restored: release 1 is back"]]


def test_a_socket_without_a_file_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind("")  # the kernel chooses an abstract name
        inbox.settimeout(0.2)
        name = inbox.getsockname().decode().replace("\0", "@", 1)
        Recorder(HEAD, FakeClock(), [Notify(name, FakeClock(), Redactor())])

        assert len(heard(inbox)) == 1


def test_a_supervisor_that_is_gone_holds_nothing_up(tmp_path: Path) -> None:
    recorder = Recorder(HEAD, FakeClock(), [Notify(str(tmp_path / "nobody"), FakeClock(), Redactor())])

    recorder.finish(Ending(outcome="verified", exit_code=0, text=""))


@pytest.mark.slow
def test_a_supervisor_that_is_busy_for_seconds_still_hears_that_the_boot_is_ready(tmp_path: Path) -> None:
    # Each step is a message: more than its queue takes.
    most = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 100
    with supervisor(tmp_path / "notify") as inbox:
        recorder = Recorder(HEAD, FakeClock(), [Notify(str(tmp_path / "notify"), FakeClock(), Redactor())])
        words: list[list[str]] = []
        reading = threading.Timer(2.5, lambda: words.extend(heard(inbox)))
        reading.start()
        began, cpu = time.monotonic(), time.process_time()
        for number in range(most):
            with recorder.step("pull", f"pulling image {number}"):
                pass
        on_the_way = time.monotonic() - began
        recorder.finish(Ending(outcome="verified", exit_code=0, text="all is well"))
        used = time.process_time() - cpu
        reading.join()

    assert words[-1] == ["STATUS=verified: all is well", "READY=1"]
    assert len(words) < most, "the queue was full"
    assert on_the_way < 2, "what is said on the way waits once, not for every step"
    assert used < 0.5, "to wait takes no CPU from process 1"
