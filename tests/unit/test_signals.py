"""Signals that were ignored before the agent began, and those that it stops for: what it and its children do then."""

from __future__ import annotations

import signal
import time

import pytest

from agent.host import processes
from tests.unit import children

# An agent whose signals were set by its first argument; then it tells what a child of its has for ignored signals.
AGENT = """
    import os, signal, sys
    for name in sys.argv[1].split():
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    from agent.cli.stops import Stops
    from agent.errors import Interrupted
    from agent.host.clock import Deadline, SystemClock
    from agent.host.command import Command, SystemCommands
    from agent.secret import Secret

    signals, commands = Stops(), SystemCommands()
    signals.watch()

    def ignored():
        script = "while read -r name value; do case $name in SigIgn:) echo $value;; esac; done </proc/$$/status"
        command = Command(argv=("sh", "-c", script), env={"PATH": Secret("/usr/bin:/bin")})
        mask = int(commands.run(command, Deadline.after(SystemClock(), 20)).out, 16)
        return " ".join(number.name for number in signals.WANTED if mask >> (number - 1) & 1)

    try:
        {body}
    finally:
        commands.end_all()
"""
AFTER_A_SIGNAL = """
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            print("went on")
        except Interrupted as stopped:
            print(stopped.signal.name)
        for number in signals.WANTED:
            os.kill(os.getpid(), number)
        print(ignored())
"""
HELD = """
        signals.hold()
        for number in signals.WANTED:
            os.kill(os.getpid(), number)
        print(ignored())
"""
NOHUP = """
        os.kill(os.getpid(), signal.SIGHUP)
        print("went on")
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Interrupted as stopped:
            print(stopped.signal.name)
"""
DURING_AN_IMPORT = """
        import pathlib, tempfile, threading, time
        folder = tempfile.mkdtemp()
        for name, text in (
            ("signalled", "import os, signal; os.kill(os.getpid(), signal.SIGTERM); import another; whole = True"),
            ("another", "import time; time.sleep(0.05)"),
            ("later", ""),
        ):
            pathlib.Path(folder, name + ".py").write_text(text)
        sys.path.insert(0, folder)
        try:
            import signalled
            time.sleep(20)
        except Interrupted as stopped:
            print(stopped.signal.name, sys.modules["signalled"].whole)
        thread = threading.Thread(target=lambda: __import__("later"), daemon=True)
        thread.start()
        thread.join(20)
        print("later" in sys.modules)
"""
IN_A_DESTRUCTOR = """
        import time
        class Ends:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)
        try:
            Ends()
            time.sleep(20)
            print("went on")
        except Interrupted as stopped:
            print(stopped.signal.name)
"""
TAKING_A_LOCK = """
        import functools, threading, time, types
        lock = types.SimpleNamespace(
            acquire=lambda: True,
            release=lambda: None,
            __enter__=functools.partial(os.kill, os.getpid(), signal.SIGTERM),
            __exit__=lambda *_: print("given back"),
        )
        try:
            with threading.Condition(lock):
                print("taken")
                time.sleep(20)
        except Interrupted as stopped:
            print(stopped.signal.name)
"""
WHILE_A_STREAM_IS_CLOSED = """
        import io, time
        class Stream(io.RawIOBase):
            @property
            def closed(self):
                os.kill(os.getpid(), signal.SIGTERM)
                return True
        try:
            Stream()
            time.sleep(20)
            print("went on")
        except Interrupted as stopped:
            print(stopped.signal.name)
"""
TWO_AT_ONCE = (
    """
        from agent.cli import stops
        def hang_up():
            os.kill(os.getpid(), signal.SIGHUP)
            return False
        # While the first one is looked at the other comes.
        stops._takes_a_lock = lambda frame, looks=stops._takes_a_lock: hang_up() or looks(frame)
"""
    + TAKING_A_LOCK
)
TAKING_LOGGING_S_LOCK = """
        import functools, logging, time, types
        logging._lock = types.SimpleNamespace(
            acquire=functools.partial(os.kill, os.getpid(), signal.SIGTERM), release=lambda: print("given back")
        )
        try:
            logging.addLevelName(3, "x")
            time.sleep(20)
        except Interrupted as stopped:
            print(stopped.signal.name)
        finally:
            logging._lock = None
"""
WHEN_IT_IS_OVER = """
        from types import SimpleNamespace
        from agent.cli import context
        from agent.errors import UsageError
        class Steps:
            def __iter__(self):
                os.kill(os.getpid(), signal.SIGTERM)
                return iter(())
        def work(run):
            raise UsageError("doing", "why", "next")
        run = SimpleNamespace(recorder=SimpleNamespace(steps=Steps(), head=SimpleNamespace(command="init")))
        ending = context._verdict(run, work, Stops())
        print(ending.outcome, ending.exit_code)
"""
ENDLESS = """
        command = Command(argv=("sh", "-c", "echo $$ >&2; sleep 60; sleep 60"), env={"PATH": Secret("/usr/bin:/bin")})
        try:
            commands.run(command, Deadline.after(SystemClock(), 0.5), on_line=lambda line: print(line, flush=True))
        except Exception as error:
            print(type(error).__name__)
"""


