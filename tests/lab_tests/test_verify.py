"""Seeing a project healthy on a real engine: what is well, what fails at once and with which evidence, and checks."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.lab.lab import Lab
from tests.lab.process import wait_until
from tests.lab.world import NAMESPACE, ROLE
from tests.lab_tests import reports
from tests.lab_tests.projects import init, upload

WELL = """services:
  none: {<<: *app, deploy: {replicas: 0}}
  zero: {<<: *app, scale: 0}
  twice: {<<: [*app, *well], deploy: {replicas: 2}}
  plain: *app
  once: {<<: *app, restart: "no", command: ["true"]}
  tries:
    <<: *app
    restart: on-failure
    command: [sh, -c, 'echo >>/tmp/x; test $(wc -l </tmp/x) -ge 4']
  after:
    <<: [*app, *well]
    depends_on: {once: {condition: service_completed_successfully}}
  slow:
    <<: *app
    command: [sh, -c, 'sleep 2; touch /tmp/up; exec sleep 1000']
    healthcheck: {test: [CMD, test, -e, /tmp/up], interval: 200ms, retries: 1, start_period: 20s}
  stumbles:
    <<: *app
    command: [sh, -c, 'test -e /tmp/x || { touch /tmp/x; exit 1; }; exec sleep 1000']
  chosen: {<<: [*app, *well], profiles: [chosen]}
  other: {<<: *app, command: ["false"], profiles: [other]}
"""


def failed(lab: Lab, *args: str) -> tuple[dict[str, Any], float]:
    """The error of a deploy that must fail, and how long it took."""
    began = time.monotonic()
    done = lab.agent("init", "--no-rollback", "--deadline", "60", *args)
    seconds = time.monotonic() - began
    assert done.returncode == 76, done.stderr
    [error] = reports.errors(done.stderr)
    return error, seconds


def test_every_kind_of_service_that_is_well_is_seen_to_be(instance: Lab) -> None:
    upload(instance, WELL.replace("services:\n", "services:\n  former: *app\n"))
    world = instance.world
    world.write_bootstrap({**world.bootstrap_env(), "COMPOSE_PROFILES": "chosen"})
    init(instance)
    upload(instance, WELL)

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert reports.finished(done.stderr)["services"] == {
        "after": "healthy",
        "chosen": "healthy",
        "none": "scaled to 0",
        "once": "done",
        "plain": "running",
        "slow": "healthy",
        "stumbles": "running",
        "tries": "done",
        "twice": "healthy",
        "zero": "scaled to 0",
    }
    names = {item["Labels"]["com.docker.compose.service"] for item in instance.engine.containers()}
    assert names.isdisjoint({"former", "none", "zero", "other"})


def test_a_crash_loop_fails_long_before_the_deadline_with_its_last_lines_and_no_secret(instance: Lab) -> None:
    secret = "CANARYcrashSecret6gT2"
    instance.world.put_secret(f"{NAMESPACE}/{ROLE}/secrets", {"KEY": secret})
    loop = """services:
  loops:
    <<: *app
    restart: always
    command: [sh, -c, 'echo "starting with $$KEY"; exit 3']
    environment: [KEY]
  steady: *app
"""
    upload(instance, loop, "variables:\n- {name: KEY, sensitive: true}\n")

    error, seconds = failed(instance)

    assert seconds < 20
    assert error["cause"].startswith("loops was restarted ")
    assert "    starting with [redacted]" in error["details"]
    assert secret not in reports.whole(error)
    assert "docker logs api-loops-1" in error["next_step"]


def test_what_cannot_get_well_is_told_with_the_evidence_of_each(instance: Lab) -> None:
    sick = """services:
  sick:
    <<: *app
    healthcheck: {test: [CMD-SHELL, 'echo no answer from KEY; exit 1'], interval: 200ms, retries: 2}
  job: {<<: *app, restart: "no", command: [sh, -c, 'echo cannot do it; exit 4']}
