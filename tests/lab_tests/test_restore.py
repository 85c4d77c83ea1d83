"""A bad release on top of a good one: the host goes back by itself, or says why it does not."""

from __future__ import annotations

import json
import signal

import pytest

from tests.lab.lab import Lab
from tests.lab.process import wait_until
from tests.lab.world import TAG
from tests.lab_tests import reports
from tests.lab_tests.deploys import (
    CRASHES,
    GOOD,
    SERVICES,
    UNHEALTHY,
    compose_with,
    inspect,
    leftovers,
    look,
    numbers,
    state,
)


@pytest.fixture
def deployed(instance: Lab) -> Lab:
    """An instance with a good release, and a file of its own beside the bundle's."""
    key = instance.machine.path(f"{SERVICES}/api/tls/privkey.pem")
    key.parent.mkdir(parents=True)
    key.write_text("of this host")
    done = instance.agent("init")
    assert done.returncode == 0, done.stderr
    return instance


def test_a_release_that_crashes_is_taken_back_with_its_files_tag_and_images(deployed: Lab) -> None:
    before = look(deployed)
    deployed.registry.push("2.0", CRASHES)
    deployed.world.put_file("api/Caddyfile", "new")
    deployed.world.put_file("api/added.conf", "new")
    deployed.world.delete_file("common/otel-collector-config.yaml")
    deployed.world.put_file(
        "api/docker-compose.yaml",
        compose_with(deployed, "      - ../common/otel-collector-config.yaml:/etc/otel/config.yaml:ro\n", ""),
    )
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(ECR_TAG="2.0"))

    done = deployed.agent("init")

    assert done.returncode == 75, done.stderr
    after = look(deployed)
    assert (after.files, after.images, after.states) == (before.files, before.images, before.states)
    assert after.states == {"api-telapi-1": "healthy", "api-migrate-1": "exited 0"}
    assert b"ECR_TAG=2.0" in after.bootstrap
    assert leftovers(deployed) == []
    end = reports.finished(done.stderr)
    assert end["outcome"] == "restored"
    assert "release 1 (v1, tag 1.4.2) is back" in end["text"]
    told = reports.whole(reports.errors(done.stderr)[0])
    assert "CRASHED on purpose" in told
    assert "telapi" in told
    status = json.loads(deployed.agent("status", "--json").stdout)
    assert (status["exit_code"], status["outcome"], status["ready"]) == (75, "restored", False)


def test_what_failed_is_not_tried_again_until_something_changes_or_retry_is_given(deployed: Lab) -> None:
    deployed.registry.push("2.0", UNHEALTHY)
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(ECR_TAG="2.0"))
    assert deployed.agent("init").returncode == 75
    before = {name: item["Id"] for name, item in inspect(deployed).items()}

    again = deployed.agent("init")
    assert again.returncode == 75, again.stderr
    assert "not tried again" in reports.whole(reports.errors(again.stderr)[0])
    assert {name: item["Id"] for name, item in inspect(deployed).items()} == before

    retried = deployed.agent("init", "--retry")
    assert retried.returncode == 75, retried.stderr
    assert "is unhealthy" in reports.whole(reports.errors(retried.stderr)[0])

    deployed.registry.push("2.0", GOOD)
    mended = deployed.agent("init")
    assert mended.returncode == 0, mended.stderr
    assert deployed.get(3001, "/release") == "two\n"
    assert state(deployed)["failed"] is None
    assert numbers(deployed) == [1, 2]


def test_the_same_tag_with_other_content_is_taken_back_to_the_image_that_was_good(deployed: Lab) -> None:
    before = look(deployed)
    deployed.registry.push(TAG, CRASHES)

    done = deployed.agent("init")

    assert done.returncode == 75, done.stderr
    assert look(deployed) == before
    tagged = deployed.engine.docker("image", "inspect", "--format", "{{.Id}}", f"{image_name(deployed)}").stdout.strip()
    assert tagged == before.images["api-telapi-1"]
    assert deployed.agent("init").returncode == 75


def image_name(lab: Lab) -> str:
    name: str = inspect(lab)["api-telapi-1"]["Config"]["Image"]
    return name