def agent(body: str, *ignored: str) -> list[str]:
    ended = children.python(AGENT.replace("{body}", body.strip()), arguments=[" ".join(ignored)])
    assert ended.status == 0, ended.err
    return ended.out.splitlines()


def test_what_is_started_after_a_signal_to_take_a_deploy_back_can_be_ended_as_ever() -> None:
    assert agent(AFTER_A_SIGNAL) == ["SIGTERM", ""]


def test_what_is_started_while_no_signal_counts_can_be_ended_as_ever() -> None:
    assert agent(HELD) == [""]


def test_what_nohup_ignores_stays_ignored_and_the_others_end_the_run() -> None:
    assert agent(NOHUP, "SIGHUP") == ["went on", "SIGTERM"]


def test_an_import_comes_to_its_end_before_the_run_is_stopped_and_leaves_no_lock_taken() -> None:
    assert agent(DURING_AN_IMPORT) == ["SIGTERM True", "True"]


def test_a_signal_that_came_into_a_destructor_is_not_lost() -> None:
    assert agent(IN_A_DESTRUCTOR) == ["SIGTERM"]


def test_a_lock_that_was_just_taken_is_given_back() -> None:
    assert agent(TAKING_A_LOCK) == ["taken", "given back", "SIGTERM"]


def test_a_signal_that_came_while_a_stream_was_closed_is_not_lost() -> None:
    assert agent(WHILE_A_STREAM_IS_CLOSED) == ["SIGTERM"]


def test_another_signal_right_behind_the_first_does_not_raise_where_that_one_may_not() -> None:
    assert agent(TWO_AT_ONCE) == ["taken", "given back", "SIGTERM"]


def test_the_lock_of_logging_is_given_back() -> None:
    assert agent(TAKING_LOGGING_S_LOCK) == ["given back", "SIGTERM"]


def test_a_run_that_has_failed_is_told_as_that_whatever_signal_comes_then() -> None:
    assert agent(WHEN_IT_IS_OVER) == ["failed 2"]


def test_a_signal_is_put_off_and_comes_where_the_alarm_was_blocked_by_whoever_started_the_agent() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        assert agent(IN_A_DESTRUCTOR) == ["SIGTERM"]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.slow
def test_a_child_that_inherits_ignored_signals_is_ended_all_the_same() -> None:
    began = time.monotonic()
    pid, error = agent(ENDLESS, "SIGHUP", "SIGINT", "SIGTERM")

    assert error == "DeadlineExceeded"
    assert time.monotonic() - began < 10
    assert processes.start_time(int(pid)) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_that_was_started_with_it_ignored_is_not_ended_by_it(number: signal.Signals) -> None:
    body = f"os.kill(os.getpid(), signal.{number.name}); print('went on')"

    assert agent(body, number.name) == ["went on"]
