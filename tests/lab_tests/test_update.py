"""`update`, `rollback` and `history` on an instance (contract section 6)."""

from __future__ import annotations

import json
import re

import pytest

from tests.lab.imds import default_world
from tests.lab.lab import Lab
from tests.lab.world import REF, TAG
from tests.lab_tests import reports
from tests.lab_tests.deploys import BOOTSTRAP, CRASHES, GOOD, SERVICES, inspect, leftovers, look, numbers, say_no, state


@pytest.fixture
def deployed(instance: Lab) -> Lab:
    """An instance with one verified release, and a second tag that is good."""
    instance.registry.push("2.0", GOOD)
    done = instance.agent("init")
    assert done.returncode == 0, done.stderr
    return instance


def test_update_deploys_a_tag_and_changes_nothing_but_its_value_in_the_bootstrap_file(deployed: Lab) -> None:
    file = deployed.machine.path(BOOTSTRAP)
    text = file.read_text().replace("ECR_TAG=", "export  ECR_TAG=").replace(f"={TAG}", f'="{TAG}"  # by cloud-init')
    file.write_text(text)
    file.chmod(0o640)

    done = deployed.agent("update", "--ecr-tag", "2.0")

    assert done.returncode == 0, done.stderr
    assert deployed.get(3001, "/release") == "two\n"
    assert file.read_text() == text.replace(f'"{TAG}"', "2.0")
    assert file.stat().st_mode & 0o7777 == 0o640
    assert deployed.machine.path(f"{SERVICES}/api/.ecr-tag").read_text() == "2.0\n"
    assert numbers(deployed) == [1, 2]
    assert leftovers(deployed) == []
    again = deployed.agent("init")
    assert reports.finished(again.stderr)["outcome"] == "unchanged"


def test_an_update_that_fails_leaves_every_byte_as_it_was(deployed: Lab) -> None:
    before = look(deployed)
    deployed.registry.push("bad", CRASHES)

    done = deployed.agent("update", "--ecr-tag", "bad")

    assert done.returncode == 75, done.stderr
    assert look(deployed) == before
    # Asked again by an operator it is tried again; the next boot has nothing to do with it.
    assert deployed.agent("update", "--ecr-tag", "bad").returncode == 75
    assert deployed.agent("init").returncode == 0


def test_update_takes_another_ref_and_rollback_goes_back_to_the_former_one_though_the_bucket_lost_it(
    deployed: Lab,
) -> None:
    before = look(deployed)
    deployed.world.upload_bundle("v2", {"api/Caddyfile": "of v2", "api/extra/new.conf": "x"})
    assert deployed.agent("update", "--config-ref", "v2", "--ecr-tag", "2.0").returncode == 0
    for name in ("api/Caddyfile", "api/docker-compose.yaml", "api/vars.yaml", "common/otel-collector-config.yaml"):
        deployed.world.delete_file(name, REF)
    deployed.registry.delete(TAG)
    deployed.registry.push(TAG, CRASHES)

    done = deployed.agent("rollback", "--yes")

    assert done.returncode == 0, done.stderr
    after = look(deployed)
    assert (after.files, after.images, after.states, after.bootstrap) == (
        before.files,
        before.images,
        before.states,
        before.bootstrap,
    )
    assert numbers(deployed) == [1, 2, 3]
    assert leftovers(deployed) == []
    listed = json.loads(deployed.agent("history", "--json").stdout)
    assert listed["current"] == 3
    assert [(item["ref"], item["tag"]) for item in listed["releases"]] == [(REF, TAG), ("v2", "2.0"), (REF, TAG)]
    assert [run["outcome"] for run in listed["runs"]] == ["verified", "verified", "verified"]
    assert [run["command"] for run in listed["runs"]][-1] == "delphi-agent rollback --yes"


def test_rollback_says_which_releases_there_are_and_refuses_the_others(deployed: Lab) -> None:
    before = look(deployed)

    for arguments in (["rollback"], ["rollback", "--to", "7"]):
        done = deployed.agent(*arguments)
        assert done.returncode == 2, done.stderr
        assert "kept: 1" in done.stderr
    assert look(deployed) == before


def test_a_release_that_is_irreversible_is_not_left_without_force(deployed: Lab) -> None:
    text = deployed.machine.path(f"{SERVICES}/api/vars.yaml").read_text()
    deployed.world.put_file("api/vars.yaml", text + "irreversible: true\n")
    assert deployed.agent("init").returncode == 0

    refused = deployed.agent("rollback")
    assert refused.returncode == 2, refused.stderr
    assert "--force" in refused.stderr
    forced = deployed.agent("rollback", "--force")
    assert forced.returncode == 0, forced.stderr
    assert numbers(deployed) == [1, 2, 3]