"""
    upload(instance, sick)

    error, seconds = failed(instance)

    assert seconds < 20
    told = reports.whole(error)
    assert "job exited with 4" in error["cause"]
    assert "    cannot do it" in error["details"]
    assert "sick is unhealthy" in told or "sick: starting" in told


def test_an_unhealthy_service_is_told_with_its_last_health_check(instance: Lab) -> None:
    test = "{test: [CMD-SHELL, 'echo no answer; exit 1'], interval: 200ms, retries: 2}"
    upload(instance, f"services:\n  sick: {{<<: *app, healthcheck: {test}}}\n")

    error, _ = failed(instance)

    assert error["cause"] == "sick is unhealthy"
    assert "  last health check of api-sick-1:" in error["details"]
    assert "    no answer" in error["details"]


def test_a_one_shot_that_others_wait_for_and_that_fails_is_told_with_its_log(instance: Lab) -> None:
    chain = """services:
  migrate: {<<: *app, restart: "no", command: [sh, -c, 'echo no such table; exit 5']}
  web:
    <<: *app
    depends_on: {migrate: {condition: service_completed_successfully}}
"""
    upload(instance, chain)

    error, seconds = failed(instance)

    assert seconds < 20
    assert "migrate exited with 5" in error["cause"]
    assert "    no such table" in error["details"]


def test_a_crash_loop_that_others_wait_for_fails_before_the_deadline_too(instance: Lab) -> None:
    chain = """services:
  db:
    <<: [*app, *well]
    command: [sh, -c, 'echo bad data; exit 6']
  web:
    <<: *app
    depends_on: {db: {condition: service_healthy}}
"""
    upload(instance, chain)

    error, seconds = failed(instance)

    assert seconds < 30
    assert "db " in error["cause"]
    assert "    bad data" in error["details"]


def test_a_job_that_fails_and_is_restarted_for_ever_fails_before_the_deadline_though_others_wait_for_its_end(
    instance: Lab,
) -> None:
    chain = """services:
  migrate: {<<: *app, restart: on-failure, command: [sh, -c, 'echo no such table; exit 5']}
  web:
    <<: *app
    depends_on: {migrate: {condition: service_completed_successfully}}
"""
    upload(instance, chain)

    for _ in range(2):  # the second time the container that loops is there already
        error, seconds = failed(instance)

        assert seconds < 30
        assert error["cause"].startswith("migrate was restarted ")
        assert "    no such table" in error["details"]
        assert instance.machine.run(["pgrep", "-f", "compose.* up "]).stdout == ""


def test_a_paused_container_is_told_as_one(instance: Lab) -> None:
    upload(instance, "services:\n  web: {<<: [*app, *well]}\n")
    init(instance)
    instance.engine.docker("pause", "api-web-1")

    error, seconds = failed(instance)

    assert seconds < 20
    assert "web is paused" in error["cause"]


# --- checks that the bundle declares

CHECKED = """services:
  web:
    image: ${ECR_REGISTRY}/app:${ECR_TAG}
    init: true
    restart: unless-stopped
    ports: ["127.0.0.1:3001:3001"]
    healthcheck: {test: [CMD, "true"], interval: 200ms}
"""
READY = '#!/bin/sh\ntest "$1" = --strict && test "$KEY" = CANARYcheckKey8dR3 && test -f vars.yaml\n'
VARIABLES = "variables:\n- {name: KEY, sensitive: true}\n- {name: PORT, default: '3001'}\n"
PASSING = """checks:
- {name: answers, http: 'http://127.0.0.1:${PORT}/health', within: 10}
- {http: 'http://127.0.0.1:3001/nothing', status: [404, 410], within: 10}
- {tcp: '127.0.0.1:${PORT}', within: 10}
- {command: [./checks/ready.sh, --strict], within: 10}
- {service: web, within: 30, stable: 1}
"""


@pytest.fixture
def checked(instance: Lab) -> Lab:
    instance.world.put_secret(f"{NAMESPACE}/{ROLE}/secrets", {"KEY": "CANARYcheckKey8dR3"})
    return instance


def test_checks_run_after_the_services_are_well_also_when_nothing_changed(checked: Lab) -> None:
    upload(checked, CHECKED, VARIABLES + PASSING, {"api/checks/ready.sh": READY})

    first, second = checked.agent("init"), checked.agent("init")

    for done, outcome in ((first, "verified"), (second, "unchanged")):
        assert done.returncode == 0, done.stderr
        assert reports.finished(done.stderr)["outcome"] == outcome
        steps = list(reports.steps(done.stderr))
        assert reports.steps(done.stderr)["checks"] == "4 checks passed"
        assert steps.index("verify") < steps.index("checks") < steps.index("record")


def test_checks_that_do_not_pass_fail_the_deploy_all_with_what_was_seen_last(checked: Lab) -> None:
    failing = """checks:
