"""Seeing the project healthy: one row per state that a container can be in, and the wait around it."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agent.errors import DeployFailed, EngineError
from agent.host.engine_answers import Container, container_of
from agent.report.record import Recorder
from agent.stages.project import Comparison
from agent.steps import verify
from agent.steps.arrivals import Arrivals
from agent.steps.compose import Model, Plan
from agent.steps.service import Service
from agent.steps.verdict import RESTART_SECONDS, RETRIES, STABLE_SECONDS, Health, Verdict
from agent.steps.verify import Limit, Watch
from tests.unit.fakes import EPOCH, HEAD, HEALTHY, FakeClock, FakeEngine


def ago(seconds: float) -> dt.datetime:
    return EPOCH - dt.timedelta(seconds=seconds)


def service(name: str = "api", replicas: int = 1) -> Service:
    return Service(name=name, image="x", replicas=replicas, mounts=())


def model(*services: Service) -> Model:
    return Model(name="api", services=services or (service(),), warnings=())


PLAIN = replace(HEALTHY, health=None, started=ago(60), up=60.0)
EXITED = replace(PLAIN, state="exited", restart_policy="no", up=None)

LOOPING = replace(EXITED, restart_policy="always", exit_code=1, finished=ago(1))
RETRYING = replace(PLAIN, state="restarting", restart_policy="on-failure", exit_code=1)


def judged(containers: Sequence[Container], replicas: int = 1, before: dict[str, int] | None = None) -> Health:
    seen = verify.look(model(service(replicas=replicas)), FakeEngine(containers), Watch(FakeClock()), before or {})
    assert len(seen) == 1
    return seen[0]


TABLE: list[tuple[str, list[Container], int, Verdict, str]] = [
    ("healthy", [HEALTHY], 1, "well", "healthy"),
    ("healthy since a moment", [replace(HEALTHY, up=0.0)], 1, "well", "healthy"),
    ("unhealthy", [replace(HEALTHY, health="unhealthy")], 1, "failed", "unhealthy"),
    ("starting", [replace(HEALTHY, health="starting")], 1, "waiting", "starting"),
    ("no check, within the window", [replace(PLAIN, up=STABLE_SECONDS - 1)], 1, "waiting", "running"),
    ("no check, after the window", [replace(PLAIN, up=STABLE_SECONDS)], 1, "well", "running"),
    ("no check, started in the future", [replace(PLAIN, started=ago(-3600))], 1, "well", "running"),
    ("no check, started hours ago by the clock", [replace(PLAIN, started=ago(36000), up=1.0)], 1, "waiting", "running"),
    ("no check, nothing known of its start", [replace(PLAIN, started=None, up=None)], 1, "waiting", "running"),
    ("one-shot with 0", [EXITED], 1, "well", "done"),
    ("one-shot with 1", [replace(EXITED, exit_code=1)], 1, "failed", "exited"),
    ("on-failure with 0", [replace(EXITED, restart_policy="on-failure")], 1, "well", "done"),
    ("on-failure given up", [replace(EXITED, restart_policy="on-failure", exit_code=1)], 1, "failed", "exited"),
    ("on-failure, at the third", [replace(EXITED, restart_policy="on-failure", restarts=2)], 1, "well", "done"),
    ("on-failure, tries", [replace(RETRYING, restarts=RETRIES - 1)], 1, "waiting", "restarting"),
    ("on-failure, tries in vain", [replace(RETRYING, restarts=RETRIES)], 1, "failed", "restarting"),
    ("to be restarted", [replace(EXITED, restart_policy="always")], 1, "waiting", "exited"),
    ("to be restarted unless", [replace(EXITED, restart_policy="unless-stopped", exit_code=1)], 1, "waiting", "exited"),
    ("to be restarted, ended hours ago by the clock", [replace(LOOPING, finished=ago(36000))], 1, "waiting", "exited"),
    ("restarting once", [replace(PLAIN, state="restarting", restarts=1)], 1, "waiting", "restarting"),
    ("restart loop", [replace(PLAIN, state="restarting", restarts=2)], 1, "failed", "restarting"),
    ("restart loop, lucky look", [replace(PLAIN, restarts=5)], 1, "failed", "restarting"),
    ("restart loop, lucky look with a check", [replace(HEALTHY, restarts=2)], 1, "failed", "restarting"),
    ("created", [replace(PLAIN, state="created", started=None)], 1, "waiting", "created"),
    ("paused", [replace(PLAIN, state="paused")], 1, "failed", "paused"),
    ("dead", [replace(PLAIN, state="dead")], 1, "failed", "dead"),
    ("removing", [replace(PLAIN, state="removing")], 1, "failed", "removing"),
    ("missing", [], 1, "waiting", "missing"),
    ("one of two missing", [HEALTHY], 2, "waiting", "missing"),
    ("scaled to 0", [], 0, "well", "scaled to 0"),
    ("two of two", [HEALTHY, replace(HEALTHY, id="c2")], 2, "well", "healthy"),
    ("the worst speaks", [HEALTHY, replace(HEALTHY, id="c2", health="unhealthy")], 2, "failed", "unhealthy"),
    ("the second worst speaks", [HEALTHY, replace(HEALTHY, id="c2", health="starting")], 2, "waiting", "starting"),
    ("of another service only", [replace(HEALTHY, service="db")], 1, "waiting", "missing"),
]


@pytest.mark.parametrize(
    ("containers", "replicas", "verdict", "state"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_each_state_has_its_verdict(containers: list[Container], replicas: int, verdict: Verdict, state: str) -> None:
    seen = judged(containers, replicas)

    assert (verdict, state) == (seen.verdict, seen.state)


def test_restarts_from_before_the_run_do_not_count() -> None:
    old = replace(HEALTHY, restarts=7)

    assert judged([old], before={"c1": 7}).verdict == "well"
    assert judged([old], before={"c1": 5}).verdict == "failed"
    assert verify.restart_counts([old]) == {"c1": 7}


def test_a_job_that_had_its_tries_before_the_run_is_a_loop_at_the_second_more() -> None:
    tried = replace(RETRYING, restarts=RETRIES + 1)

    assert judged([tried], before={"c1": RETRIES}).verdict == "waiting"
    assert judged([replace(tried, restarts=RETRIES + 2)], before={"c1": RETRIES}).verdict == "failed"


def test_a_restart_loop_is_told_with_its_exit_code_unless_the_engine_has_forgotten_it() -> None:
    waits, runs = replace(PLAIN, state="restarting", restarts=2, exit_code=3), replace(PLAIN, restarts=2)

    assert judged([waits]).note == "was restarted 2 times, the last exit code is 3"
    assert judged([runs]).note == "was restarted 2 times"


@pytest.mark.parametrize("state", ["exited", "created", "dead"])
def test_the_count_of_a_container_that_has_to_be_started_begins_anew(state: str) -> None:
    assert verify.restart_counts([replace(HEALTHY, restarts=7, state=state)]) == {"c1": 0}


def wait(engine: FakeEngine, clock: FakeClock, seconds: float = 60, *, told: list[str] | None = None) -> list[Health]:
    said: list[str] = [] if told is None else told
    return verify.wait(model(), engine, clock.deadline(seconds), said.append, restarts={})


STARTING = replace(HEALTHY, health="starting")


@pytest.mark.parametrize(
    ("container", "stable", "verdict"),
    [
        (replace(PLAIN, up=6.0), None, "well"),
        (replace(PLAIN, up=6.0), 10, "waiting"),
        (replace(PLAIN, up=10.0), 10, "well"),
        (replace(PLAIN, up=2.0), 1, "well"),
        (replace(HEALTHY, up=6.0), None, "well"),
        (replace(HEALTHY, up=6.0), 10, "waiting"),
        (replace(HEALTHY, up=10.0), 10, "well"),
        (replace(HEALTHY, health="unhealthy", up=60.0), 10, "failed"),
        (replace(HEALTHY, health="starting", up=60.0), 10, "waiting"),
    ],
)
def test_the_bundle_may_set_the_window_of_a_service(
    container: Container, stable: float | None, verdict: Verdict
) -> None:
    limits = {"api": Limit(stable=stable)}

    assert verify.look(model(), FakeEngine([container]), Watch(FakeClock()), {}, limits)[0].verdict == verdict


def test_a_service_with_a_deadline_of_its_own_fails_at_that_one() -> None:
    clock = FakeClock()
    engine = FakeEngine([STARTING], logs={"api-api-1": []})

    with pytest.raises(DeployFailed, match="has not passed yet within 7 s"):
        verify.wait(model(), engine, clock.deadline(60), lambda _: None, restarts={}, limits={"api": Limit(within=7)})
    assert sum(clock.sleeps) == pytest.approx(7, abs=1)


def test_a_deadline_of_a_service_is_no_matter_once_it_is_well() -> None:
    slow = replace(HEALTHY, id="c2", name="api-db-1", service="db", health="starting")
    engine = FakeEngine(*[[HEALTHY, slow]] * 20, [HEALTHY, replace(slow, health="healthy")])
    project = model(service(), service("db"))

    seen = verify.wait(
        project, engine, FakeClock().deadline(60), lambda _: None, restarts={}, limits={"api": Limit(within=1)}
    )

    assert [item.verdict for item in seen] == ["well", "well"]


def test_a_project_that_is_well_is_seen_at_the_first_look() -> None:
    clock = FakeClock()
    seen = wait(FakeEngine([HEALTHY]), clock)

    assert [(item.service, item.state) for item in seen] == [("api", "healthy")]
    assert clock.sleeps == []


def test_it_is_waited_for_and_what_is_missing_is_told() -> None:
    clock, told = FakeClock(), list[str]()
    wait(FakeEngine([], [STARTING], [HEALTHY]), clock, told=told)

    assert told == ["api (missing)", "api (starting)"]
    assert clock.sleeps == [verify.SHORTEST_SECONDS] * 2


def test_who_takes_long_is_looked_at_less_often() -> None:
    clock = FakeClock()
    wait(FakeEngine(*[[STARTING]] * 60, [HEALTHY]), clock)

    assert clock.sleeps == sorted(clock.sleeps)
    assert (clock.sleeps[0], clock.sleeps[-1]) == (verify.SHORTEST_SECONDS, verify.POLL_SECONDS)


def test_a_container_without_a_health_check_is_watched_for_the_whole_window() -> None:
    clock = FakeClock()
    wait(FakeEngine([replace(PLAIN, up=None)]), clock)

    assert sum(clock.sleeps) == pytest.approx(STABLE_SECONDS, abs=verify.POLL_SECONDS)


HOURS = dt.timedelta(hours=9)


class Stepped(FakeClock):
    """A host whose wall clock NTP sets by hours, after two seconds, as on a first boot."""

    def __init__(self, step: dt.timedelta) -> None:
        super().__init__()
        self._step = step

    def now(self) -> dt.datetime:
        return super().now() + (self._step if self.monotonic() >= 1002 else dt.timedelta())


@pytest.mark.parametrize("step", [HOURS, -HOURS], ids=["ahead", "back"])
def test_a_clock_that_is_set_by_hours_makes_the_window_neither_shorter_nor_longer(step: dt.timedelta) -> None:
    clock = Stepped(step)

    wait(FakeEngine([replace(PLAIN, started=EPOCH, up=None)]), clock)

    assert sum(clock.sleeps) == pytest.approx(STABLE_SECONDS, abs=verify.POLL_SECONDS)


@pytest.mark.parametrize("step", [HOURS, -HOURS], ids=["ahead", "back"])
def test_a_clock_that_is_set_by_hours_gives_nobody_up_who_is_to_be_restarted_nor_waits_for_who_is_not(
    step: dt.timedelta,
) -> None:
    clock = Stepped(step)

    with pytest.raises(DeployFailed, match="exited with 1 and is not started again"):
        wait(FakeEngine([replace(LOOPING, finished=EPOCH)], logs={"api-api-1": []}), clock)

    assert sum(clock.sleeps) == pytest.approx(RESTART_SECONDS, abs=2 * verify.POLL_SECONDS)


@pytest.mark.parametrize("again", [replace(PLAIN, up=None, restarts=1), replace(PLAIN, up=None, started=ago(-3))])
def test_the_window_of_a_container_that_is_started_again_begins_anew(again: Container) -> None:
    clock = FakeClock()
    first = [replace(PLAIN, up=None)] * 12

    wait(FakeEngine(*[[one] for one in first], [again]), clock)

    assert sum(clock.sleeps[12:]) == pytest.approx(STABLE_SECONDS, abs=verify.POLL_SECONDS)


def test_for_how_long_a_container_runs_is_asked_of_the_kernel() -> None:
    state = {"Status": "running", "ExitCode": 0, "StartedAt": "2016-01-02T03:04:05.6Z", "Pid": os.getpid()}
    data = {"Id": "c1", "Name": "/api-1", "Image": "x", "Config": {}, "HostConfig": {}, "State": state}

    up = container_of(data).up
    assert up is not None
    assert 0 <= up < 36000
    assert container_of({**data, "State": {**state, "Status": "exited", "Pid": 0}}).up is None
    assert container_of({**data, "State": {**state, "Pid": 2**22 + 1}}).up is None


def test_what_cannot_get_well_any_more_fails_at_once() -> None:
    clock = FakeClock()
    engine = FakeEngine([replace(HEALTHY, health="unhealthy")], logs={"api-api-1": ["boom"]})

    with pytest.raises(DeployFailed, match="api is unhealthy") as caught:
        wait(engine, clock)
    assert clock.sleeps == []
    assert caught.value.exit_status == 76
    assert "docker logs api-api-1" in caught.value.next_step


def test_what_is_not_well_at_the_deadline_has_failed() -> None:
    clock = FakeClock()

    with pytest.raises(DeployFailed, match="its health check has not passed yet within 30 s"):
        wait(FakeEngine([STARTING], logs={"api-api-1": []}), clock, 30)
    assert sum(clock.sleeps) == pytest.approx(30, abs=1)


def test_a_project_that_got_well_just_at_the_deadline_is_well() -> None:
    assert wait(FakeEngine([HEALTHY]), FakeClock(), 0)[0].verdict == "well"


def test_a_failure_comes_with_the_last_health_check_and_the_last_log_lines_of_who_failed_and_of_nobody_else() -> None:
    sick = replace(HEALTHY, health="unhealthy", health_log="\n".join(f"check {number}" for number in range(9)))
    well = replace(HEALTHY, id="c2", name="api-db-1", service="db")
    engine = FakeEngine([sick, well], logs={"api-api-1": [f"line {number}" for number in range(50)]})

    with pytest.raises(DeployFailed) as caught:
        verify.wait(model(service(), service("db")), engine, FakeClock().deadline(), lambda _: None, restarts={})
    details = caught.value.details
    assert details[0] == "api: unhealthy, is unhealthy"
    assert [f"    check {number}" for number in range(4, 9)] == list(details[2:7])
    assert details[7] == f"  last {verify.LOG_LINES} log lines of api-api-1:"
    assert [f"    line {number}" for number in range(50 - verify.LOG_LINES, 50)] == list(details[8:])


def test_an_empty_log_is_told_as_one() -> None:
    with pytest.raises(DeployFailed) as caught:
        wait(FakeEngine([replace(EXITED, exit_code=3)], logs={"api-api-1": []}), FakeClock())

    assert caught.value.details == ("api: exited, exited with 3", "  its log is empty")


def test_a_service_without_a_container_fails_without_a_log() -> None:
    with pytest.raises(DeployFailed, match="api has 0 of 1 containers within 1 s") as caught:
        wait(FakeEngine([]), FakeClock(), 1)

    assert "docker logs CONTAINER" in caught.value.next_step


class Away(FakeEngine):
    """Does not answer for so many looks."""

    def __init__(self, looks: int, *containers: Container) -> None:
        super().__init__(containers)
        self.left = looks

    def containers(self, project: str) -> list[Container]:
        self.left -= 1
        if self.left >= 0:
            raise EngineError("listing the containers", "Connection refused", "x")
        return super().containers(project)


def test_an_engine_that_is_away_for_a_moment_is_waited_for_and_told() -> None:
    told: list[str] = []

    assert wait(Away(30, HEALTHY), FakeClock(), told=told)[0].verdict == "well"
    assert set(told) == {"the Docker engine (Connection refused)"}


def test_an_engine_that_stays_away_is_told_long_before_the_deadline() -> None:
    clock = FakeClock()
    began = clock.monotonic()

    with pytest.raises(EngineError, match="Connection refused"):
        wait(Away(10_000, HEALTHY), clock, 300)

    assert clock.monotonic() - began == pytest.approx(verify.AWAY_SECONDS, abs=0.5)


class Mute(FakeEngine):
    """Keeps no logs, as with a log driver that cannot be read back."""

    def log_tail(self, container: Container, lines: int) -> list[str]:
        raise EngineError("reading the log", "configured logging driver does not support reading", "x")


def test_a_log_that_cannot_be_read_does_not_hide_the_verdict() -> None:
    with pytest.raises(DeployFailed, match="api is unhealthy") as caught:
        wait(Mute([replace(HEALTHY, health="unhealthy")]), FakeClock())

    assert "does not support reading" in caught.value.details[-1]


def test_a_failed_up_is_told_in_the_words_of_compose_with_all_that_is_not_well() -> None:
    error = verify.failure([], FakeEngine([]), FakeClock().deadline(), ["port is already allocated"])

    assert str(error) == "starting the services: port is already allocated"
    assert error.details == ("port is already allocated",)


def expect_no_loop(container: Container, *, leaving: frozenset[str] = frozenset()) -> None:
    """A look during `up`, when another service has no container yet."""
    engine = FakeEngine([container], logs={container.name: ["no such table"]})
    project = model(service(), service("web"))
    verify.expect_no_loop(project, engine, FakeClock().deadline(), {"c1": 3}, leaving)


@pytest.mark.parametrize("state", ["running", "restarting", "exited"])
def test_a_restart_loop_is_seen_while_the_project_is_started(state: str) -> None:
    with pytest.raises(DeployFailed, match="api was restarted 2 times") as caught:
        expect_no_loop(replace(PLAIN, state=state, restarts=5, exit_code=5))

    assert "    no such table" in caught.value.details
    assert "web: missing, has 0 of 1 containers" in caught.value.details


@pytest.mark.parametrize(
    "container",
    [
        replace(PLAIN, restarts=4),
        replace(PLAIN, state="exited", restart_policy="no", exit_code=5),
        replace(HEALTHY, health="unhealthy"),
    ],
    ids=["restarted once", "exited", "unhealthy"],
)
def test_while_the_project_is_started_nothing_else_is_judged(container: Container) -> None:
    expect_no_loop(container)


def test_a_restart_loop_that_is_being_replaced_is_no_matter() -> None:
    expect_no_loop(replace(PLAIN, restarts=9), leaving=frozenset({"c1"}))


def test_of_the_containers_that_are_there_those_are_leaving_that_compose_would_replace_or_remove() -> None:
    fates = {"api-api-1": "recreated", "api-db-1": "unchanged", "api-old-1": "removed", "api-new-1": "created"}
    before = [replace(HEALTHY, id=name, name=name) for name in ("api-api-1", "api-db-1", "api-old-1", "api-x-1")]

    seen = Comparison(plan=Plan(fates), fates=(), before=before, health=())

    assert seen.leaving == {"api-api-1", "api-old-1"}


def test_the_timeline_has_each_service_from_its_container_s_start_until_it_was_seen_well() -> None:
    clock = FakeClock()
    recorder = Recorder(HEAD, clock, [])
    clock.advance(10)
    slow = replace(HEALTHY, id="c2", name="api-db-1", service="db", health="starting", up=4.0)
    old = replace(HEALTHY, up=86400.0)
    engine = FakeEngine(*[[old, slow]] * 4, [old, replace(slow, health="healthy")])
    with recorder.step("verify", "x"):
        verify.wait(model(service(), service("db")), engine, clock.deadline(60), lambda _: None, restarts={})

    spans = {str(span["name"]): span for span in recorder.spans.document(str)}
    assert (spans["db"]["kind"], spans["db"]["started"]) == ("service", 6)
    assert spans["db"]["seconds"] == pytest.approx(4 + sum(clock.sleeps))
    assert (spans["api"]["started"], spans["api"]["seconds"]) == (10, 0)


def test_a_service_that_fails_is_in_the_timeline_with_its_state() -> None:
    recorder = Recorder(HEAD, FakeClock(), [])
    engine = FakeEngine([replace(HEALTHY, health="unhealthy")], logs={"api-api-1": []})
    with recorder.step("verify", "x"), pytest.raises(DeployFailed):
        wait(engine, FakeClock())

    (span,) = recorder.spans.document(str)
    assert span["error"] == "unhealthy"


def test_what_looks_failed_during_the_start_is_not_told_to_have_failed() -> None:
    recorder, arrivals = Recorder(HEAD, FakeClock(), []), Arrivals()
    with recorder.step("up", "x"):
        for health in ("starting", "unhealthy", "healthy"):
            engine = FakeEngine([replace(HEALTHY, health=health)])
            verify.expect_no_loop(model(), engine, FakeClock().deadline(), {}, (), arrivals=arrivals)

    (span,) = recorder.spans.document(str)
    assert (span["error"], span["seconds"]) == (None, 0)
