"""The engine's unit gets the proxy of the bootstrap file, from a file that only root reads, and loses it again."""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from agent.host.clock import Deadline
from agent.host.engine import Engine
from agent.host.paths import Paths
from agent.host.proxy import NEVER_PROXIED, Proxies
from agent.report.record import Recorder
from agent.stages.engine import settle_engine
from agent.steps import daemon_proxy
from agent.steps.bootstrap import Bootstrap
from agent.steps.daemon_proxy import DROP_IN, ENVIRONMENT, HandOver
from tests.unit import fakes
from tests.unit.fakes import FakeClock, FakeCommands, Sayings
from tests.unit.runs import run_on
from tests.unit.test_log_rotation import engine_process

SOCKET = "unix:///var/run/docker.sock"
URL = "http://delphi:p%24ss@10.0.1.5:3128"
GIVEN = Proxies.of({"HTTPS_PROXY": URL, "NO_PROXY": "10.0.0.0/8,.corp.example"})
RULES = ",".join([*NEVER_PROXIED, "10.0.0.0/8", "corp.example"])
NONE = Proxies()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    return tmp_path


def ensure(root: Path, proxies: Proxies, effective: Mapping[str, str] | None = None, address: str = SOCKET) -> HandOver:
    return daemon_proxy.ensure(Paths(root), address, proxies, lambda: effective or {})


def at(root: Path, name: str) -> Path:
    return root / name.lstrip("/")


def write(root: Path, name: str, content: str) -> None:
    at(root, name).parent.mkdir(parents=True, exist_ok=True)
    at(root, name).write_text(content)


def test_the_unit_names_a_file_that_only_root_reads_and_no_value_stands_in_it(root: Path) -> None:
    handing = ensure(root, GIVEN)

    assert handing == HandOver(ours=True, changed=True, pending=True, text="10.0.1.5:3128 handed over")
    assert f"EnvironmentFile=-{ENVIRONMENT}\n" in at(root, DROP_IN).read_text()
    assert "10.0.1.5" not in at(root, DROP_IN).read_text()
    assert stat.S_IMODE(at(root, ENVIRONMENT).stat().st_mode) == 0o600
    values = dict(word.split("=", 1) for word in shlex.split(at(root, ENVIRONMENT).read_text(), comments=True))
    assert values == {"HTTPS_PROXY": URL, "NO_PROXY": RULES}


def test_a_second_time_nothing_is_written_and_a_loose_mode_is_set_right(root: Path) -> None:
    ensure(root, GIVEN)
    before = at(root, ENVIRONMENT).stat().st_mtime_ns

    assert ensure(root, GIVEN) == HandOver(ours=True, text="10.0.1.5:3128")
    assert at(root, ENVIRONMENT).stat().st_mtime_ns == before
    at(root, ENVIRONMENT).chmod(0o644)
    assert ensure(root, GIVEN).changed
    assert stat.S_IMODE(at(root, ENVIRONMENT).stat().st_mode) == 0o600


def test_without_a_proxy_in_the_bootstrap_file_all_that_was_written_goes_with_its_folders(root: Path) -> None:
    (root / "etc").mkdir()
    ensure(root, GIVEN)
    handing = ensure(root, NONE)

    assert handing.changed
    assert handing.text == "taken back, the bootstrap file has none"
    assert not at(root, DROP_IN).parent.exists()
    assert not at(root, ENVIRONMENT).parent.exists()
    assert not daemon_proxy.concerns(Paths(root), NONE)


def test_what_an_operator_has_beside_it_stays(root: Path) -> None:
    ensure(root, GIVEN)
    other = at(root, DROP_IN).with_name("limits.conf")
    other.write_text("[Service]\nLimitNOFILE=1024\n")
    ensure(root, NONE)

    assert other.exists()
    assert not at(root, DROP_IN).exists()


UNITS = "/etc/systemd/system/docker.service.d"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (f"{UNITS}/http-proxy.conf", '[Service]\nEnvironment="HTTP_PROXY=http://10.0.9.9:3128" "NO_PROXY=x"\n'),
        (f"{UNITS}/proxy.conf", "[Service]\nEnvironment=https_proxy=http://10.0.9.9:3128\n"),
        (DROP_IN, "[Service]\nEnvironment=HTTPS_PROXY=http://10.0.9.9:3128\n"),
        ("/run/systemd/system/docker.service.d/a.conf", "[Service]\nEnvironment=HTTPS_PROXY=http://10.0.9.9:3128\n"),
        ("/etc/docker/daemon.json", '{"proxies": {"https-proxy": "http://10.0.9.9:3128"}}'),
    ],
)
def test_a_proxy_that_somebody_else_gave_the_engine_is_left_alone(root: Path, name: str, content: str) -> None:
    write(root, name, content)

    assert ensure(root, GIVEN) == HandOver(text=f"left alone: {name} sets one")
    assert at(root, name).read_text() == content
    assert not at(root, ENVIRONMENT).exists()