- {name: answers, http: 'http://127.0.0.1:${PORT}/nothing', within: 1}
- {name: listens, tcp: '127.0.0.1:3999', within: 1}
- {name: ready, command: [sh, -c, 'echo key is $KEY; exit 9'], within: 1}
- {name: passes, http: 'http://127.0.0.1:3001/health'}
"""
    upload(checked, CHECKED, VARIABLES + failing)

    error, seconds = failed(checked)

    assert seconds < 20
    assert error["cause"] == (
        "answers: answered 404 Not Found, within 1 s; listens: Connection refused, within 1 s;"
        " ready: ended with 9, within 1 s"
    )
    assert "answers (http http://127.0.0.1:${PORT}/nothing): answered 404 Not Found" in error["details"]
    assert "  key is [redacted]" in error["details"]


def test_a_service_has_the_deadline_that_its_check_gives_it(instance: Lab) -> None:
    slow = "{test: [CMD, 'false'], interval: 200ms, start_period: 60s}"
    upload(
        instance,
        f"services:\n  web: {{<<: *app, healthcheck: {slow}}}\n  db: *app\n",
        "checks:\n- {service: web, within: 2}\n",
    )

    error, seconds = failed(instance)

    assert seconds < 20
    assert error["cause"] == "web is starting, its health check has not passed yet within 2 s"


def test_a_check_of_a_service_that_is_not_there_ends_the_run_before_anything_changes(instance: Lab) -> None:
    upload(instance, "services:\n  web: *app\n", "checks:\n- {service: wep, within: 2}\n")

    done = instance.agent("init")

    assert done.returncode == 65
    [error] = reports.errors(done.stderr)
    assert "vars.yaml:3:3: the project has no service wep" in error["details"]
    assert instance.engine.containers() == []
    assert not instance.machine.path("/opt/services/api").exists()


SLOW = """services:
  a:
    <<: *app
    tmpfs: [/tmp]
    command: [sh, -c, "sleep 4; touch /tmp/ok; sleep 1000"]
    healthcheck: {test: [CMD, test, -e, /tmp/ok], interval: 300ms, timeout: 2s, retries: 100}
"""


def test_an_engine_that_is_restarted_meanwhile_is_waited_for(instance: Lab) -> None:
    upload(instance, SLOW)
    running = instance.machine.start_process([*instance.agent_command(), "init"], env=instance.agent_env())
    wait_until(lambda: '"step": "verify"' in running.stderr(), "the wait for health")

    instance.engine.restart()

    assert running.wait(90) == 0, running.stderr()


def test_an_engine_that_stays_away_is_no_failed_deploy_where_nothing_was_started(instance: Lab) -> None:
    upload(instance, SLOW.replace("sleep 4", "sleep 12"))
    init(instance)
    instance.engine.docker("restart", "api-a-1")
    running = instance.machine.start_process([*instance.agent_command(), "init"], env=instance.agent_env())
    wait_until(lambda: '"step": "verify"' in running.stderr(), "the wait for health")
    instance.engine.stop()
    try:
        assert running.wait(60) == 69, running.stderr()
    finally:
        instance.engine.start()
        instance.engine.wait_ready()
    init(instance)
