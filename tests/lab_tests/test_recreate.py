"""A deploy recreates exactly what changed, and says why: five services on a real engine, container ids compared."""

from __future__ import annotations

import re

import pytest

from tests.lab import images
from tests.lab.lab import Lab
from tests.lab.registry_door import RegistryFault
from tests.lab.world import NAMESPACE, ROLE, TAG
from tests.lab_tests import reports
from tests.lab_tests.leaks import leaks, traced_agent
from tests.lab_tests.projects import ids, init, notes, replaced, upload

COMPOSE = """services:
  front:
    <<: [*app, *well]
    volumes: ["./front.conf:/etc/front.conf:ro"]
    environment: [FRONT_KEY]
  back:
    <<: [*app, *well]
    environment: [BACK_KEY, SHARED_KEY]
  work:
    <<: [*app, *well]
    env_file: work.env
    environment: [SHARED_KEY]
  tree:
    <<: [*app, *well]
    volumes: ["./conf.d:/etc/conf.d:ro"]
  vault:
    <<: [*app, *well]
    secrets: [token]
    configs: [{source: text, target: /etc/text}, {source: made, target: /etc/made}]
secrets: {token: {environment: TOKEN}}
configs:
  text: {file: ./text.conf}
  made: {content: "level ${LEVEL}"}
"""
NAMES = ("FRONT_KEY", "BACK_KEY", "SHARED_KEY", "TOKEN")
MANIFEST = "variables:\n" + "".join(f"- {{name: {name}, required: true, sensitive: true}}\n" for name in NAMES)
MANIFEST += "- {name: LEVEL, default: low}\n"
FILES = {
    "api/front.conf": "front 1\n",
    "api/work.env": "WORK_LEVEL=1\n",
    "api/conf.d/a.conf": "a\n",
    "api/conf.d/b.conf": "b\n",
    "api/text.conf": "text\n",
}
SECRETS = {name: f"CANARY{name.title().replace('_', '')}7hG3" for name in NAMES}


@pytest.fixture
def five(instance: Lab) -> Lab:
    """An instance on which the five services run."""
    instance.world.put_secret(f"{NAMESPACE}/{ROLE}/secrets", SECRETS)
    upload(instance, COMPOSE, MANIFEST, FILES)
    init(instance)
    return instance


def rotate(lab: Lab, **changes: str) -> None:
    lab.world.put_secret(f"{NAMESPACE}/{ROLE}/secrets", {**SECRETS, **changes})


def test_nothing_changed_recreates_nothing(five: Lab) -> None:
    before = ids(five)

    init(five)

    assert len(before) == 5
    assert replaced(five, before) == set()


def test_a_changed_file_recreates_exactly_who_mounts_it(five: Lab) -> None:
    before = ids(five)
    five.world.put_file("api/front.conf", "front 2\n")
    five.world.put_file("api/text.conf", "tixt\n")
    init(five)

    assert replaced(five, before) == {"front", "vault"}
    said = notes(five)
    assert said["front"] == "recreated: mounted file api/front.conf"
    assert said["vault"] == "recreated: mounted file api/text.conf"
    assert five.engine.docker("exec", "api-vault-1", "cat", "/etc/text").stdout == "tixt\n"


def test_a_changed_secret_recreates_exactly_who_uses_it_and_no_value_is_told(five: Lab) -> None:
    before = ids(five)
    changed = {"SHARED_KEY": "CANARYnewSharedKey9kL2", "BACK_KEY": "CANARYnewBackKey4fD8"}
    rotate(five, **changed)

    done = traced_agent(five, "--log-level", "debug", "init")

    assert done.code == 0, done.stderr
    assert replaced(five, before) == {"back", "work"}
    said = notes(five)
    assert said["back"] == "recreated: environment BACK_KEY, SHARED_KEY"
    assert said["work"] == "recreated: environment SHARED_KEY"
    # Compose itself copies what is behind a `secrets:` entry into the container's file system.
    secrets = {name: value for name, value in {**SECRETS, **changed}.items() if name != "TOKEN"}
    assert leaks(five, secrets, done) == []
    labels = five.engine.docker("inspect", "-f", "{{json .Config.Labels}}", "api-vault-1", "api-back-1").stdout
    assert "CANARY" not in labels