def test_a_file_that_the_unit_reads_counts_like_the_unit(root: Path) -> None:
    write(root, "/usr/lib/systemd/system/docker.service", "[Service]\nEnvironmentFile=-/etc/default/docker\n")
    write(root, "/etc/default/docker", "# export HTTP_PROXY=http://x\n")
    assert ensure(root, GIVEN).changed

    write(root, "/etc/default/docker", 'export HTTPS_PROXY="http://10.0.9.9:3128"\n')
    assert "export" not in ensure(root, GIVEN).text


@pytest.mark.parametrize("line", ["# Environment=HTTP_PROXY=http://x", "Environment=HTTP_PROXY=", "Environment=TZ=UTC"])
def test_what_sets_no_proxy_is_in_nobody_s_way(root: Path, line: str) -> None:
    write(root, f"{UNITS}/other.conf", f"[Service]\n{line}\n")

    assert ensure(root, GIVEN).changed


def test_an_operator_s_own_that_comes_later_takes_the_place_of_the_agent_s(root: Path) -> None:
    ensure(root, GIVEN)
    write(root, f"{UNITS}/http-proxy.conf", "[Service]\nEnvironment=HTTPS_PROXY=http://10.0.9.9:3128\n")

    assert ensure(root, GIVEN).changed
    assert not at(root, DROP_IN).exists()


def test_an_engine_that_has_a_proxy_from_elsewhere_keeps_it(root: Path) -> None:
    handing = ensure(root, GIVEN, {"HTTP_PROXY": "http://10.0.9.9:3128"})

    assert handing == HandOver(text="left alone: the engine was started with one")


def test_flags_of_the_engine_count(root: Path) -> None:
    with engine_process(root, "--https-proxy=http://10.0.9.9:3128"):
        assert ensure(root, GIVEN).text == "left alone: the engine was started with --https-proxy"


def test_an_engine_elsewhere_and_a_host_without_systemd_are_told(root: Path) -> None:
    assert ensure(root, GIVEN, address="tcp://10.0.0.5:2376").text.startswith("left alone: the engine is at tcp://")
    (root / "run/systemd/system").rmdir()
    handing = ensure(root, GIVEN)
    assert handing.text == "10.0.1.5:3128 is not handed over: systemd does not run this host"
    assert "dockerd with HTTPS_PROXY, NO_PROXY of the bootstrap file" in handing.missing
    assert not at(root, ENVIRONMENT).exists()


@pytest.mark.parametrize(
    ("effective", "held"),
    [
        ({"HTTPS_PROXY": "http://xxxxx:xxxxx@10.0.1.5:3128", "NO_PROXY": RULES}, True),
        ({"HTTPS_PROXY": "http://10.0.1.5:3128/", "NO_PROXY": RULES}, True),
        ({"HTTPS_PROXY": "http://xxxxx:xxxxx@10.0.1.6:3128", "NO_PROXY": RULES}, False),
        ({"HTTPS_PROXY": "http://xxxxx:xxxxx@10.0.1.5:3128", "NO_PROXY": "localhost"}, False),
        ({"HTTPS_PROXY": "http://10.0.1.5:3128", "HTTP_PROXY": "http://x:1", "NO_PROXY": RULES}, False),
        ({}, False),
    ],
)
def test_whether_the_engine_uses_it_is_seen_without_its_password(effective: Mapping[str, str], *, held: bool) -> None:
    assert daemon_proxy.holds(GIVEN, effective) == held


class FakeEngine:
    """An engine with so many running containers, and what it says of its proxies, once for each time it is asked."""

    address = SOCKET

    def __init__(self, *proxies: Mapping[str, str], running: int = 0) -> None:
        self._proxies, self._running = list(proxies), running

    def running(self) -> int:
        return self._running

    def proxies(self) -> Mapping[str, str]:
        assert self._proxies, "it was not expected to be asked"
        return self._proxies.pop(0)

    def wait_ready(self, deadline: Deadline, tell: object) -> str:
        return "20.10.24"


HELD = {"HTTPS_PROXY": "http://xxxxx:xxxxx@10.0.1.5:3128", "NO_PROXY": RULES}
VARIABLES = {"HTTPS_PROXY": URL, "NO_PROXY": "10.0.0.0/8,.corp.example"}


