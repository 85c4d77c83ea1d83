"""Children: exactly the environment that was given, both streams read, and nothing of them left at the deadline."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.errors import DeadlineExceeded, HostError
from agent.host.clock import Deadline, SystemClock
from agent.host.command import Command, Finished, SystemCommands
from agent.host.leftovers import Roster
from agent.report.children import ToldCommands
from agent.report.record import Recorder
from agent.secret import Secret
from tests.unit import children, fakes
from tests.unit.fakes import FakeClock, FakeCommands, Sayings

PATH = {"PATH": Secret("/usr/bin:/bin")}


def seconds(number: float) -> Deadline:
    return Deadline.after(SystemClock(), number)


@contextlib.contextmanager
def system(roster: Roster | None = None) -> Iterator[SystemCommands]:
    """The real thing, for as long as a run lasts."""
    commands = SystemCommands(roster)
    try:
        yield commands
    finally:
        commands.end_all()


def run(command: Command, limit: float = 10.0, on_line: Callable[[str], None] | None = None) -> Finished:
    with system() as commands:
        return commands.run(command, seconds(limit), on_line=on_line)


def shell(script: str, limit: float = 10.0, on_line: Callable[[str], None] | None = None) -> Finished:
    return run(Command(argv=("sh", "-c", script), env=PATH), limit, on_line)


def is_gone(pid: int) -> bool:
    """No such process, or one that only waits to be reaped by whoever adopted it."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_a_child_that_ends_well_is_ok_with_both_streams() -> None:
    finished = shell("echo out; echo err >&2")

    assert finished.ok
    assert (finished.out, finished.err) == (b"out\n", b"err\n")


def test_the_exit_status_of_a_child_is_told() -> None:
    finished = shell("exit 17")

    assert not finished.ok
    assert finished.status == 17


def test_a_child_that_a_signal_ended_has_a_negative_status() -> None:
    assert shell("kill -9 $$").status == -signal.SIGKILL


def test_a_child_gets_exactly_the_environment_that_was_given() -> None:
    env = {"A": Secret("1 '\"$x\nline two"), "EMPTY": Secret("")}
    code = "import os; print(sorted(os.environ.items()))"
    finished = run(Command(argv=(sys.executable, "-I", "-c", code), env=env))

    # Python itself adds LC_CTYPE when the locale is "C".
    assert [pair for pair in eval(finished.out) if pair[0] != "LC_CTYPE"] == [("A", "1 '\"$x\nline two"), ("EMPTY", "")]


def test_a_child_has_nothing_to_read_and_its_own_folder(tmp_path: Path) -> None:
    command = Command(argv=("sh", "-c", "pwd; cat"), env=PATH, cwd=tmp_path)

    assert f"{tmp_path}\n".encode() == run(command).out


def test_a_child_inherits_no_open_file() -> None:
    with Path("/dev/null").open("rb") as file:
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003 - its only argument
        listing = shell("ls /proc/self/fd").out.split()

    # The three streams, and the folder that ls itself has open.
    assert listing == [b"0", b"1", b"2", b"3"]


def test_a_hung_child_ends_at_the_deadline() -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="running `sh -c echo pulling >&2; sleep 60`") as caught:
        shell("echo pulling >&2; sleep 60", 0.2)

    assert time.monotonic() - began < 1.5
    assert "last seen: pulling" in caught.value.cause


def test_a_child_that_closed_its_streams_and_hangs_ends_at_the_deadline() -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        shell("exec >&- 2>&-; sleep 60", 0.2)

    assert time.monotonic() - began < 1.5


def test_a_child_that_talks_faster_than_it_is_heard_ends_at_the_deadline() -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        shell("exec yes $(head -c 5000 /dev/zero | tr '\\0' x) >&2", 0.2, on_line=lambda _: time.sleep(0.001))

    assert time.monotonic() - began < 1.5


@pytest.mark.slow
def test_a_child_that_ignores_sigterm_is_killed_with_its_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM; sh -c 'trap \"\" TERM; echo $$ >> {pids}; sleep 60' & echo $$ >> {pids}; wait; sleep 60"
    with pytest.raises(DeadlineExceeded):
        shell(script, 0.3)

    told = [int(line) for line in pids.read_text().split()]
    assert len(told) == 2
    assert all(is_gone(pid) for pid in told)


def test_a_grandchild_that_stays_behind_in_the_group_is_killed() -> None:
    finished = shell("sleep 60 >/dev/null 2>&1 & echo $!")

    assert finished.ok
    assert is_gone(int(finished.out))


