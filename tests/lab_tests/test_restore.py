"""A bad release on top of a good one: the host goes back by itself, or says why it does not."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.lab import images
from tests.lab.aws import Fault
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


def test_what_fetch_config_has_fetched_is_deployed_by_init_and_taken_back_with_it(deployed: Lab) -> None:
    before = look(deployed)
    deployed.world.put_file("api/Caddyfile", "new")
    deployed.world.put_file("api/added.conf", "new")
    deployed.world.delete_file("common/otel-collector-config.yaml")
    script = Path(deployed.agent_command()[0]).with_name("fetch-config")

    fetched = deployed.machine.run([str(script)])

    assert fetched.returncode == 0, fetched.stderr
    text = "the files of delphi/v1/api are in place"
    assert (reports.finished(fetched.stderr)["outcome"], reports.finished(fetched.stderr)["text"]) == ("done", text)
    now = look(deployed)
    assert {name for name, file in now.files.items() if file != before.files.get(name)} == {
        "api/Caddyfile",
        "api/added.conf",
    }
    assert set(before.files) <= set(now.files)
    assert (now.images, now.states) == (before.images, before.states)
    assert json.loads(deployed.agent("status", "--json").stdout)["outcome"] == "verified"
    assert reports.finished(deployed.agent("fetch").stderr)["text"] == "delphi/v1/api is on this host already"

    deployed.registry.push("2.0", CRASHES)
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(ECR_TAG="2.0"))
    failed = deployed.agent("init", "--skip-fetch")

    assert failed.returncode == 75, failed.stderr
    assert (look(deployed).files, leftovers(deployed)) == (before.files, [])


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


def test_a_file_that_compose_itself_reads_goes_before_the_start_and_not_after_the_verdict(deployed: Lab) -> None:
    override = "services: {telapi: {environment: {FROM_OVERRIDE: '1'}}}\n"
    deployed.world.put_file("api/docker-compose.override.yaml", override)
    assert deployed.agent("init").returncode == 0
    assert "FROM_OVERRIDE" in deployed.get(3001, "/cgi-bin/env").split()
    deployed.world.delete_file("api/docker-compose.override.yaml")

    done = deployed.agent("init")

    assert done.returncode == 0, done.stderr
    assert reports.finished(done.stderr)["outcome"] == "verified"
    assert "FROM_OVERRIDE" not in deployed.get(3001, "/cgi-bin/env").split()
    assert reports.finished(deployed.agent("init").stderr)["outcome"] == "unchanged"


MORE = "  - {name: ONLY_IN_TWO, default: x}\n"


def goes_back_without_aws(lab: Lab, fault: Fault) -> subprocess.CompletedProcess[str]:
    """A bad release on the bundle that the bucket has now; every call of AWS has this fault once it is started."""
    lab.registry.push("2.0", UNHEALTHY)
    lab.world.write_bootstrap(lab.world.bootstrap_env(ECR_TAG="2.0"))
    running = lab.machine.start_process([*lab.agent_command(), "init"], env=lab.agent_env())
    wait_until(lambda: '"step": "up"' in running.stderr(), "the start", timeout=60)
    lab.aws.add_fault(fault)
    code = running.wait(100)
    return subprocess.CompletedProcess(running.argv, code, running.stdout(), running.stderr())


def test_without_aws_a_former_manifest_is_restored_with_the_values_that_the_run_has_read(deployed: Lab) -> None:
    before = look(deployed)
    deployed.world.put_file("api/vars.yaml", deployed.machine.path(f"{SERVICES}/api/vars.yaml").read_text() + MORE)

    done = goes_back_without_aws(deployed, Fault(".", kind="hang", times=None))

    assert done.returncode == 75, done.stderr
    after = look(deployed)
    assert (after.files, after.images, after.states) == (before.files, before.images, before.states)
    [told] = [event["text"] for event in reports.events(done.stderr) if event["event"] == "restore.values"]
    assert "the values that this run has read before are used" in told


def test_without_aws_a_former_manifest_that_needs_more_is_told_with_what_it_lacks_and_why(deployed: Lab) -> None:
    text = deployed.machine.path(f"{SERVICES}/api/vars.yaml").read_text()
    license_key = text[text.index("  - name: LICENSE_KEY") : text.index("  # Put together")]
    deployed.world.put_file("api/vars.yaml", text.replace(license_key, ""))
    deployed.world.put_file("api/docker-compose.yaml", compose_with(deployed, "      - LICENSE_KEY\n", ""))

    # Every source fails at once, and each for itself.
    done = goes_back_without_aws(deployed, Fault(".", code="OutOfOrder", times=None))

    assert done.returncode == 76, done.stderr
    told = reports.whole(reports.errors(done.stderr)[0])
    [why] = [line for line in told.splitlines() if line.startswith("not restored: restoring release 1 failed")]
    assert "1 value cannot be had" in why
    assert "OutOfOrder" in why
    assert "LICENSE_KEY" in told


def test_a_run_killed_while_it_goes_back_is_gone_on_with_and_nothing_is_mixed(deployed: Lab) -> None:
    before = look(deployed)
    deployed.registry.push("2.0", CRASHES)
    for name in ("Caddyfile", "second.conf", "third.conf"):
        deployed.world.put_file(f"api/{name}", f"new {name}")
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(ECR_TAG="2.0"))
    running = deployed.machine.start_process([*deployed.agent_command(), "init"], env=deployed.agent_env())
    wait_until(lambda: '"step": "undo"' in running.stderr(), "the way back", timeout=60)
    running.signal(signal.SIGKILL)
    running.wait()

    done = deployed.agent("init")

    assert done.returncode == 75, done.stderr
    after = look(deployed)
    assert (after.files, after.images, after.states) == (before.files, before.images, before.states)
    assert leftovers(deployed) == []


def test_a_one_way_step_stays_one_way_for_the_attempt_after_it(deployed: Lab) -> None:
    deployed.registry.push("2.0", UNHEALTHY)
    text = deployed.machine.path(f"{SERVICES}/api/vars.yaml").read_text()
    deployed.world.put_file("api/vars.yaml", text + "irreversible: true\n")
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(ECR_TAG="2.0"))
    assert deployed.agent("init").returncode == 76
    deployed.world.put_file("api/vars.yaml", text)

    done = deployed.agent("init")

    assert done.returncode == 76, done.stderr
    assert "v1, tag 2.0 was started before" in reports.whole(reports.errors(done.stderr)[0])
    refused = deployed.agent("rollback")
    assert refused.returncode == 2, refused.stderr
    assert "--force" in refused.stderr


def test_what_only_the_failed_release_had_is_gone_with_it(deployed: Lab) -> None:
    compose = deployed.machine.path(f"{SERVICES}/api/docker-compose.yaml").read_text()
    extra = (
        "  worker:\n    image: ${ECR_REGISTRY}/app:${ECR_TAG}\n    restart: always\n    command: [sh, -c, 'exit 3']\n"
        "    networks: [more]\n"
    )
    deployed.world.put_file("api/docker-compose.yaml", compose + extra + "networks: {more: {}}\n")

    done = deployed.agent("init")

    assert done.returncode == 75, done.stderr
    assert set(inspect(deployed)) == {"api-telapi-1", "api-migrate-1"}
    networks = deployed.engine.docker("network", "ls", "--format", "{{.Name}}").stdout.split()
    assert "api_default" in networks
    assert "api_more" not in networks


def test_a_deadline_that_is_too_short_does_not_condemn_a_good_release(deployed: Lab) -> None:
    slow = images.build(command=("sh", "-c", "sleep 7; exec /bin/httpd -f -p 3001 -h /www"))
    deployed.registry.push("2.0", slow)
    patient = compose_with(deployed, "retries: 4", "retries: 60")
    deployed.world.put_file("api/docker-compose.yaml", patient)
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(ECR_TAG="2.0"))
    assert deployed.agent("init", "--deadline", "7").returncode in {69, 75}

    done = deployed.agent("init")

    assert done.returncode == 0, done.stderr


def test_nohup_is_honoured(deployed: Lab) -> None:
    deployed.registry.push("2.0", GOOD)
    deployed.world.write_bootstrap(deployed.world.bootstrap_env(ECR_TAG="2.0"))
    running = deployed.machine.start_process(["nohup", *deployed.agent_command(), "init"], env=deployed.agent_env())
    wait_until(lambda: '"step": "pull"' in running.stderr(), "the pull")
    running.signal(signal.SIGHUP)

    assert running.wait(60) == 0, running.stderr()


def test_another_project_name_is_refused_while_the_old_project_runs(deployed: Lab) -> None:
    before = look(deployed)
    compose = deployed.machine.path(f"{SERVICES}/api/docker-compose.yaml").read_text()
    deployed.world.put_file("api/docker-compose.yaml", f"name: other\n{compose}")

    done = deployed.agent("init")

    assert done.returncode == 65, done.stderr
    assert "docker compose --project-name api down" in reports.errors(done.stderr)[0]["next_step"]
    assert look(deployed) == before


def test_a_folder_that_a_service_mounts_is_not_taken_away_with_its_last_file(deployed: Lab) -> None:
    mounted = compose_with(deployed, "      - ./Caddyfile", "      - ./data:/data\n      - ./Caddyfile")
    deployed.world.put_file("api/docker-compose.yaml", mounted)
    deployed.world.put_file("api/data/.gitkeep", "")
    assert deployed.agent("init").returncode == 0
    deployed.world.delete_file("api/data/.gitkeep")

    done = deployed.agent("init")

    assert done.returncode == 0, done.stderr
    deployed.engine.docker("exec", "api-telapi-1", "sh", "-c", "echo x >/data/x")
    assert deployed.machine.path(f"{SERVICES}/api/data/x").read_text() == "x\n"
