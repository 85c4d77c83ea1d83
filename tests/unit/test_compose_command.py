"""The command `compose`: which words are Compose's own, and what a killed one leaves is erased by the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.argument_parts import separated
from agent.cli.arguments import parser
from agent.host import files
from agent.host.paths import Paths
from agent.stages.release import clean_up
from agent.steps.registry import erase_left_behind


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("compose --profile x ps", "--profile x ps"),
        ("compose --profile=x ps", "--profile=x ps"),
        ("compose -f a.yaml --dry-run up", "-f a.yaml --dry-run up"),
        ("compose --root /x --deadline=5 --profile x ps", "--profile x ps"),
        ("--root /x compose --profile x ps --root y", "--profile x ps --root y"),
        ("--log-level=debug compose -p x ps", "-p x ps"),
        ("compose ps --format json", "ps --format json"),
        ("compose exec -T api sh -c 'exit 7'", "exec -T api sh -c 'exit 7'"),
        ("compose -- --profile x ps", "--profile x ps"),
        ("compose --root /x -- ps", "ps"),
        ("compose", ""),
    ],
)
def test_what_follows_the_agent_s_own_options_is_compose_s(given: str, words: str) -> None:
    read = parser().parse_args(separated(given.split(" "))).words

    assert read[1 if read[:1] == ["--"] else 0 :] == (words.split(" ") if words else [])


def test_the_options_before_compose_s_words_are_the_agent_s() -> None:
    own = "--manifest m --bootstrap b --deadline 7 --root /r --log-format json --log-level debug"
    read = parser().parse_args(separated(f"compose {own} --profile x ps".split(" ")))

    assert (read.manifest, read.bootstrap, read.deadline, read.root) == (Path("m"), Path("b"), 7.0, "/r")
    assert (read.log_format, read.log_level, read.words) == ("json", "debug", ["--", "--profile", "x", "ps"])


@pytest.mark.parametrize("given", ["init --skip", "status --json", "exec --root /x -- compose --profile", "--root", ""])
def test_the_words_of_other_commands_stay_as_they_are(given: str) -> None:
    assert separated(given.split(" ")) == given.split(" ")


@pytest.mark.parametrize("given", ["compose --help", "compose -h", "compose --root /x --help"])
def test_the_help_is_the_agent_s(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        parser().parse_args(separated(given.split(" ")))

    assert "usage: delphi-agent compose" in capsys.readouterr().out


@pytest.fixture
def killed() -> int:
    """The pid of a process that was killed."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    return process.pid


@pytest.fixture
def zombie() -> Iterator[int]:
    """The pid of a process that has ended and was not waited for."""
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.wait(10)


def left_by(paths: Paths, pid: int) -> Path:
    """What the command `compose` of this process works with."""
    folder = paths.of_compose(pid)
    files.make_folder(folder / "docker", 0o700)
    (folder / "docker/config.json").write_text('{"auths": {"r.test": {"auth": "dG9rZW4="}}}')
    files.make_folder(folder / "override", 0o700)
    return folder


def test_the_token_of_a_killed_compose_is_erased_and_that_of_one_at_work_is_not(
    tmp_path: Path, killed: int, zombie: int
) -> None:
    paths = Paths(tmp_path)
    gone, ended, at_work = (left_by(paths, pid) for pid in (killed, zombie, os.getpid()))

    erase_left_behind(paths)

    assert [folder.exists() for folder in (gone, ended, at_work)] == [False, False, True]
    assert (at_work / "docker/config.json").exists()


def test_the_end_of_a_run_erases_it_too(tmp_path: Path, killed: int) -> None:
    paths = Paths(tmp_path)
    gone = left_by(paths, killed)

    clean_up(paths)

    assert not gone.exists()


def test_what_is_not_of_a_process_is_left_alone_and_no_folder_is_no_fault(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    erase_left_behind(paths)
    others = [paths.run / name for name in ("compose", "compose-", "compose-x", "compose-1x")]
    for other in others:
        other.mkdir(parents=True)

    erase_left_behind(paths)

    assert all(other.is_dir() for other in others)


def test_two_that_erase_at_once_do_not_fail_of_each_other(tmp_path: Path, killed: int) -> None:
    paths, faults = Paths(tmp_path), []
    start = threading.Barrier(4, timeout=10)

    def erase() -> None:
        start.wait()
        try:
            erase_left_behind(paths)
        except BaseException as error:  # noqa: BLE001 - a thread's error would be lost
            faults.append(error)

    for _ in range(20):
        folder = left_by(paths, killed)
        threads = [threading.Thread(target=erase) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert faults == []
        assert not folder.exists()