def test_no_child_is_started_after_the_deadline(tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded):
        shell(f"touch {tmp_path}/started", 0)

    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_not_there_is_an_error_of_the_host() -> None:
    with pytest.raises(HostError, match="starting `no-such-program`: No such file or directory") as caught:
        run(Command(argv=("no-such-program",), env=PATH))

    assert "/usr/bin:/bin" in caught.value.next_step


def test_an_environment_that_is_too_large_in_all_is_told_as_that_and_not_as_a_missing_program() -> None:
    parts = {f"PART_{number}": Secret("c4nary" * 20_000) for number in range(80)}

    with pytest.raises(HostError, match="starting `true`: Argument list too long") as caught:
        run(Command(argv=("true",), env={**PATH, **parts}))

    assert "the environment or the arguments are too large in all" in caught.value.next_step
    assert "PATH" not in caught.value.next_step
    assert "c4nary" not in f"{caught.value}{caught.value.next_step}"


def test_a_folder_that_is_not_there_is_an_error_of_the_host(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file or directory"):
        run(Command(argv=("true",), env=PATH, cwd=tmp_path / "none"))


def test_every_line_of_stderr_is_heard_as_it_comes_and_the_last_one_without_its_end() -> None:
    heard: list[tuple[str, float]] = []
    shell(
        "printf 'one\\ntw' >&2; sleep 0.2; printf 'o\\n\\n  three' >&2",
        on_line=lambda line: heard.append((line, time.monotonic())),
    )

    assert [line for line, _ in heard] == ["one", "two", "three"]
    assert heard[1][1] - heard[0][1] > 0.1


class Enough(Exception):
    """What somebody who watches has seen."""


@pytest.mark.parametrize("script", ["echo started >&2; sleep 60", "yes >&2"], ids=["silent", "talking"])
@pytest.mark.slow
def test_who_watches_beside_a_child_may_end_it(script: str) -> None:
    looks: list[float] = []

    def watch() -> None:
        looks.append(time.monotonic())
        if len(looks) == 2:
            raise Enough

    began = time.monotonic()
    with system() as commands, pytest.raises(Enough):
        commands.run(Command(argv=("sh", "-c", script), env=PATH), seconds(60), watch=watch)

    assert looks[1] - looks[0] >= 0.9
    assert time.monotonic() - began < 10


def test_large_output_on_both_streams_does_not_block() -> None:
    finished = shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")

    assert (len(finished.out), len(finished.err)) == (3_000_000, 3_000_000)


def test_ending_all_children_frees_the_thread_that_waits_for_one() -> None:
    commands = SystemCommands()
    results: list[Finished] = []
    waits = threading.Thread(
        target=lambda: results.append(
            commands.run(Command(argv=("sh", "-c", "exec sleep 60"), env=PATH), seconds(60), on_line=None)
        )
    )
    waits.start()
    while not commands._alive:
        time.sleep(0.005)
    for pid in list(commands._alive):
        os.kill(pid, signal.SIGTERM)
    waits.join(5)
    commands.end_all()

    assert not waits.is_alive()
    assert not commands._alive
    assert results[0].status == -signal.SIGTERM


def test_ending_all_children_leaves_none_alive() -> None:
    commands = SystemCommands()
    command = Command(argv=("sh", "-c", "echo $$ >&2; exec sleep 60"), env=PATH)
    heard = threading.Event()
    pids: list[int] = []

    def hear(line: str) -> None:
        pids.append(int(line))
        heard.set()

    def wait() -> None:
        try:
            commands.run(command, seconds(1), on_line=hear)
        except (DeadlineExceeded, OSError, ValueError):
            return  # its streams were closed under it

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert heard.wait(5)
    commands.end_all()

    assert is_gone(pids[0])
    thread.join(5)


def test_no_child_is_started_once_all_were_ended(tmp_path: Path) -> None:
    commands = SystemCommands()
    commands.end_all()

    with pytest.raises(HostError, match="the run is over"):
        commands.run(Command(argv=("touch", str(tmp_path / "started")), env=PATH), seconds(5))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_grandchild_in_a_group_of_its_own_is_ended_with_a_child_that_has_to_go(tmp_path: Path) -> None:
    # Some versions of the docker command start a plugin like this.
    plugin = f"import os, time; os.setpgid(0, 0); open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()));"
    with pytest.raises(DeadlineExceeded):
        shell(f'{sys.executable} -c "{plugin} time.sleep(60)"; true', 1.0)

    assert is_gone(int((tmp_path / "pid").read_text()))


def test_while_a_child_is_at_work_it_is_written_down_and_afterwards_nothing_is_left(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    folder = tmp_path / "children"
    with system(Roster(folder)) as commands:
        command = Command(argv=("sh", "-c", "echo at work >&2; cat"), env=PATH)
        commands.run(
            command, seconds(10), on_line=lambda _: seen.append([path.read_text() for path in folder.iterdir()])
        )

    assert len(seen[0]) == 1
    assert "echo at work" in seen[0][0]
    assert list(folder.iterdir()) == []


def test_a_child_that_is_just_being_started_when_a_signal_comes_is_gone_before_what_comes_next(tmp_path: Path) -> None:
    """The signal is raised in the main thread at any moment; nothing of what was begun goes on beside a restore."""
    code = f"""
        import os, signal, sys, threading
        from agent.cli.stops import Stops
        from agent.errors import Interrupted
        from agent.host.clock import Deadline, SystemClock
        from agent.host.command import Command, SystemCommands
        from agent.secret import Secret

        commands = SystemCommands()
        script = "echo $$ >>{tmp_path}/pids; exec sleep 60"
        command = Command(argv=("sh", "-c", script), env={{"PATH": Secret("/usr/bin:/bin")}})
        Stops().watch()
        timer = threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGTERM))
        try:
            timer.start()
            commands.run(command, Deadline.after(SystemClock(), 20))
        except Interrupted:
            print(len(commands._alive))
        finally:
            commands.end_all()
    """
    left = {children.python(code, arguments=[str(microseconds / 1e6)]).out for microseconds in range(100, 5000, 350)}

    assert left == {"0\n"}
    pids = tmp_path / "pids"
    told = [int(line) for line in pids.read_text().split()] if pids.exists() else []
    assert [pid for pid in told if not is_gone(pid)] == []


def test_the_tail_is_the_end_of_stderr_or_of_stdout_when_that_is_empty() -> None:
    def tail(out: bytes, err: bytes) -> list[str]:
        return Finished(Command(argv=("x",), env={}), 1, out, err).tail(2)

    assert tail(b"out\n", b"a\n\nb  \nc\n") == ["b", "c"]
    assert tail(b"a\nb\n", b"\n \n") == ["a", "b"]
    assert tail(b"\xff\n", b"") == ["�"]
    assert tail(b"", b"") == []


def test_neither_a_command_nor_its_result_shows_environment_or_output() -> None:
    command = Command(argv=("docker", "compose", "up"), env={"PASSWORD": Secret("hunter2")})

    assert str(command) == "docker compose up"
    assert "PASSWORD" not in repr(command)
    assert "hunter2" not in repr(Finished(command, 0, b"hunter2", b"hunter2"))


def test_a_told_command_is_counted_and_recorded_with_its_time_and_status() -> None:
    clock, sink, inner = FakeClock(), Sayings(), FakeCommands()
    inner.expect("docker", "ps", status=3, err=b"oh\n", does=lambda _: clock.advance(1.5))
    recorder = Recorder(fakes.HEAD, clock, [sink])
    heard: list[str] = []
    with recorder.step("look", "looking") as step:
        ToldCommands(inner, clock).run(Command(argv=("docker", "ps"), env={}), clock.deadline(), on_line=heard.append)

    assert step.costs.children == 1
    assert "debug command.started: $ docker ps" in sink.lines
    assert "debug command.finished: `docker` exited with 3 after 1.5 s" in sink.lines
    assert heard == ["oh"]


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (
            ("docker", "compose", "-f", "/CANARY", "--env-file", "/dev/null", "up", "--detach"),
            "docker compose up",
        ),
        (("docker", "compose", "-f", "/x/up.yaml", "--dry-run", "up", "--no-start"), "docker compose up --dry-run"),
        (("unshare", "-m", "docker", "compose", "config", "--format", "json"), "docker compose config"),
        (("docker", "compose", "pull", "up", "CANARY"), "docker compose pull"),
        (("docker", "pull", "--quiet", "CANARY"), "docker pull"),
        (("/opt/services/api/hooks/pre-up.d/10-certs", "CANARY"), "10-certs"),
        (("systemctl", "restart", "CANARY"), "systemctl"),
    ],
)
def test_the_timeline_has_a_command_by_its_name_and_no_argument_of_it(argv: tuple[str, ...], name: str) -> None:
    clock, inner = FakeClock(), FakeCommands()
    inner.expect(*argv, status=3, does=lambda _: clock.advance(1.5))
    recorder = Recorder(fakes.HEAD, clock, [])
    with recorder.step("look", "looking"):
        ToldCommands(inner, clock).run(Command(argv=argv, env={}), clock.deadline())

    (span,) = recorder.spans.document(str)
    assert (span["kind"], span["name"], span["seconds"], span["error"]) == ("command", name, 1.5, "exit 3")
