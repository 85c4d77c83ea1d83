"""Hooks and files of a bundle on whole deploys: when they run, what a failing one does, what is put back."""

from __future__ import annotations

import signal
import time

import pytest

from tests.lab.lab import Lab
from tests.lab_tests import reports
from tests.lab_tests.deploys import SERVICES, inspect, leftovers, look, numbers
from tests.lab_tests.projects import ids, init, upload

COMPOSE = """services:
  web:
    <<: [*app, *well]
    environment: [LOG_LEVEL]
    volumes: ["./secret:/secret:ro"]
"""
MANIFEST = """variables:
  - {name: LOG_LEVEL, default: info}
  - {name: JWT_SIGNING_KEY, sensitive: true}
  - {name: TOKEN, sensitive: true}
files: [{variable: TOKEN, path: secret/token, mode: '0640', owner: '12:34'}]
"""
LOG = "/run/hooks.log"
TOKEN = "CANARYtokenOfTheHost4kX9"


def hook(text: str = "", name: str = "$0") -> str:
    return f'#!/bin/sh\necho "{name} $LOG_LEVEL" >>{LOG}\n{text}\n'


def files(**more: str | None) -> dict[str, str | None]:
    """A hook of each moment; each keeps a line of having been run."""
    hooks = {"pre-up.d/10-a": hook(), "pre-up.d/20-b.sh": hook(), "post-up.d/30-c": hook()}
    return {f"api/hooks/{name}": text for name, text in {**hooks, **more}.items()}


def ran(lab: Lab) -> list[str]:
    """The hooks that were run since the last question, by name."""
    log = lab.machine.path(LOG)
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return [line.rpartition("/")[2] for line in lines]


@pytest.fixture
def deployed(instance: Lab) -> Lab:
    """An instance whose first boot ran its hooks, with a file made from a variable."""
    instance.world.put_parameter("TOKEN", TOKEN)
    upload(instance, COMPOSE, MANIFEST, files())
    init(instance)
    assert ran(instance) == ["10-a debug", "20-b.sh debug", "30-c debug"]
    return instance


def token(lab: Lab) -> tuple[str, int, int, int]:
    file = lab.machine.path(f"{SERVICES}/api/secret/token")
    status = file.stat()
    return file.read_text(), status.st_mode & 0o7777, status.st_uid, status.st_gid


def test_the_file_has_its_mode_and_owner_and_hooks_run_only_when_something_is_started(deployed: Lab) -> None:
    assert token(deployed) == (TOKEN, 0o640, 12, 34)
    written = deployed.machine.path(f"{SERVICES}/api/secret/token").stat()

    init(deployed)
    assert deployed.agent("plan").returncode == 0
    assert deployed.agent("init", "--dry-run").returncode == 0
    assert ran(deployed) == []
    assert deployed.machine.path(f"{SERVICES}/api/secret/token").stat() == written

    init(deployed, "--force-recreate")
    assert ran(deployed) == ["10-a debug", "20-b.sh debug", "30-c debug"]


def test_a_changed_value_is_written_and_recreates_the_service_that_mounts_the_file(deployed: Lab) -> None:
    before = ids(deployed)
    deployed.world.put_parameter("TOKEN", "CANARYanotherToken2Zs8")

    planned = deployed.agent("plan")
    assert "content of file api/secret/token" in planned.stdout
    init(deployed)

    assert token(deployed)[0] == "CANARYanotherToken2Zs8"
    assert ids(deployed)["web"] != before["web"]
    assert numbers(deployed) == [1, 2]
    assert leftovers(deployed) == []
    shown = deployed.agent("compose", "up", "--dry-run", "-d")
    assert "Recreate" not in shown.stderr, "the labels of `compose` are those of `init`"


def test_a_variable_that_has_no_value_any_more_leaves_the_file(deployed: Lab) -> None:
    deployed.world.delete_parameter("TOKEN")

    init(deployed)

    assert token(deployed)[0] == TOKEN