def test_a_one_shot_that_fails_is_a_failed_deploy_and_is_taken_back(deployed: Lab) -> None:
    before = look(deployed)
    deployed.world.put_file(
        "api/docker-compose.yaml", compose_with(deployed, "echo migrated", "echo NO MIGRATION && exit 1")
    )

    done = deployed.agent("init")

    assert done.returncode == 75, done.stderr
    assert "NO MIGRATION" in reports.whole(reports.errors(done.stderr)[0])
    assert look(deployed) == before


@pytest.mark.parametrize(
    ("fault", "code"),
    [("image missing", 65), ("invalid compose", 65), ("missing variable", 66), ("missing env_file", 65)],
)
def test_what_can_be_known_before_the_apply_point_ends_there_and_changes_nothing(
    deployed: Lab, fault: str, code: int
) -> None:
    before = look(deployed)
    ids = {name: item["Id"] for name, item in inspect(deployed).items()}
    deployed.world.put_file("api/Caddyfile", "new")
    if fault == "image missing":
        bad = compose_with(deployed, "${ECR_REGISTRY}/app:${ECR_TAG}", "${ECR_REGISTRY}/app:nowhere")
        deployed.world.put_file("api/docker-compose.yaml", bad)
    elif fault == "invalid compose":
        deployed.world.put_file("api/docker-compose.yaml", "services: {telapi: {imgae: x}}\n")
    elif fault == "missing env_file":
        bad = compose_with(deployed, "    init: true", "    init: true\n    env_file: absent.env")
        deployed.world.put_file("api/docker-compose.yaml", bad)
    else:
        text = deployed.machine.path(f"{SERVICES}/api/vars.yaml").read_text()
        deployed.world.put_file("api/vars.yaml", text + "  - {name: NOBODY_HAS_IT, required: true}\n")

    done = deployed.agent("init")

    assert done.returncode == code, done.stderr
    assert "nothing was changed" in reports.finished(done.stderr)["text"]
    assert look(deployed) == before
    assert {name: item["Id"] for name, item in inspect(deployed).items()} == ids
    assert leftovers(deployed) == []


def test_a_release_that_says_it_is_irreversible_is_left_for_people(deployed: Lab) -> None:
    deployed.registry.push("2.0", UNHEALTHY)
    text = deployed.machine.path(f"{SERVICES}/api/vars.yaml").read_text()
    deployed.world.put_file("api/vars.yaml", text + "irreversible: true\n")
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(ECR_TAG="2.0"))

    done = deployed.agent("init")

    assert done.returncode == 76, done.stderr
    assert "not restored: vars.yaml says `irreversible: true`" in reports.whole(reports.errors(done.stderr)[0])
    assert image_name(deployed).endswith(":2.0")
    assert deployed.machine.path(f"{SERVICES}/api/vars.yaml").read_text().endswith("irreversible: true\n")


def test_no_rollback_leaves_it_and_the_next_failure_still_goes_back_to_the_verified_release(deployed: Lab) -> None:
    before = look(deployed)
    deployed.registry.push("2.0", UNHEALTHY)
    deployed.registry.push("3.0", CRASHES)
    deployed.world.put_file("api/Caddyfile", "second")
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(ECR_TAG="2.0"))
    left = deployed.agent("init", "--no-rollback")
    assert left.returncode == 76, left.stderr
    assert deployed.machine.path(f"{SERVICES}/api/Caddyfile").read_text() == "second"

    deployed.world.put_file("api/Caddyfile", "third")
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(ECR_TAG="3.0"))
    done = deployed.agent("init")

    assert done.returncode == 75, done.stderr
    after = look(deployed)
    assert (after.files, after.images, after.states) == (before.files, before.images, before.states)


def test_a_first_boot_that_fails_has_nothing_to_go_back_to_and_leaves_its_containers(instance: Lab) -> None:
    instance.registry.push("2.0", CRASHES)
    instance.world.write_bootstrap(instance.world.bootstrap_env(ECR_TAG="2.0"))

    done = instance.agent("init")

    assert done.returncode == 76, done.stderr
    told = reports.whole(reports.errors(done.stderr)[0])
    assert "not restored: no release was verified on this host before" in told
    assert "CRASHED on purpose" in told
    assert "api-telapi-1" in inspect(instance)