def test_after_a_failed_deploy_that_was_left_rollback_goes_to_the_verified_release(deployed: Lab) -> None:
    before = look(deployed)
    deployed.registry.push("bad", CRASHES)
    deployed.world.put_file("api/Caddyfile", "new")
    assert deployed.agent("update", "--ecr-tag", "bad", "--no-rollback").returncode == 76

    done = deployed.agent("rollback")

    assert done.returncode == 0, done.stderr
    assert look(deployed) == before


def test_a_dry_run_shows_the_difference_and_changes_nothing(deployed: Lab) -> None:
    before = look(deployed)

    done = deployed.agent("update", "--ecr-tag", "2.0", "--dry-run")

    assert done.returncode == 0, done.stderr
    assert re.search(rf"tag: {TAG} -> 2\.0", done.stdout)
    assert look(deployed) == before
    assert numbers(deployed) == [1]


def test_on_a_terminal_it_asks_and_no_means_no(deployed: Lab) -> None:
    before = look(deployed)

    code, shown = say_no(deployed, ["update", "--ecr-tag", "2.0"])

    assert code == 130, shown
    assert f"ECR_TAG {TAG} -> 2.0. Go on? [y/N]" in shown
    assert "nothing was changed" in shown
    assert look(deployed) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["update"], "nothing to update is named"),
        (["update", "--ecr-tag", "a b"], "ECR_TAG must be an image tag"),
        (["update", "--ecr-tag", ""], "ECR_TAG"),
        (["update", "--config-ref", "../x"], "CONFIG_REF must be a ref"),
        (["update", "--restart-only", "--ecr-tag", "2.0"], "cannot change with it"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_done(deployed: Lab, arguments: list[str], words: str) -> None:
    before = look(deployed)

    done = deployed.agent(*arguments)

    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert look(deployed) == before


def test_a_file_that_cannot_take_the_new_value_is_told_before_the_deploy(deployed: Lab) -> None:
    file = deployed.machine.path(BOOTSTRAP)
    file.write_text(file.read_text() + "IMAGE=app:$ECR_TAG\n")
    before = look(deployed)

    done = deployed.agent("update", "--ecr-tag", "2.0")

    assert done.returncode == 78, done.stderr
    assert "IMAGE would change" in reports.errors(done.stderr)[0]["cause"]
    assert look(deployed) == before


def test_update_restart_only_recreates_everything_with_todays_values(deployed: Lab) -> None:
    before = {name: item["Id"] for name, item in inspect(deployed).items()}

    done = deployed.agent("update", "--restart-only", "--yes")

    assert done.returncode == 0, done.stderr
    after = {name: item["Id"] for name, item in inspect(deployed).items()}
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


def test_a_host_that_the_scripts_made_is_understood(instance: Lab) -> None:
    """Files, `.ecr-tag`, a left-over .env and running containers of the scripts; no state of the agent's."""
    instance.registry.push("2.0", GOOD)
    assert instance.agent("init").returncode == 0
    instance.machine.run(["rm", "-rf", "/var/lib/delphi-agent", "/run/delphi-agent"], check=True)
    live = instance.machine.path(f"{SERVICES}/api")
    (live / ".env").write_text("JWT_SIGNING_KEY=plain\n")
    (live / "Caddyfile").write_text("by hand, under the scripts")
    tag = (live / ".ecr-tag").read_text().strip()

    done = instance.agent("update", "--ecr-tag", tag, "--yes")

    assert done.returncode == 0, done.stderr
    assert not (live / ".env").exists()
    kept = instance.machine.path("/var/lib/delphi-agent/releases/0/replaced/api/Caddyfile")
    assert kept.read_text() == "by hand, under the scripts"
    assert state(instance)["releases"][0]["tag"] == TAG
    assert instance.agent("update", "--ecr-tag", "2.0").returncode == 0


def test_a_run_killed_between_verdict_and_bootstrap_file_does_not_go_back_at_the_next_boot(deployed: Lab) -> None:
    # Nothing else that the agent does changes an owner.
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=fchown", "-e", "inject=fchown:signal=KILL"]
    deployed.machine.run([*strace, *deployed.agent_command(), "update", "--ecr-tag", "2.0"], env=deployed.agent_env())
    assert f"ECR_TAG={TAG}\n" in deployed.machine.path(BOOTSTRAP).read_text()
    assert state(deployed)["releases"][-1]["tag"] == "2.0"

    done = deployed.agent("init")

    assert done.returncode == 0, done.stderr
    assert deployed.get(3001, "/release") == "two\n"
    assert "ECR_TAG=2.0\n" in deployed.machine.path(BOOTSTRAP).read_text()
    assert [path.name for path in deployed.machine.path("/opt/deployment").iterdir()] == [".env"]


def test_what_a_killed_update_had_still_to_write_is_not_written_on_a_clone(deployed: Lab) -> None:
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=fchown", "-e", "inject=fchown:signal=KILL"]
    deployed.machine.run([*strace, *deployed.agent_command(), "update", "--ecr-tag", "2.0"], env=deployed.agent_env())
    assert state(deployed)["bootstrap"] == {"ECR_TAG": [TAG, "2.0"]}
    text = deployed.machine.path(BOOTSTRAP).read_text()
    document = {**default_world()["dynamic/instance-identity/document"], "instanceId": "i-0fedcba9876543210"}
    deployed.imds.set("dynamic/instance-identity/document", document)

    done = deployed.agent("init")

    assert done.returncode == 0, done.stderr
    assert deployed.machine.path(BOOTSTRAP).read_text() == text
    assert deployed.machine.path(f"{SERVICES}/api/.ecr-tag").read_text() == f"{TAG}\n"
    assert state(deployed)["bootstrap"] == {}


def test_a_bootstrap_file_that_cannot_be_written_is_told_before_the_deploy(deployed: Lab) -> None:
    deployed.machine.run(["mount", "--bind", "/opt/deployment", "/opt/deployment"], check=True)
    deployed.machine.run(["mount", "-o", "remount,ro,bind", "/opt/deployment"], check=True)
    try:
        done = deployed.agent("update", "--ecr-tag", "2.0")
    finally:
        deployed.machine.run(["umount", "/opt/deployment"], check=True)
    assert done.returncode == 74, done.stderr
    assert "read-only" in reports.errors(done.stderr)[0]["next_step"]
    assert "nothing was changed" in reports.finished(done.stderr)["text"]
    assert numbers(deployed) == [1]


def test_a_bootstrap_file_that_stays_unwritable_does_not_take_a_verified_update_back(deployed: Lab) -> None:
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=fchown", "-e", "inject=fchown:signal=KILL"]
    deployed.machine.run([*strace, *deployed.agent_command(), "update", "--ecr-tag", "2.0"], env=deployed.agent_env())
    deployed.machine.run(["mount", "--bind", "/opt/deployment", "/opt/deployment"], check=True)
    deployed.machine.run(["mount", "-o", "remount,ro,bind", "/opt/deployment"], check=True)
    try:
        done = deployed.agent("init")
    finally:
        deployed.machine.run(["umount", "/opt/deployment"], check=True)

    assert done.returncode == 0, done.stderr
    assert any(event["event"] == "bootstrap.unwritten" for event in reports.events(done.stderr))
    assert deployed.get(3001, "/release") == "two\n"
    assert deployed.agent("init").returncode == 0
    assert "ECR_TAG=2.0\n" in deployed.machine.path(BOOTSTRAP).read_text()
    assert deployed.get(3001, "/release") == "two\n"


def test_what_an_operator_went_back_from_is_not_brought_back_by_the_next_boot(deployed: Lab) -> None:
    deployed.world.put_file("api/Caddyfile", "second content under the same ref")
    assert deployed.agent("init").returncode == 0
    assert deployed.agent("rollback").returncode == 0
    before = look(deployed)

    done = deployed.agent("init")

    assert done.returncode == 0, done.stderr
    assert any(event["event"] == "release.left" for event in reports.events(done.stderr))
    assert look(deployed) == before
    assert deployed.agent("init", "--retry").returncode == 0
    assert look(deployed) != before


def test_a_rollback_that_ends_before_it_starts_anything_leaves_the_images_their_names(deployed: Lab) -> None:
    """Two releases of one tag, which was moved: a run without a pull must not find the former one's image."""
    hook = "#!/bin/sh\ntest ! -e /run/stop-here\n"
    deployed.world.put_file("api/hooks/pre-up.d/10-stop", hook)
    assert deployed.agent("init").returncode == 0
    deployed.registry.push(TAG, GOOD)
    assert deployed.agent("init").returncode == 0
    before, [name] = look(deployed), {item["Config"]["Image"] for item in inspect(deployed).values()}
    deployed.machine.path("/run/stop-here").touch()

    done = deployed.agent("rollback", "--yes")

    assert done.returncode == 74, done.stderr
    assert look(deployed) == before
    deployed.machine.path("/run/stop-here").unlink()
    assert deployed.agent("init", "--restart-only").returncode == 0
    assert look(deployed).images == before.images
    assert name.endswith(f":{TAG}")


def test_history_without_a_run_says_so(instance: Lab) -> None:
    done = instance.agent("history")

    assert done.returncode == 0, done.stderr
    assert "no release was verified on this host yet" in done.stdout
