"""Hooks: which files of the folder are run, in what order, and what is told of one that fails. Real children."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.host.clock import Deadline, SystemClock
from agent.host.command import SystemCommands
from agent.secret import Redactor, Secret
from agent.steps import hooks
from agent.steps.project import Project

SCRIPT = "#!/bin/sh\n"
SECRET = "CANARY-7kQ2"
REDACTOR = Redactor()
REDACTOR.learn([Secret(SECRET)])


@pytest.fixture
def commands() -> Iterator[SystemCommands]:
    made = SystemCommands()
    yield made
    made.end_all()


def planted(folder: Path, **scripts: str) -> Path:
    place = folder / "media/hooks/pre-up.d"
    place.mkdir(parents=True, exist_ok=True)
    for name, text in scripts.items():
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    return folder / "media"


def project(folder: Path) -> Project:
    env = {"PATH": Secret(os.environ["PATH"]), "LOG_LEVEL": Secret("debug")}
    return Project(folder=folder, shown=folder, files=(), env=env)


def run(tmp_path: Path, commands: SystemCommands, text: str, seconds: float = 10) -> list[str]:
    folder = planted(tmp_path, hook=SCRIPT + text)
    told: list[str] = []
    deadline = Deadline.after(SystemClock(), seconds)
    hooks.run(
        folder / "hooks/pre-up.d/hook", project(folder), commands, deadline, tell=told.append, clean=REDACTOR.clean
    )
    return told


def test_hooks_are_those_that_run_parts_would_run_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["20-b", "10-a.sh", "05_c", "10-a.sh~", "x.bak", "README", "README.sh", ".hidden", "y.dpkg-old"]
    folder = planted(tmp_path, **dict.fromkeys(names, SCRIPT))

    found = hooks.find(folder, "pre-up")

    assert [hook.name for hook in found.hooks] == ["05_c", "10-a.sh", "20-b"]
    assert found.skipped == ()
    assert hooks.find(folder, "post-up").hooks == ()


def test_what_cannot_be_run_is_told_and_what_the_new_bundle_lacks_is_not_run(tmp_path: Path) -> None:
    folder = planted(tmp_path, a=SCRIPT, b=SCRIPT, c=SCRIPT)
    (folder / "hooks/pre-up.d/b").chmod(0o644)
    (folder / "hooks/pre-up.d/d").symlink_to("/bin/true")

    found = hooks.find(folder, "pre-up", {"media/hooks/pre-up.d/c"})

    assert [hook.name for hook in found.hooks] == ["a"]
    assert [line.split("/")[-1].split(":")[0] for line in found.skipped] == [
        "b is not executable",
        "d is no regular file",
    ]


def test_a_hook_runs_in_the_role_s_folder_with_the_resolved_environment_and_no_input(
    tmp_path: Path, commands: SystemCommands
) -> None:
    told = run(tmp_path, commands, 'pwd; cat; echo "$LOG_LEVEL ${HOME-none}" >&2; env | wc -l\n')

    assert told[0] == "debug none"
    assert told[1] == str(tmp_path / "media")
    assert int(told[2]) <= 5


def test_a_hook_that_fails_is_told_with_its_last_lines(tmp_path: Path, commands: SystemCommands) -> None:
    with pytest.raises(HostError) as caught:
        run(tmp_path, commands, "seq 100; echo no openssl here >&2; exit 3\n")

    assert caught.value.exit_code == 74
    assert str(caught.value) == "running the hook hooks/pre-up.d/hook: ended with 3"
    assert caught.value.details == (*(str(number) for number in range(81, 101)), "no openssl here")


def test_of_a_hook_that_talks_much_the_beginning_and_the_end_of_each_output_are_told(
    tmp_path: Path, commands: SystemCommands
) -> None:
    told = run(tmp_path, commands, "seq 1000; seq 2001 2301 >&2\n")

    errors, output = told[:301], told[301:]
    assert errors == [*map(str, range(2001, 2201)), "... 1 line left out ...", *map(str, range(2202, 2302))]
    assert output == [*map(str, range(1, 201)), "... 700 lines left out ...", *map(str, range(901, 1001))]
    assert run(tmp_path, commands, "seq 300; seq 201 >&2\n") == [*map(str, range(1, 202)), *map(str, range(1, 301))]


@pytest.mark.slow
def test_what_a_hook_said_at_the_end_is_told_when_it_is_stuck_too(tmp_path: Path, commands: SystemCommands) -> None:
    folder = planted(tmp_path, hook=f"{SCRIPT}seq 1000 >&2; exec sleep 60\n")
    told: list[str] = []

    with pytest.raises(HostError, match="not done within 1 s") as caught:
        hooks.run(
            folder / "hooks/pre-up.d/hook",
            project(folder),
            commands,
            Deadline.after(SystemClock(), 1),
            tell=told.append,
            clean=REDACTOR.clean,
        )

    assert told[199:202] == ["200", "... 700 lines left out ...", "901"]
    assert told[-1] == "1000"
    assert caught.value.details[-1] == "1000"


def test_a_long_line_is_cut_and_no_half_of_a_secret_is_left_of_it(tmp_path: Path, commands: SystemCommands) -> None:
    # The cut would go through the secret's middle.
    text = f"printf {SECRET}; head -c {hooks.LONGEST_LINE - 4} /dev/zero | tr '\\0' x; echo\n"
    with pytest.raises(HostError) as caught:
        run(tmp_path, commands, f"{{ {text} }} >&2; {text} exit 1\n")

    told = [*caught.value.details, *run(tmp_path, commands, text)]
    assert len(told) == 3
    assert all(len(line) == hooks.LONGEST_LINE + 4 for line in told)
    assert "7kQ2" not in "".join(told)


def test_a_hook_that_a_signal_ends_is_told_so(tmp_path: Path, commands: SystemCommands) -> None:
    with pytest.raises(HostError, match="was ended by signal 9"):
        run(tmp_path, commands, "kill -9 $$\n")


@pytest.mark.slow
def test_a_stuck_hook_ends_with_the_deadline_and_so_does_what_it_started(
    tmp_path: Path, commands: SystemCommands
) -> None:
    began = time.monotonic()
    with pytest.raises(HostError, match="not done within 1 s") as caught:
        run(tmp_path, commands, "echo waiting >&2; sleep 300 & echo $! >pid; trap '' TERM; wait\n", seconds=1)

    assert time.monotonic() - began < 15
    assert caught.value.details == ("waiting",)
    pid = int((tmp_path / "media/pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_hook_without_a_first_line_that_names_a_program_is_told(tmp_path: Path, commands: SystemCommands) -> None:
    folder = planted(tmp_path, hook="echo hello\n")

    with pytest.raises(HostError, match="cannot be started: Exec format error"):
        hooks.run(
            folder / "hooks/pre-up.d/hook",
            project(folder),
            commands,
            Deadline.after(SystemClock(), 5),
            tell=print,
            clean=REDACTOR.clean,
        )