def test_a_bad_value_is_no_release_to_go_back_from_and_is_named(deployed: Lab) -> None:
    deployed.world.put_file(
        "api/docker-compose.yaml",
        compose_with(deployed, 'test -n \\"$$DATABASE_URL\\"', 'test \\"$$LOG_LEVEL\\" != crash').replace(
            "      - DATABASE_URL\n\n", ""
        )
        + "      - LOG_LEVEL\n",
    )
    good = deployed.agent("init")
    assert good.returncode == 0, good.stderr
    deployed.world.put_parameter("LOG_LEVEL", "crash")

    done = deployed.agent("init")

    assert done.returncode == 76, done.stderr
    told = reports.whole(reports.errors(done.stderr)[0])
    assert "it is release 2 itself" in told
    assert "of its values changed since: LOG_LEVEL" in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_new_release_is_verified_goes_back(deployed: Lab, number: signal.Signals) -> None:
    before = look(deployed)
    deployed.registry.push("2.0", GOOD)
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(ECR_TAG="2.0"))
    running = deployed.machine.start_process([*deployed.agent_command(), "init"], env=deployed.agent_env())
    wait_until(lambda: '"step": "verify"' in running.stderr(), "the wait for health")
    running.signal(number)

    assert running.wait(60) == 75, running.stderr()
    assert f"stopped by {number.name}" in reports.whole(reports.errors(running.stderr())[0])
    after = look(deployed)
    assert (after.files, after.images, after.states) == (before.files, before.images, before.states)


def test_a_dropped_file_stays_under_a_container_that_runs_on_it_until_the_release_is_verified(deployed: Lab) -> None:
    config = f"{SERVICES}/common/otel-collector-config.yaml"
    deployed.world.delete_file("common/otel-collector-config.yaml")
    deployed.world.put_file(
        "api/docker-compose.yaml",
        compose_with(deployed, "      - ../common/otel-collector-config.yaml:/etc/otel/config.yaml:ro\n", ""),
    )
    running = deployed.machine.start_process([*deployed.agent_command(), "init"], env=deployed.agent_env())
    wait_until(lambda: '"step": "model-live"' in running.stderr(), "the new files in place")
    running.signal(signal.SIGKILL)
    running.wait()

    assert deployed.machine.path(config).is_file()
    deployed.engine.docker("restart", "api-telapi-1")
    assert inspect(deployed)["api-telapi-1"]["State"]["Running"]

    done = deployed.agent("init")
    assert done.returncode == 0, done.stderr
    assert not deployed.machine.path(config).exists()
    assert leftovers(deployed) == []


def test_a_local_edit_is_overwritten_kept_and_named_and_skip_fetch_keeps_it(deployed: Lab) -> None:
    live = deployed.machine.path(f"{SERVICES}/api/Caddyfile")
    live.write_text("edited by hand")

    kept = deployed.agent("init", "--skip-fetch")
    assert kept.returncode == 0, kept.stderr
    assert live.read_text() == "edited by hand"

    done = deployed.agent("init")
    assert done.returncode == 0, done.stderr
    assert live.read_text() != "edited by hand"
    stored = "/var/lib/delphi-agent/releases/1/replaced/api/Caddyfile"
    warnings = [event["text"] for event in reports.events(done.stderr) if event["event"] == "bundle.edited"]
    assert warnings == [f"{SERVICES}/api/Caddyfile had been changed on this host; kept as {stored}"]
    assert deployed.machine.path(stored).read_text() == "edited by hand"
    assert deployed.machine.path(stored).stat().st_mode & 0o7777 == 0o600


def test_a_broken_state_does_not_stop_a_boot(deployed: Lab) -> None:
    broken = deployed.machine.path("/var/lib/delphi-agent/state.json")
    broken.write_text("{")
    deployed.world.delete_file("common/otel-collector-config.yaml")
    deployed.world.put_file(
        "api/docker-compose.yaml",
        compose_with(deployed, "      - ../common/otel-collector-config.yaml:/etc/otel/config.yaml:ro\n", ""),
    )

    done = deployed.agent("init")

    assert done.returncode == 0, done.stderr
    assert any(event["event"] == "state.broken" for event in reports.events(done.stderr))
    # What the last release brought is known from its own list, so that what the new one lacks still goes.
    assert not deployed.machine.path(f"{SERVICES}/common/otel-collector-config.yaml").exists()