def test_a_changed_value_behind_a_compose_secret_or_config_recreates_who_is_granted_it(five: Lab) -> None:
    before = ids(five)
    rotate(five, TOKEN="CANARYnewToken3sA6")
    init(five)

    assert replaced(five, before) == {"vault"}
    assert notes(five)["vault"] == "recreated: content of secret token"
    assert five.engine.docker("exec", "api-vault-1", "cat", "/run/secrets/token").stdout == "CANARYnewToken3sA6"
    before = ids(five)
    five.world.put_parameter("LEVEL", "high")
    init(five)

    assert replaced(five, before) == {"vault"}
    assert notes(five)["vault"] == "recreated: content of config made"


def test_a_changed_env_file_recreates_exactly_who_reads_it(five: Lab) -> None:
    before = ids(five)
    five.world.put_file("api/work.env", "WORK_LEVEL=2\nWORK_MORE=3\n")
    init(five)

    assert replaced(five, before) == {"work"}
    assert notes(five)["work"] == "recreated: environment WORK_LEVEL, WORK_MORE"
    before = ids(five)
    five.world.put_file("api/work.env", "WORK_LEVEL=2\n")
    init(five)

    assert replaced(five, before) == {"work"}
    assert notes(five)["work"] == "recreated: environment WORK_MORE", "what was taken away is named, too"


def test_a_file_that_is_gone_from_the_bundle_goes_and_the_host_s_own_file_beside_it_stays(five: Lab) -> None:
    folder = five.machine.path("/opt/services/api/conf.d")
    (folder / "local.conf").write_text("the host's own")
    before = ids(five)
    five.world.delete_file("api/conf.d/b.conf")
    init(five)

    assert replaced(five, before) == {"tree"}
    assert notes(five)["tree"] == "recreated: mounted file api/conf.d/b.conf"
    assert sorted(path.name for path in folder.iterdir()) == ["a.conf", "local.conf"]
    before = ids(five)
    (folder / "local.conf").write_text("edited by the host")
    init(five)

    assert replaced(five, before) == set(), "neither the removal nor the host's own file is a change of the next run"


def test_a_changed_definition_a_moved_tag_and_the_flag_are_told_as_what_they_are(five: Lab) -> None:
    before = ids(five)
    upload(
        five,
        COMPOSE.replace('    volumes: ["./conf.d', '    working_dir: /tmp\n    volumes: ["./conf.d'),
        MANIFEST,
        FILES,
    )
    init(five)

    assert replaced(five, before) == {"tree"}
    assert notes(five)["tree"] == "recreated: its definition in the compose file"
    before = ids(five)
    five.registry.push(TAG, images.build({"/www/more": "another content"}))
    init(five)

    assert replaced(five, before) == set(before)
    assert all(
        re.fullmatch(r"recreated: image moved \(.*/app:1.4.2, [0-9a-f]{12}\)", note) for note in notes(five).values()
    )
    before = ids(five)
    init(five, "--force-recreate")

    assert replaced(five, before) == set(before)
    assert set(notes(five).values()) == {"recreated: --force-recreate"}


def test_what_was_compared_beside_the_pull_holds_only_when_the_pull_brought_nothing(five: Lab) -> None:
    # The engine is asked to pull where the registry does not tell the agent.
    five.registry.add_fault(RegistryFault(f"HEAD /v2/app/manifests/{TAG}", 500, times=1))
    unchanged = five.agent("init").stderr
    five.registry.push(TAG, images.build({"/www/more": "another content"}))
    before = ids(five)
    moved = five.agent("init").stderr
    five.world.put_file("api/front.conf", "front 2\n")
    changed = five.agent("init").stderr

    assert [dry_runs(said) for said in (unchanged, moved, changed)] == [
        ["ahead"],
        ["ahead", "plan"],
        ["rehearse", "plan"],
    ]
    assert replaced(five, before) == set(before)
    assert reports.steps(unchanged)["plan"] == "nothing to do"
    assert reports.steps(moved)["plan"] == "5 containers to recreate"


def dry_runs(said: str) -> list[str]:
    """The steps in which Compose was asked what it would do, in their order."""
    finished = [event for event in reports.events(said) if event["event"] == "step.finished"]
    asking = {"rehearse", "ahead", "plan"}
    return [event["step"] for event in finished if event["step"] in asking and event.get("children")]


def test_a_service_that_is_gone_is_removed_and_a_new_one_is_created(five: Lab) -> None:
    before = ids(five)
    upload(five, COMPOSE.replace("  back:\n", "  newer:\n"), MANIFEST, FILES)
    done = five.agent("init")

    assert done.returncode == 0, done.stderr
    assert replaced(five, before) == {"back", "newer"}
    assert reports.steps(done.stderr)["plan"] == "1 container to create, 1 container to remove"
    assert notes(five)["newer"] == "created"