def test_a_failing_pre_up_hook_puts_every_file_back_and_touches_no_container(deployed: Lab) -> None:
    before, containers = look(deployed), ids(deployed)
    deployed.world.put_parameter("TOKEN", "CANARYanotherToken2Zs8")
    bad = hook('echo "the key is $JWT_SIGNING_KEY and $TOKEN" >&2; exit 9')
    upload(deployed, COMPOSE, MANIFEST, {**files(**{"pre-up.d/20-b.sh": bad}), "api/new.conf": "new"})

    done = deployed.agent("--log-level", "debug", "init")

    assert done.returncode == 74, done.stderr
    error = reports.errors(done.stderr)[0]
    assert (error["doing"], error["cause"]) == ("running the hook hooks/pre-up.d/20-b.sh", "ended with 9")
    assert error["details"] == ["the key is [redacted] and [redacted]"]
    assert "put back" in reports.finished(done.stderr)["text"]
    assert "CANARY" not in done.stderr
    assert (look(deployed), ids(deployed)) == (before, containers)
    assert token(deployed) == (TOKEN, 0o640, 12, 34)
    assert leftovers(deployed) == []
    assert ran(deployed) == ["10-a debug", "20-b.sh debug"]
    told = [event["text"] for event in reports.events(done.stderr) if event["event"] == "hook.said"]
    assert told == ["20-b.sh: the key is [redacted] and [redacted]"]


def test_a_failing_post_up_hook_is_a_failed_deploy_and_the_former_release_runs_its_own_hooks(deployed: Lab) -> None:
    before = look(deployed)
    changed = COMPOSE.replace("environment: [LOG_LEVEL]", "environment: [LOG_LEVEL, NEW=1]")
    # The same file from another variable, with another mode and owner, and one that only this release has.
    other = "{variable: LOG_LEVEL, path: secret/token, mode: '0604', owner: '56:78'}"
    manifest = MANIFEST.replace("secret/token", "secret/other").replace("}]\n", "}, " + other + "]\n")
    bad = {"post-up.d/30-c": hook("stat -c '%a %u %g' secret/* >/run/seen; exit 1", "bad"), "pre-up.d/10-a": None}
    deployed.world.delete_file("api/hooks/pre-up.d/10-a")
    upload(deployed, changed, manifest, files(**bad))

    done = deployed.agent("init")

    assert done.returncode == 75, done.stderr
    assert "running the hook hooks/post-up.d/30-c" in reports.whole(reports.errors(done.stderr)[0])
    after = look(deployed)
    assert (after.files, after.states) == (before.files, before.states)
    assert deployed.machine.path("/run/seen").read_text() == "640 12 34\n604 56 78\n"
    assert "api/secret/other" not in after.files, "what is new in the failed release is gone"
    assert token(deployed) == (TOKEN, 0o640, 12, 34)
    assert ran(deployed) == ["20-b.sh debug", "bad debug", "10-a debug", "20-b.sh debug", "30-c debug"]
    assert leftovers(deployed) == []


def test_a_first_boot_whose_post_up_hook_fails_is_76(instance: Lab) -> None:
    upload(instance, COMPOSE, MANIFEST, files(**{"post-up.d/30-c": hook("exit 1")}))

    done = instance.agent("init")

    assert done.returncode == 76, done.stderr
    assert inspect(instance)["api-web-1"]["State"]["Running"]


def test_post_up_hooks_that_were_cut_short_are_taken_up_again_by_the_next_run_and_only_once(instance: Lab) -> None:
    # In the first run it kills the agent, in the second it fails.
    text = "test -e /run/2 && exit 0; test -e /run/1 && { touch /run/2; exit 1; }; touch /run/1; kill -9 $PPID; sleep 5"
    upload(instance, COMPOSE, MANIFEST, files(**{"post-up.d/30-c": hook(text), "post-up.d/40-d": hook()}))

    assert instance.agent("init").returncode == -signal.SIGKILL
    assert ran(instance) == ["10-a debug", "20-b.sh debug", "30-c debug"]
    started = ids(instance)

    assert instance.agent("init").returncode == 76
    assert ran(instance) == ["30-c debug"]

    init(instance)
    assert ran(instance) == ["30-c debug", "40-d debug"]
    init(instance)
    assert ran(instance) == []
    assert (ids(instance), numbers(instance)) == (started, [1])


def test_a_mount_of_the_former_release_is_looked_for_before_it_is_started_again(instance: Lab) -> None:
    instance.machine.run(["mkdir", "-p", "/mnt/data"], check=True)
    instance.machine.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt/data"], check=True)
    upload(instance, COMPOSE, "mounts: [/mnt/data]\n")
    init(instance)
    bad = {"api/hooks/post-up.d/30-c": hook("umount --lazy /mnt/data; exit 1")}
    upload(instance, COMPOSE, "", bad)

    done = instance.agent("init", "--force-recreate")

    assert done.returncode == 76, done.stderr
    told = reports.whole(reports.errors(done.stderr)[0])
    assert "not restored: restoring release 1 failed" in told
    assert "Data directory is not a mount point: /mnt/data" in told
    assert instance.machine.path(f"{SERVICES}/api/vars.yaml").read_text().endswith("mounts: [/mnt/data]\n")


