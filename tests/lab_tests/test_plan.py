"""`plan` says what `init` then does: the same services, for the same reasons, on a real engine."""

from __future__ import annotations

import json
from typing import Any

from tests.lab.lab import Lab
from tests.lab.world import canaries
from tests.lab_tests import reports
from tests.lab_tests.leaks import leaks, traced_agent
from tests.lab_tests.projects import ids, init, notes, replaced, upload

COMPOSE = """include: [part/compose.yaml]
services:
  front:
    <<: [*app, *well]
    volumes: ["./conf.d:/etc/conf.d:ro", "./data:/data", "../common/shared.conf:/etc/shared.conf:ro"]
    environment: [KEY]
  work:
    <<: [*app, *well]
    env_file: work.env
  child:
    extends: {file: base.yaml, service: base}
    environment: [KEY]
  quiet:
    <<: [*app, *well]
    env_file: [{path: local.env, required: false}]
  once:
    <<: *app
    restart: "no"
    command: ["true"]
"""
BASE = """services:
  base:
    image: ${ECR_REGISTRY}/app:${ECR_TAG}
    init: true
    command: [sleep, "1000"]
    working_dir: /bin
    healthcheck: {test: [CMD, "true"], interval: 200ms, timeout: 2s, retries: 5}
"""
PART = BASE.replace("  base:\n", "  part:\n    volumes: ['./part.conf:/etc/part.conf:ro']\n    env_file: part.env\n")
FILES = {
    "api/part/compose.yaml": PART,
    "api/part/part.conf": "part 1\n",
    "api/part/part.env": "PART=1\n",
    "api/base.yaml": BASE,
    "api/work.env": "WORK=1\n",
    "api/conf.d/a.conf": "a\n",
    "common/shared.conf": "shared\n",
}
MANIFEST = "variables:\n- {name: KEY, default: one}\n"


def planned(lab: Lab, *args: str) -> dict[str, Any]:
    done = lab.agent("plan", "--json", *args)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def fates(document: dict[str, Any]) -> dict[str, str]:
    """What the plan says of each service, in the words of the run's summary."""
    words = {"recreate": "recreated", "create": "created", "start": "started", "unchanged": "unchanged"}
    return {
        item["name"]: words[item["action"]]
        + (f": {'; '.join(item['reasons'])}" if item["action"] == "recreate" else "")
        for item in document["services"]
        if item["action"] != "remove"
    }


def deployed(lab: Lab) -> Lab:
    """The project, running, with files of the host's own beside the bundle's."""
    upload(lab, COMPOSE, MANIFEST, FILES)
    init(lab)
    for path, text in {"api/data/x": "x", "api/local.env": "LOCAL=1\n", "api/conf.d/local.conf": "l"}.items():
        file = lab.machine.path(f"/opt/services/{path}")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    # The local env_file was not there when `quiet` was made.
    init(lab)
    return lab


def test_plan_and_init_agree_about_env_file_extends_include_mounts_and_values_at_once(instance: Lab) -> None:
    lab = deployed(instance)
    before = ids(lab)
    nothing = planned(lab)
    changes = {
        "api/work.env": "WORK=2\n",
        "api/base.yaml": BASE.replace("/bin", "/tmp"),
        "api/part/part.env": "PART=2\n",
        "api/part/part.conf": "part 2\n",
    }
    upload(lab, COMPOSE, MANIFEST, {**FILES, **changes})

    ahead = planned(lab)

    assert (nothing["changes"], set(fates(nothing).values())) == (False, {"unchanged"})
    assert ids(lab) == before
    assert fates(ahead) == {
        "child": "recreated: its definition in the compose file",
        "front": "unchanged",
        "once": "started",
        "part": "recreated: environment PART; mounted file api/part/part.conf",
        "quiet": "unchanged",
        "work": "recreated: environment WORK",
    }
    init(lab)
    assert notes(lab) == fates(ahead)
    assert replaced(lab, before) == {"child", "part", "work"}


def test_a_change_that_touches_no_service_is_no_change_of_one(instance: Lab) -> None:
    lab = deployed(instance)
    before = ids(lab)
    upload(lab, COMPOSE, MANIFEST, {**FILES, "api/notes.txt": "read me"})

    ahead = planned(lab)

    assert ahead["changes"]
    assert ahead["bundle"]["added"] == ["api/notes.txt"]
    assert set(fates(ahead).values()) == {"unchanged"}, "the staged tree lies elsewhere, and that is no change"
    init(lab)
    assert replaced(lab, before) == set()


