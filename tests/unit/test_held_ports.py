"""A port that the engine keeps for nobody: freed by a restart of the engine, where nobody else is hurt by that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import EngineError
from agent.host.clock import Deadline
from agent.report.record import Recorder
from agent.stages.held_ports import let_go
from tests.unit import fakes
from tests.unit.fakes import FakeClock, FakeCommands
from tests.unit.runs import run_on

HELD = (
    "Error response from daemon: driver failed programming external connectivity on endpoint api-telapi-1 (b0686a):"
    " Bind for 0.0.0.0:3001 failed: port is already allocated"
)
SAID = (" Container api-telapi-1  Starting", HELD)
RESTART = ("systemctl", "restart", "docker.service")
Running = list[tuple[str, frozenset[int]]]


class FakeEngine:
    """Containers that run, by project and with their ports; answers after a restart, or does not."""

    def __init__(self, running: Running, *, answers: bool = True) -> None:
        self._running, self._answers = running, answers

    def published_ports(self) -> Running:
        return self._running

    def wait_ready(self, deadline: Deadline, tell: Callable[[BaseException], None]) -> str:
        if not self._answers:
            raise EngineError("waiting for the Docker engine", "Connection refused (for 10 s)", "start it")
        return "20.10.24"


class Place:
    """A run on a host of its own."""

    def __init__(self, root: Path, running: Running, *, systemd: bool = True, answers: bool = True) -> None:
        if systemd:
            (root / "run/systemd/system").mkdir(parents=True)
        self.commands, clock = FakeCommands(), FakeClock()
        self.recorder = Recorder(fakes.HEAD, clock, [])
        self._run = run_on(
            root,
            clock=clock,
            commands=self.commands,
            engine=FakeEngine(running, answers=answers),
            recorder=self.recorder,
        )

    def let_go(self, *said: str) -> bool:
        with self.recorder.step("up", "starting the services"):
            freed = let_go(self._run, "api", said)
        self.commands.assert_all_ran()
        return freed


def test_a_port_that_no_container_has_is_freed_by_a_restart_which_is_told(tmp_path: Path) -> None:
    place = Place(tmp_path, [("api", frozenset({8080}))])
    place.commands.expect(*RESTART)

    assert place.let_go(*SAID)
    [told] = place.recorder.warnings
    assert "holds the port 3001 for a container that does not run" in told
    assert "the engine was restarted" in told


@pytest.mark.parametrize("project", ["api", "other", ""])
def test_a_port_that_a_running_container_has_is_no_fault_of_the_engine(tmp_path: Path, project: str) -> None:
    place = Place(tmp_path, [(project, frozenset({3001}))])

    assert not place.let_go(*SAID)
    assert place.recorder.warnings == []


def test_what_up_failed_with_otherwise_is_left_alone(tmp_path: Path) -> None:
    in_use = "listen tcp4 0.0.0.0:3001: bind: address already in use"

    assert not Place(tmp_path, []).let_go(SAID[0], in_use)


def test_under_anybody_elses_container_the_engine_is_not_restarted_but_it_is_said_what_to_do(tmp_path: Path) -> None:
    place = Place(tmp_path, [("other", frozenset())])

    assert not place.let_go(*SAID)
    assert "`systemctl restart docker`" in place.recorder.warnings[0]


def test_without_systemd_it_is_said_what_to_do(tmp_path: Path) -> None:
    place = Place(tmp_path, [], systemd=False)

    assert not place.let_go(*SAID)
    assert "`systemctl restart docker`" in place.recorder.warnings[0]


def test_an_engine_that_systemd_cannot_restart_is_not_asked_again(tmp_path: Path) -> None:
    place = Place(tmp_path, [])
    place.commands.expect(*RESTART, status=1)

    assert not place.let_go(*SAID)


def test_an_engine_that_does_not_come_back_is_told_with_why_it_was_restarted(tmp_path: Path) -> None:
    place = Place(tmp_path, [], answers=False)
    place.commands.expect(*RESTART)

    with pytest.raises(EngineError, match="so that it lets the port 3001 go"):
        place.let_go(*SAID)