def settle(
    root: Path, engine: FakeEngine, variables: Mapping[str, str], *systemctl: str, status: int = 0
) -> tuple[dict[str, str], list[str]]:
    """The details of the steps, and what was warned of."""
    commands, sink, clock = FakeCommands(), Sayings(), FakeClock()
    for words in systemctl:
        commands.expect("systemctl", *words.split(), status=status)
    recorder = Recorder(fakes.HEAD, clock, [sink])
    run = run_on(root, clock=clock, commands=commands, engine=engine, recorder=recorder)
    settle_engine(run, cast("Engine", engine), Bootstrap(path=root, variables=variables, warnings=()))
    commands.assert_all_ran()
    return {step.name: step.detail for step in recorder.steps}, [line for line in sink.lines if "warning" in line]


def test_one_restart_is_for_the_logs_and_the_proxy(root: Path) -> None:
    steps, warned = settle(root, FakeEngine({}, HELD), VARIABLES, "daemon-reload", "restart docker.service")

    assert steps == {
        "log-rotation": "max-size set to 10m",
        "engine-proxy": "10.0.1.5:3128 handed over, the engine was restarted",
    }
    assert warned == []


def test_without_a_proxy_there_is_no_step(root: Path) -> None:
    steps, _ = settle(root, FakeEngine(), {}, "restart docker.service")

    assert steps == {"log-rotation": "max-size set to 10m, the engine was restarted"}


def test_under_running_containers_the_restart_is_pending_and_a_later_run_makes_it(root: Path) -> None:
    write(root, "/etc/docker/daemon.json", '{"log-opts": {"max-size": "1g"}}')
    with engine_process(root):
        steps, warned = settle(root, FakeEngine({}, {}, running=2), VARIABLES, "daemon-reload")
        pending = "pending a restart of the Docker engine (2 containers running)"
        assert steps["engine-proxy"] == f"10.0.1.5:3128 handed over, {pending}"
        assert [line for line in warned if pending in line] == warned
        assert len(warned) == 1

        later = FakeEngine(HELD)
        steps, warned = settle(root, later, VARIABLES, "daemon-reload", "restart docker.service")
    assert steps["engine-proxy"] == "10.0.1.5:3128, the engine was restarted"
    assert warned == []
    assert settle(root, FakeEngine(HELD), VARIABLES)[0]["engine-proxy"] == "10.0.1.5:3128"


def test_a_restart_that_did_not_help_is_told_and_not_made_again(root: Path) -> None:
    write(root, "/etc/docker/daemon.json", '{"log-opts": {"max-size": "1g"}}')
    settle(root, FakeEngine({}, {}), VARIABLES, "daemon-reload", "restart docker.service")

    steps, warned = settle(root, FakeEngine({}), VARIABLES)

    assert steps["engine-proxy"] == "10.0.1.5:3128"
    assert re.search(r"other proxy settings .*systemctl cat docker.service", warned[0])


def test_without_systemd_what_the_engine_lacks_is_a_warning_until_it_was_started_with_it(root: Path) -> None:
    write(root, "/etc/docker/daemon.json", '{"log-opts": {"max-size": "1g"}}')
    (root / "run/systemd/system").rmdir()

    for _ in range(2):
        steps, warned = settle(root, FakeEngine({}), VARIABLES)
        assert steps["engine-proxy"] == "10.0.1.5:3128 is not handed over: systemd does not run this host"
        assert [line.split()[1] for line in warned] == ["engine.proxy-missing:"]
        assert "p%24ss" not in warned[0]
    steps, warned = settle(root, FakeEngine(HELD), VARIABLES)
    assert steps["engine-proxy"] == "left alone: the engine was started with one"
    assert warned == []
    assert (root / "etc/docker/daemon.json").read_text() == '{"log-opts": {"max-size": "1g"}}'


def test_what_was_taken_back_under_running_containers_is_still_known_later(root: Path) -> None:
    write(root, "/etc/docker/daemon.json", '{"log-opts": {"max-size": "1g"}}')
    with engine_process(root):
        settle(root, FakeEngine({}, HELD, running=1), VARIABLES, "daemon-reload")
        settle(root, FakeEngine(HELD, running=1), {}, "daemon-reload")
        steps, warned = settle(root, FakeEngine({}), {}, "daemon-reload", "restart docker.service")

    assert steps["engine-proxy"] == "taken back, the bootstrap file has none, the engine was restarted"
    assert warned == []
