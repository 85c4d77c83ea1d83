"""Log rotation is added to daemon.json, and everything else in it stays."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import EngineError, HostError
from agent.host.clock import Deadline
from agent.host.engine import Engine
from agent.host.paths import Paths
from agent.report.record import Recorder
from agent.stages.engine import rotate_logs
from agent.steps import log_rotation
from agent.steps.log_rotation import Rotation
from tests.unit import fakes
from tests.unit.fakes import FakeClock, FakeCommands, Sayings
from tests.unit.runs import run_on

LIMITS = {"max-size": "10m", "max-file": "3"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OPTIONS = st.dictionaries(st.sampled_from(["max-size", "max-file", "compress", "tag", "labels"]), st.text(max_size=4))
CONFIGS = st.builds(
    lambda rest, known: {**rest, **known},
    st.dictionaries(st.text(max_size=6), JSON, max_size=4).map(
        lambda rest: {name: value for name, value in rest.items() if not name.startswith("log-")}
    ),
    st.fixed_dictionaries(
        {}, optional={"log-driver": st.sampled_from(["json-file", "local", "journald"]), "log-opts": OPTIONS}
    ),
)


def daemon_json(root: Path, content: str | bytes | None = None) -> Path:
    path = root / "etc/docker/daemon.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def ensure(root: Path, address: str = "unix:///var/run/docker.sock") -> Rotation:
    return log_rotation.ensure(Paths(root), address)


def read(path: Path) -> dict[str, object]:
    config: dict[str, object] = json.loads(path.read_bytes())
    return config


@given(config=CONFIGS)
def test_all_other_keys_stay_and_json_file_logs_have_a_limit_afterwards(
    tmp_path_factory: pytest.TempPathFactory, config: dict[str, dict[str, str]]
) -> None:
    root = tmp_path_factory.mktemp("host")
    path = daemon_json(root, json.dumps(config))
    before = path.read_bytes()
    rotation = ensure(root)
    after = read(path)

    def others(document: object) -> list[tuple[str, object]]:
        assert isinstance(document, dict)
        return [(name, value) for name, value in document.items() if name not in {"log-driver", "log-opts"}]

    assert others(config) == others(after), "the same, in the same order"
    if config.get("log-driver", "json-file") != "json-file":
        assert before == path.read_bytes()
    else:
        options = after["log-opts"]
        assert isinstance(options, dict)
        kept = {name: value for name, value in config.get("log-opts", {}).items() if value or name not in LIMITS}
        assert options["max-size"]
        assert {**LIMITS, **options} == {**LIMITS, **options, **kept}
    assert rotation.changed == (before != path.read_bytes())
    assert not ensure(root).changed


def test_a_host_without_the_file_gets_one(tmp_path: Path) -> None:
    rotation = ensure(tmp_path)
    path = daemon_json(tmp_path)

    assert (rotation.changed, rotation.pending) == (True, True)
    assert read(path) == {"log-driver": "json-file", "log-opts": LIMITS}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("content", [b"", b"  \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf{}"])
def test_an_empty_file_is_one_without_settings_and_a_byte_order_mark_is_none_either(
    tmp_path: Path, content: bytes
) -> None:
    path = daemon_json(tmp_path, content)

    assert ensure(tmp_path).changed
    assert read(path)["log-opts"] == LIMITS


def test_the_order_and_the_indent_of_the_file_stay(tmp_path: Path) -> None:
    path = daemon_json(tmp_path, '{\n\t"live-restore": true,\n\t"log-opts": {"tag": "x"},\n\t"bip": "10.0.0.1/24"\n}\n')
    ensure(tmp_path)

    assert path.read_text() == (
        '{\n\t"live-restore": true,\n\t"log-opts": {\n\t\t"tag": "x",\n\t\t"max-size": "10m",\n\t\t"max-file": "3"\n\t}'
        ',\n\t"bip": "10.0.0.1/24",\n\t"log-driver": "json-file"\n}\n'
    )


def test_a_limit_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = daemon_json(tmp_path, '{"log-opts":   {"max-size": "1g"}}')
    rotation = ensure(tmp_path)

    assert rotation == Rotation(text="max-size 1g")
    assert path.read_text() == '{"log-opts":   {"max-size": "1g"}}'


@pytest.mark.parametrize(
    "content",
    [
        '{"log-driver": "json-file"}',
        '{"log-driver": ""}',
        '{"log-driver": null, "log-opts": null}',
        '{"log-opts": {"max-size": ""}}',
        '{"log-opts": {"max-file": "5"}}',
    ],
)
def test_what_limits_nothing_gets_a_limit(tmp_path: Path, content: str) -> None:
    path = daemon_json(tmp_path, content)

    assert ensure(tmp_path).changed
    options = read(path)["log-opts"]
    assert isinstance(options, dict)
    assert options["max-size"] == "10m"
    assert options["max-file"] == ("5" if "max-file" in content else "3")


@pytest.mark.parametrize("driver", ["local", "journald", "awslogs", "none"])
def test_another_driver_is_left_alone(tmp_path: Path, driver: str) -> None:
    daemon_json(tmp_path, f'{{"log-driver": "{driver}"}}')

    assert ensure(tmp_path) == Rotation(text=f"log driver {driver}")


def test_mode_and_owner_of_the_file_stay(tmp_path: Path) -> None:
    path = daemon_json(tmp_path, "{}")
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    before = path.stat()
    ensure(tmp_path)

    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path, there: bool) -> None:  # noqa: FBT001 - a case
    target = tmp_path / "config/docker.json"
    if there:
        target.parent.mkdir()
        target.write_text('{"bip": "10.0.0.1/24"}')
    path = daemon_json(tmp_path)
    path.symlink_to(target)
    ensure(tmp_path)

    assert path.readlink() == target
    assert read(target)["log-opts"] == LIMITS
    assert ("bip" in read(target)) == there


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "invalid JSON"),
        ('{"bip": "10.0.0.1/24",}', "invalid JSON"),
        ("{} {}", "invalid JSON"),
        ("// none\n{}", "invalid JSON"),
        ('{"x": NaN}', "NaN is no number of JSON"),
        ('{"x": 1e999}', "1e999 is no number of JSON"),
        ("[]", "no JSON object"),
        ('{"log-opts": []}', "log-opts is no JSON object"),
        ('{"log-driver": 7}', "log-driver is no JSON string"),
        ('{"log-opts": {"max-size": 10}}', "log-opts.max-size is no string"),
        ('{"log-opts": {"tag": "a"}, "log-opts": {}}', "log-opts is there twice"),
        ("\xff", "JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_and_never_replaced(tmp_path: Path, content: str, said: str) -> None:
    path = daemon_json(tmp_path, content.encode("latin-1"))

    with pytest.raises(HostError, match=said) as caught:
        ensure(tmp_path)
    assert content.encode("latin-1") == path.read_bytes()
    assert caught.value.exit_status == 74
    assert str(path) in caught.value.doing


def test_a_link_that_leads_to_itself_is_told(tmp_path: Path) -> None:
    path = daemon_json(tmp_path)
    path.symlink_to(path)

    with pytest.raises(HostError, match=r"reading .*daemon.json: Too many levels of symbolic links"):
        ensure(tmp_path)


def test_a_file_that_cannot_be_written_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/docker").write_text("a file")

    with pytest.raises(HostError, match=r"(reading|making the folder|writing) .*/etc/docker") as caught:
        ensure(tmp_path)
    assert caught.value.exit_status == 74


@pytest.mark.parametrize("address", ["tcp://10.0.0.5:2376", "ssh://root@build"])
def test_the_settings_of_an_engine_elsewhere_are_not_on_this_host(tmp_path: Path, address: str) -> None:
    assert (
        ensure(tmp_path, address).text == f"left alone: the engine is at {address}, its settings are not on this host"
    )
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def engine_process(root: Path, *flags: str) -> Iterator[int]:
    """A process that has the engine's command line and is named as the engine."""
    argv = ["dockerd", "-c", "read line", *flags]
    with subprocess.Popen(argv, executable="/bin/sh", stdin=subprocess.PIPE) as process:
        file = root / "var/run/docker.pid"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{process.pid}\n")
        # Until then its command line is this process's.
        while b"dockerd" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()[:8]:
            pass
        yield process.pid
        process.kill()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--log-driver", "journald"], "left alone: the engine was started with --log-driver"),
        (["-H", "fd://", "--log-opt=max-size=5m"], "left alone: the engine was started with --log-opt"),
        (["--config-file", "/srv/docker.json"], "left alone: the engine reads /srv/docker.json instead"),
        (["--config-file=/srv/docker.json"], "left alone: the engine reads /srv/docker.json instead"),
        (["--config-file=/etc/docker/daemon.json", "--log-level", "warn"], "max-size set to 10m"),
    ],
)
def test_what_the_command_line_of_the_engine_says_is_not_said_again(
    tmp_path: Path, flags: list[str], said: str
) -> None:
    """The engine does not start when both say it."""
    with engine_process(tmp_path, *flags):
        assert ensure(tmp_path).text == said


