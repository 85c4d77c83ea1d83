"""Two runs never meet: not while both live, and not when the first one was killed in the middle of its work."""

from __future__ import annotations

import json
import os
import signal
import time

from tests.lab import docker_wrapper
from tests.lab.lab import Lab
from tests.lab.process import wait_until
from tests.lab.world import BUNDLE
from tests.lab_tests import reports
from tests.lab_tests.test_children import composes, guardians, in_up, start


def mend(lab: Lab) -> None:
    """The migration ends again."""
    lab.world.put_file("api/docker-compose.yaml", (BUNDLE / "api/docker-compose.yaml").read_text())


def test_of_two_runs_one_is_refused_with_who_the_other_is(instance: Lab) -> None:
    with in_up(instance) as running:
        began = time.monotonic()
        refused = instance.agent("init")

        assert refused.returncode == 73, refused.stderr
        assert time.monotonic() - began < 5
        cause = reports.errors(refused.stderr)[0]["cause"]
        assert "another run is at work: `delphi-agent init`, pid " in cause
        assert "started by root" in cause
        status = json.loads(instance.machine.path("/run/delphi-agent/status.json").read_text())
        assert status["outcome"] == "running", "the status is the other run's"
        assert composes(instance), "its children are left alone"
        running.signal(signal.SIGTERM)
        running.wait(10)


def test_a_run_that_waits_says_for_whom_and_goes_on_when_the_other_has_ended(instance: Lab) -> None:
    with in_up(instance) as first:
        second = start(instance, "--lock-wait", "60", "--log-level", "debug")
        wait_until(lambda: "another run: `delphi-agent init`" in second.stderr(), "what the second run waits for")
        assert composes(instance)
        mend(instance)
        first.signal(signal.SIGTERM)

        first.wait(10)
        assert second.wait(60) == 0, second.stderr()
    assert instance.get(3001, "/health") == "ok\n"


def test_a_run_that_waits_in_vain_is_refused(instance: Lab) -> None:
    with in_up(instance) as running:
        began = time.monotonic()

        assert instance.agent("init", "--lock-wait", "1").returncode == 73
        assert time.monotonic() - began > 1
        running.signal(signal.SIGTERM)
        running.wait(10)


def test_after_a_kill_in_the_middle_of_up_the_next_run_succeeds_at_once(instance: Lab) -> None:
    with in_up(instance) as running:
        mend(instance)
        former = composes(instance)
        running.signal(signal.SIGKILL)
        running.wait(10)

        second = start(instance)
        # What the second run does it does without them.
        wait_until(lambda: '"step": "bootstrap"' in second.stderr(), "the second run", 30)
        assert [pid for pid in former if pid in composes(instance)] == []
        assert second.wait(90) == 0, second.stderr()
    assert instance.get(3001, "/health") == "ok\n"
    assert guardians(instance) == []


def test_a_run_whose_guardian_was_killed_with_it_is_cleared_away_by_the_next_one_which_says_so(instance: Lab) -> None:
    with in_up(instance) as running:
        mend(instance)
        former = composes(instance)
        (guardian,) = guardians(instance)
        os.kill(guardian, signal.SIGKILL)
        running.signal(signal.SIGKILL)
        running.wait(10)
        time.sleep(0.5)
        assert former == composes(instance), "nobody ends them before the next run"

        done = instance.agent("init")

        assert done.returncode == 0, done.stderr
    said = [event["text"] for event in reports.events(done.stderr) if event["event"] == "leftovers.ended"]
    assert len(said) == 1
    assert "ended what a run that was killed had left running: `docker compose " in said[0]
    assert "docker-compose, pid " in said[0]
    assert composes(instance) == []


def test_a_plugin_that_has_outlived_agent_guardian_and_docker_command_is_found_too(instance: Lab) -> None:
    # Somebody's own docker command: Compose is called through it.
    docker_wrapper.put(instance)
    with in_up(instance) as running:
        mend(instance)
        wait_until(lambda: len(composes(instance)) == 2, "the docker command and the plugin")
        command, plugin = composes(instance)
        (guardian,) = guardians(instance)
        # Stopped, it does not notice that its parent is gone.
        os.kill(plugin, signal.SIGSTOP)
        os.kill(guardian, signal.SIGKILL)
        running.signal(signal.SIGKILL)
        running.wait(10)
        os.kill(command, signal.SIGKILL)
        wait_until(lambda: composes(instance) == [plugin], "the end of the docker command")

        done = instance.agent("init")

        assert done.returncode == 0, done.stderr
        assert composes(instance) == []
    said = [event["text"] for event in reports.events(done.stderr) if event["event"] == "leftovers.ended"]
    assert "docker-compose, pid " in said[0]


# What systemd gives to everything below a unit, the commands of cloud-init included.
BOOT = {"INVOCATION_ID": "4c4d6b4b7e9a51c3f1d20e7a00ffee00"}


def test_a_run_that_meets_a_boot_joins_it_and_ends_with_its_code(instance: Lab) -> None:
    with in_up(instance, env=BOOT) as boot:
        second = start(instance)
        wait_until(lambda: '"step": "join"' in second.stderr(), "the second run to join")
        asks_for_more = instance.agent("init", "--force-recreate")
        boot.signal(signal.SIGTERM)

        code = boot.wait(60)
        assert (code, second.wait(10)) == (code, code), second.stderr()
    assert code in {75, 76}
    assert asks_for_more.returncode == 73, "what it asks for, the boot does not do"
    end = reports.finished(second.stderr())
    assert "which this one has joined" in end["text"]
    history = instance.machine.path("/var/lib/delphi-agent/history.jsonl").read_text().splitlines()
    assert len(history) == 1, "one run of the two did something"


def test_a_boot_that_dies_is_taken_over_by_who_had_joined_it(instance: Lab) -> None:
    with in_up(instance, env=BOOT) as boot:
        mend(instance)
        second = start(instance, env=BOOT)
        wait_until(lambda: '"step": "join"' in second.stderr(), "the second run to join")
        boot.signal(signal.SIGKILL)
        boot.wait(10)

        assert second.wait(90) == 0, second.stderr()
    assert instance.get(3001, "/health") == "ok\n"