def test_a_value_a_new_tag_a_service_more_and_one_less(instance: Lab) -> None:
    lab = deployed(instance)
    before = ids(lab)
    lab.world.put_parameter("KEY", "CANARYtwoValue5hJ8")
    upload(lab, COMPOSE.replace("  quiet:\n", "  fresh:\n").replace("a.conf", "b.conf"), MANIFEST, FILES)
    lab.world.write_bootstrap(lab.world.bootstrap_env(ECR_TAG="2.0.0"))

    lab.aws.clear_calls()

    done = traced_agent(lab, "plan", "--json")

    ahead = json.loads(done.stdout)
    actions = {item["name"]: item["action"] for item in ahead["services"]}
    assert actions == {
        "child": "recreate",
        "fresh": "create",
        "front": "recreate",
        "once": "recreate",
        "part": "recreate",
        "quiet": "remove",
        "work": "recreate",
    }
    image = "image {0}:1.4.2 -> {0}:2.0.0".format("123456789012.dkr.ecr.eu-west-1.amazonaws.com/app")
    assert fates(ahead)["front"] == f"recreated: {image}; environment KEY"
    [front] = [item for item in ahead["images"] if item["service"] == "front"]
    assert (front["now"][-6:], front["then"][-6:], front["on_host"]) == (":1.4.2", ":2.0.0", False)
    assert leaks(lab, {**canaries(), "KEY": "CANARYtwoValue5hJ8"}, done) == []
    assert ids(lab) == before
    assert lab.aws.calls("ecr:GetAuthorizationToken") == []
    assert not lab.machine.path("/run/delphi-agent/plan").exists()
    assert not lab.machine.path("/run/delphi-agent/plan-live").exists()
    assert lab.machine.path("/opt/services/api/data/x").read_text() == "x"


def test_update_and_rollback_have_the_same_plan_for_what_they_would_deploy(instance: Lab) -> None:
    lab = deployed(instance)
    upload(lab, COMPOSE, MANIFEST, {**FILES, "api/work.env": "WORK=2\n"})
    init(lab)
    before = ids(lab)

    update = lab.agent("update", "--ecr-tag", "2.0.0", "--dry-run")
    rollback = lab.agent("rollback", "--dry-run")

    assert update.returncode == rollback.returncode == 0, update.stderr + rollback.stderr
    assert "  tag: 1.4.2 -> 2.0.0" in update.stdout.splitlines()
    assert "  recreate work  (image " in update.stdout
    assert "  recreate work  (environment WORK)" in rollback.stdout.splitlines()
    assert "  changed  api/work.env" in rollback.stdout.splitlines()
    assert ids(lab) == before


def test_the_first_plan_of_an_instance_says_that_everything_is_created_and_leaves_nothing(instance: Lab) -> None:
    upload(instance, COMPOSE, MANIFEST, FILES)

    done = instance.agent("plan", "--exit-code")

    assert done.returncode == 3, done.stderr
    assert "  create   front  (not there yet)" in done.stdout.splitlines()
    assert instance.engine.containers() == []
    assert list(instance.machine.path("/opt/services").iterdir()) == []


def test_without_an_engine_or_without_mounts_the_rest_of_the_plan_is_shown(instance: Lab) -> None:
    lab = deployed(instance)
    upload(lab, COMPOSE, MANIFEST, {**FILES, "api/work.env": "WORK=2\n"})
    argv = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", *lab.agent_command()]
    confined = lab.machine.run([*argv, "plan", "--json"], env=lab.agent_env())
    lab.engine.stop()

    without = lab.agent("plan")

    # Its containers start with it: while the files that they mount are still there.
    lab.engine.reset()
    document = json.loads(confined.stdout)
    assert document["bundle"]["changed"] == ["api/work.env"]
    assert "in the place of the live one" in document["services_unknown"]
    assert document["services"] == []
    assert without.returncode == 0, without.stderr
    assert "what would happen to the services is not known" in without.stdout
    assert "Cannot connect to the Docker daemon" in without.stdout
    assert "  changed  api/work.env" in without.stdout


def test_a_compose_file_that_would_be_refused_is_refused_with_its_live_name(instance: Lab) -> None:
    lab = deployed(instance)
    upload(lab, COMPOSE.replace("    env_file: work.env\n", "    env_file: gone.env\n"), MANIFEST, FILES)

    done = lab.agent("plan")

    assert done.returncode == 65
    [error] = reports.errors(done.stderr)
    assert "/opt/services/api/gone.env" in reports.whole(error)