def test_a_change_is_pending_as_long_as_the_same_engine_runs(tmp_path: Path) -> None:
    with engine_process(tmp_path):
        assert ensure(tmp_path).pending
        assert ensure(tmp_path) == Rotation(pending=True, text="max-size 10m")
    assert not ensure(tmp_path).pending
    with engine_process(tmp_path):
        assert ensure(tmp_path) == Rotation(text="max-size 10m")


class FakeEngine:
    """An engine with so many running containers, that answers or does not."""

    address = "unix:///var/run/docker.sock"

    def __init__(self, running: int = 0, *, answers: bool = True) -> None:
        self.asked = 0
        self._running, self._answers = running, answers

    def running(self) -> int:
        return self._running

    def wait_ready(self, deadline: Deadline, tell: Callable[[BaseException], None]) -> str:
        self.asked += 1
        if not self._answers:
            raise EngineError("waiting for the Docker engine", "Connection refused (for 10 s)", "start it")
        return "20.10.24"


class Stage:
    """The step on a host below `root`, with what it told."""

    def __init__(self, root: Path, engine: FakeEngine, *, systemd: bool = True) -> None:
        if systemd:
            (root / "run/systemd/system").mkdir(parents=True, exist_ok=True)
        self.commands, self.sink, self.engine = FakeCommands(), Sayings(), engine
        clock = FakeClock()
        self.recorder = Recorder(fakes.HEAD, clock, [self.sink])
        self._run = run_on(root, clock=clock, commands=self.commands, engine=engine, recorder=self.recorder)

    def rotate(self) -> str:
        rotate_logs(self._run, cast("Engine", self.engine))
        self.commands.assert_all_ran()
        return self.recorder.steps[-1].detail


