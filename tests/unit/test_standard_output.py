"""A command's data on standard output: written whole, or told with exit code 74; quiet when nobody reads any more."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

import agent.cli
from agent.cli.streams import UNREAD, put
from agent.errors import HostError
from agent.report.record import Ending
from tests.unit import children
from tests.unit.test_bootstrap import GOOD
from tests.unit.test_cli import write_status

FULL = Path("/dev/full")
MANIFEST = "service: api\nvariables: [{name: LOG_LEVEL, source: local}]\n"
# Each prints data, and none of them asks anybody.
COMMANDS = (
    ["--help"],
    ["history", "--help"],
    ["--version"],
    ["history"],
    ["history", "--json"],
    ["status"],
    ["status", "--json"],
    ["timeline"],
    ["timeline", "--svg"],
    ["env"],
    ["env", "--format", "json"],
    ["explain", "LOG_LEVEL"],
    ["explain", "--json", "LOG_LEVEL"],
    ["doctor", "--iam-policy"],
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host with a verified run, and a bootstrap file and manifest that need no AWS."""
    made = tmp_path_factory.mktemp("root")
    write_status(made, Ending(outcome="verified", exit_code=0, text="x"))
    for name in ("opt/deployment", "opt/services/api", "var/lib/delphi-agent"):
        (made / name).mkdir(parents=True)
    lines = [f"{name}={value}" for name, value in {**GOOD, "LOG_LEVEL": "info"}.items()]
    (made / "opt/deployment/.env").write_text("\n".join(lines) + "\n")
    (made / "opt/deployment/.env").chmod(0o600)
    (made / "opt/services/api/vars.yaml").write_text(MANIFEST)
    (made / "opt/services/api/compose.yaml").write_text("services: {api: {image: x}}\n")
    return made


def words(root: Path, command: Sequence[str]) -> list[str]:
    return [sys.executable, "-B", "-m", "agent", "--root", str(root), *command]


def ended(
    root: Path, command: Sequence[str], stdout: int, *, unbuffered: bool = False
) -> subprocess.CompletedProcess[str]:
    env = {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONUNBUFFERED": "1" if unbuffered else ""}
    return subprocess.run(
        words(root, command),
        cwd=children.PROJECT,
        env=env,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


def unread() -> int:
    """The writing end of a pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("unbuffered", [False, True], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.slow
def test_data_that_a_full_disk_does_not_take_is_an_error_of_the_host(
    root: Path, command: list[str], *, unbuffered: bool
) -> None:
    with FULL.open("w") as full:
        done = ended(root, command, full.fileno(), unbuffered=unbuffered)

    assert done.returncode == 74, done.stderr
    assert "writing standard output" in done.stderr
    assert "No space left on device" in done.stderr
    assert "df -h" in done.stderr
    assert "Traceback" not in done.stderr
    assert "fault of the agent" not in done.stderr


@pytest.mark.parametrize("unbuffered", [False, True], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.slow
def test_a_reader_that_is_gone_ends_a_command_quietly_as_it_ends_other_tools(
    root: Path, command: list[str], *, unbuffered: bool
) -> None:
    writer = unread()
    try:
        done = ended(root, command, writer, unbuffered=unbuffered)
    finally:
        os.close(writer)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_data_that_is_read_arrives_with_the_command_s_own_code(root: Path, command: list[str]) -> None:
    done = subprocess.run(
        words(root, command), cwd=children.PROJECT, env={}, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n")


def test_a_reader_of_one_line_gets_it_and_sees_no_traceback(root: Path) -> None:
    script = " ".join([*words(root, ["--help"]), "| head -1"])

    done = subprocess.run(
        ["sh", "-c", script], cwd=children.PROJECT, env={"PATH": os.defpath}, capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("usage: delphi-agent")
    assert done.stderr == ""


def test_an_error_that_standard_error_does_not_take_keeps_its_code(root: Path) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            words(root, ["history"]), cwd=children.PROJECT, env={}, stdout=full, stderr=full, timeout=60, check=False
        )

    assert done.returncode == 74


def test_data_is_written_whole_also_where_it_is_taken_a_part_at_a_time() -> None:
    data, got = "ä" * 300_000, bytearray()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def read() -> None:
        while piece := os.read(reader, 1 << 12):
            got.extend(piece)

    thread = threading.Thread(target=read)
    thread.start()
    with os.fdopen(writer, "w", encoding="utf-8") as out:
        assert put(out, data) == 0
    thread.join(10)
    os.close(reader)

    assert got.decode() == data


def test_what_the_encoding_does_not_have_is_written_as_its_number() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="ascii") as out:
        assert put(out, "ü\udcff\n") == 0

    assert os.read(reader, 100) == b"\\xfc\\udcff\n"
    os.close(reader)


def test_what_was_printed_before_comes_before() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as out:
        out.write("first ")
        put(out, b"second")

    assert os.read(reader, 100) == b"first second"
    os.close(reader)


def test_a_failure_says_what_the_system_said_and_the_loss_of_a_reader_is_a_code() -> None:
    with FULL.open("w") as full, pytest.raises(HostError, match="No space left"):
        put(full, "x")
    with os.fdopen(unread(), "w") as out:
        assert put(out, "x") == UNREAD


def test_no_command_prints_its_data_past_that() -> None:
    # What needs AWS or an engine (plan, bake, clean, support-bundle) is not run here.
    texts = {path.name: path.read_text() for path in Path(agent.cli.__file__).parent.glob("*.py")}

    assert [name for name, text in texts.items() if "file=surroundings.out" in text or "stdout.buffer" in text] == []
    assert [name for name, text in texts.items() if "put(surroundings.out" in text] != []