def test_a_first_boot_whose_pre_up_hook_fails_leaves_the_host_as_it_was(instance: Lab) -> None:
    instance.world.put_parameter("TOKEN", TOKEN)
    upload(instance, COMPOSE, MANIFEST, files(**{"pre-up.d/10-a": hook("exit 1")}))

    done = instance.agent("init")

    assert done.returncode == 74, done.stderr
    found = [path for path in instance.machine.path(SERVICES).rglob("*") if path.is_file()]
    assert found == []
    assert inspect(instance) == {}


def test_a_stuck_hook_ends_with_the_run_s_deadline_and_leaves_no_process(deployed: Lab) -> None:
    upload(deployed, COMPOSE, MANIFEST, files(**{"pre-up.d/10-a": hook("trap '' TERM\nsleep 4321 & wait")}))
    began = time.monotonic()

    done = deployed.agent("init", "--force-recreate", "--deadline", "15", timeout=60)

    assert done.returncode == 74, done.stderr
    assert time.monotonic() - began < 30
    assert "not done within" in reports.errors(done.stderr)[0]["cause"]
    assert deployed.machine.run(["pgrep", "-f", "sleep 4321"]).stdout == ""


def test_a_file_that_the_bundle_also_brings_is_refused_before_anything_changes(deployed: Lab) -> None:
    before = look(deployed)
    upload(deployed, COMPOSE, MANIFEST, {**files(), "api/secret/token": "of the bundle"})

    done = deployed.agent("init")

    assert done.returncode == 65, done.stderr
    assert "the bundle brings secret/token as well" in reports.errors(done.stderr)[0]["cause"]
    assert look(deployed) == before


def test_a_file_of_the_bundle_may_become_one_that_is_made_from_a_variable(instance: Lab) -> None:
    upload(instance, COMPOSE, "", {"api/secret/token": "of the bundle"})
    init(instance)
    instance.world.delete_file("api/secret/token")
    instance.world.put_parameter("TOKEN", TOKEN)
    upload(instance, COMPOSE, MANIFEST)

    init(instance)

    assert token(instance)[0] == TOKEN
    again = instance.agent("init")
    assert "nothing changed" in reports.finished(again.stderr)["text"], again.stderr
    assert token(instance)[0] == TOKEN
    back = instance.agent("rollback", "--yes")
    assert back.returncode == 0, back.stderr
    assert token(instance)[0] == "of the bundle"


def test_a_file_that_the_manifest_names_no_more_goes_once_the_release_is_verified_and_a_rollback_makes_it_again(
    deployed: Lab,
) -> None:
    secret = deployed.machine.path(f"{SERVICES}/api/secret/token")
    without = MANIFEST.partition("files:")[0]
    upload(deployed, COMPOSE, without, files(**{"post-up.d/30-c": hook("exit 1")}))
    assert deployed.agent("init").returncode == 75
    assert token(deployed)[0] == TOKEN, "the release before is back, and so is its file"

    upload(deployed, COMPOSE, without, files())
    init(deployed)
    assert not secret.exists()
    assert secret.parent.is_dir(), "a service mounts it"
    assert TOKEN not in deployed.machine.path("/var/lib/delphi-agent/state.json").read_text()

    assert deployed.agent("rollback", "--yes").returncode == 0
    assert token(deployed)[0] == TOKEN


def test_a_killed_run_leaves_no_mix_of_files(deployed: Lab) -> None:
    before = look(deployed)
    deployed.world.put_parameter("TOKEN", "CANARYanotherToken2Zs8")
    upload(deployed, COMPOSE, MANIFEST, files(**{"pre-up.d/10-a": hook("kill -9 $PPID; sleep 1")}))
    deployed.agent("init")
    assert token(deployed)[0] == "CANARYanotherToken2Zs8"

    upload(deployed, COMPOSE, MANIFEST, files(**{"pre-up.d/10-a": hook("exit 1")}))
    assert deployed.agent("init").returncode == 74

    assert look(deployed).files == before.files


def test_the_database_s_data_is_on_a_mount_or_nothing_is_started(instance: Lab) -> None:
    upload(instance, COMPOSE, "mounts: [/mnt/data]\n")

    missing = instance.agent("init")
    assert missing.returncode == 74
    assert reports.errors(missing.stderr)[0]["cause"] == "Data directory does not exist: /mnt/data"

    instance.machine.run(["mkdir", "-p", "/mnt/data"], check=True)
    instance.machine.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt/data"], check=True)
    try:
        init(instance)
    finally:
        instance.machine.run(["umount", "--lazy", "/mnt/data"], check=True)