RESTART = ("systemctl", "restart", "docker.service")


def test_the_engine_is_restarted_where_no_container_runs(tmp_path: Path) -> None:
    stage = Stage(tmp_path, FakeEngine())
    stage.commands.expect(*RESTART)

    assert stage.rotate() == "max-size set to 10m, the engine was restarted"
    assert stage.engine.asked == 1


def test_no_engine_is_restarted_under_anybody_s_container(tmp_path: Path) -> None:
    stage = Stage(tmp_path, FakeEngine(running=2))

    assert stage.rotate() == "max-size set to 10m, pending a restart of the Docker engine (2 containers running)"


def test_a_host_without_systemd_is_told_what_is_pending(tmp_path: Path) -> None:
    assert "pending a restart" in Stage(tmp_path, FakeEngine(), systemd=False).rotate()


def test_a_later_run_restarts_the_engine_once_no_container_runs_any_more(tmp_path: Path) -> None:
    with engine_process(tmp_path):
        Stage(tmp_path, FakeEngine(running=1)).rotate()

        assert Stage(tmp_path, FakeEngine(running=1)).rotate() == (
            "max-size 10m, pending a restart of the Docker engine (1 container running)"
        )
        later = Stage(tmp_path, FakeEngine())
        later.commands.expect(*RESTART)
        assert later.rotate() == "max-size 10m, the engine was restarted"


def test_nothing_is_asked_of_an_engine_that_knows_its_limits(tmp_path: Path) -> None:
    daemon_json(tmp_path, '{"log-opts": {"max-size": "1g"}}')

    assert Stage(tmp_path, FakeEngine()).rotate() == "max-size 1g"


def test_a_restart_that_systemd_cannot_do_leaves_an_engine_that_runs_and_is_a_warning(tmp_path: Path) -> None:
    stage = Stage(tmp_path, FakeEngine())
    stage.commands.expect(*RESTART, status=5, err=b"Failed to restart docker.service: Unit docker.service not found.\n")

    assert stage.rotate() == "max-size set to 10m, pending a restart of the Docker engine (systemd could not do it)"
    assert any("Unit docker.service not found" in line for line in stage.sink.lines if line.startswith("warning"))


def test_an_engine_that_does_not_come_back_is_told_with_what_systemd_said(tmp_path: Path) -> None:
    stage = Stage(tmp_path, FakeEngine(answers=False))
    stage.commands.expect(
        *RESTART, status=1, err=b"Job for docker.service failed.\nSee journalctl -xeu docker.service\n"
    )

    with pytest.raises(EngineError, match=r"restarting the Docker engine, so that it reads .*daemon.json") as caught:
        stage.rotate()
    assert caught.value.exit_status == 69
    assert "Connection refused" in caught.value.cause
    assert "exited with 1" in caught.value.cause
    assert caught.value.details[0] == "Job for docker.service failed."
