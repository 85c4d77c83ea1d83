"""Compose: its command lines, its model, what it says that it does, and what a failed pull means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ComposeFileError, HostError
from agent.host.command import Command, Finished
from agent.secret import Secret
from agent.steps import compose
from agent.steps.compose import Model, Plan
from agent.steps.project import FILE_NAMES, OVERRIDE_NAMES, Project, find
from agent.steps.service import Service
from tests.unit.fakes import FakeClock, FakeCommands

FOLDER = Path("/opt/services/api")
ENV = {"PASSWORD": Secret("hunter2"), "PATH": Secret("/usr/bin")}
PROJECT = Project(folder=FOLDER, shown=FOLDER, files=(FOLDER / "docker-compose.yaml",), env=ENV)
BASE = (
    "docker",
    "compose",
    "-f",
    "/opt/services/api/docker-compose.yaml",
    "--project-directory",
    "/opt/services/api",
    "--env-file",
    "/dev/null",
)


def command(*arguments: str) -> Command:
    return Command(argv=(*BASE, *arguments), env=ENV, cwd=FOLDER)


# --- command lines


def test_the_model_is_asked_for_as_json() -> None:
    assert command("config", "--format", "json") == PROJECT.config()


@pytest.mark.parametrize(
    ("recreate", "pull", "flags"),
    [
        (False, True, ()),
        (True, True, ("--force-recreate",)),
        (False, False, ("--pull", "never")),
        (True, False, ("--force-recreate", "--pull", "never")),
    ],
)
def test_up_removes_orphans_and_recreates_and_pulls_as_asked(
    *, recreate: bool, pull: bool, flags: tuple[str, ...]
) -> None:
    expected = command("--progress", "plain", "up", "--detach", "--remove-orphans", *flags)

    assert expected == PROJECT.up(recreate=recreate, pull=pull)


def test_a_dry_run_is_up_that_neither_does_nor_pulls_anything() -> None:
    up = ("up", "--no-start", "--remove-orphans", "--pull", "never")

    assert command("--progress", "plain", "--dry-run", *up) == PROJECT.dry_run(recreate=False)


def test_the_override_of_the_agent_is_the_last_file() -> None:
    argv = PROJECT.with_override(Path("/run/x.json")).config().argv

    assert argv[2:6] == ("-f", "/opt/services/api/docker-compose.yaml", "-f", "/run/x.json")


@pytest.mark.parametrize(
    "made", [PROJECT.config(), PROJECT.pull(["api"], each=True), PROJECT.up(recreate=True, pull=True)]
)
def test_no_value_is_in_a_command_line_or_shown(made: Command) -> None:
    assert "hunter2" not in f"{made} {made!r} {PROJECT!r}"
    assert made.env["PASSWORD"].reveal() == "hunter2"


@pytest.mark.parametrize("place", range(len(FILE_NAMES)))
def test_the_first_compose_file_in_the_order_of_compose_is_used(tmp_path: Path, place: int) -> None:
    for name in FILE_NAMES[place:]:
        (tmp_path / name).touch()

    assert (tmp_path / FILE_NAMES[place],) == find(tmp_path, "x")


def test_one_override_of_the_bundle_is_used_too(tmp_path: Path) -> None:
    for name in ("docker-compose.yaml", *OVERRIDE_NAMES[1:]):
        (tmp_path / name).touch()

    assert (tmp_path / "docker-compose.yaml", tmp_path / OVERRIDE_NAMES[1]) == find(tmp_path, "x")


def test_a_folder_without_a_compose_file_is_told_by_its_live_name(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yaml").mkdir()

    with pytest.raises(ComposeFileError, match="looking for a compose file in /opt/services/api") as caught:
        find(tmp_path, "/opt/services/api")
    assert caught.value.exit_status == 65


# --- the model


def model_of(document: object, err: bytes = b"") -> Model:
    commands = FakeCommands()
    commands.expect(*PROJECT.config().argv, out=json.dumps(document).encode(), err=err)
    return compose.read_model(PROJECT, commands, FakeClock().deadline())


def service_of(data: dict[str, Any], **more: object) -> Service:
    return model_of({"name": "api", "services": {"web": data}, **more}).services[0]


def test_the_model_has_services_in_the_order_of_their_names_and_every_image_once() -> None:
    services = {"web": {"image": "b:1"}, "db": {"image": "a:1"}, "job": {"image": "b:1"}, "own": {"build": "."}}
    model = model_of({"name": "api", "services": services})

    assert [service.name for service in model.services] == ["db", "job", "own", "web"]
    assert model.images == ("a:1", "b:1")
    assert (model.name, model.warnings) == ("api", ())


@pytest.mark.parametrize(
    ("data", "replicas"),
    [({}, 1), ({"scale": 3}, 3), ({"scale": 0}, 0), ({"deploy": {"replicas": 2}}, 2), ({"deploy": {"replicas": 0}}, 0)],
)
def test_how_many_containers_a_service_has_is_read(data: dict[str, Any], replicas: int) -> None:
    assert replicas == service_of(data).replicas


def test_what_a_service_sees_of_the_host_are_its_binds_and_the_files_of_its_configs_and_secrets() -> None:
    data = {
        "volumes": [
            {"type": "bind", "source": "/opt/services/api/Caddyfile", "target": "/etc/x"},
            {"type": "volume", "source": "data", "target": "/data"},
            {"type": "tmpfs", "target": "/tmp"},
        ],
        "configs": [{"source": "otel"}, {"source": "inline"}],
        "secrets": [{"source": "key"}],
    }
    service = service_of(
        data,
        configs={"otel": {"file": "/opt/services/common/otel.yaml"}, "inline": {"content": "x"}},
        secrets={"key": {"file": "/opt/services/api/key"}, "other": {"file": "/x"}},
    )

    assert service.mounts == ("/opt/services/api/Caddyfile", "/opt/services/api/key", "/opt/services/common/otel.yaml")


def test_the_environment_is_what_a_container_gets_with_a_dollar_sign_as_one_and_without_what_is_set_nowhere() -> None:
    found = service_of({"environment": {"A": "x$$y", "B": None, "C": ""}}).environment

    assert {name: value.reveal() for name, value in found.items()} == {"A": "x$y", "C": ""}


def test_contents_that_are_made_of_values_are_known_by_what_grants_them() -> None:
    data = {"secrets": [{"source": "token"}], "configs": [{"source": "text"}, {"source": "file"}, {"source": "else"}]}
    found = service_of(
        data,
        secrets={"token": {"environment": "PASSWORD"}},
        configs={"text": {"content": "a"}, "file": {"file": "/x"}, "else": {"external": True}},
    )

    assert {name: value.reveal() for name, value in found.granted.items()} == {
        "config text": "a",
        "secret token": "hunter2",
    }
    assert "hunter2" not in repr(found)


def test_a_dry_run_gets_stand_ins_for_contents_that_are_made_of_values() -> None:
    data = {"secrets": [{"source": "a b"}], "configs": [{"source": "c"}]}
    model = model_of(
        {
            "name": "api",
            "services": {"web": data, "db": data},
            "secrets": {"a b": {"environment": "X"}},
            "configs": {"c": {"content": "y"}},
        }
    )

    assert compose.stand_ins(model) == (
        b'configs: {"c": {file: /dev/null, content: !reset null, environment: !reset null}}\n'
        b'secrets: {"a b": {file: /dev/null, content: !reset null, environment: !reset null}}\n'
    )
    assert compose.stand_ins(model_of({"name": "api", "services": {"web": {}}})) is None


def test_a_service_knows_whose_namespace_it_lives_in() -> None:
    data = {"network_mode": "service:web", "pid": "host", "ipc": "service:db"}

    assert service_of(data).along == ("web", "db")


@pytest.mark.parametrize(
    ("data", "container", "owns"),
    [
        ({}, "api-web-1", True),
        ({}, "api-web-12", True),
        ({}, "api-web-x-1", False),
        ({}, "web-1", False),
        ({"container_name": "front"}, "front", True),
        ({}, "front", False),
    ],
)
def test_a_service_knows_the_names_of_its_containers(data: dict[str, Any], container: str, *, owns: bool) -> None:
    assert owns == service_of(data).owns(container, "api")


def test_in_another_view_of_the_file_system_the_folder_is_only_named() -> None:
    project = Project(folder=FOLDER, shown=FOLDER, files=(), env=ENV, view=("unshare", "--"))

    assert project.config().argv[:4] == ("unshare", "--", "docker", "compose")
    assert project.config().cwd is None


def test_a_project_without_services_has_none() -> None:
    assert model_of({"name": "api", "services": None}).services == ()


def test_warnings_of_compose_are_told_once_each() -> None:
    line = 'time="2026-01-02T03:04:05Z" level=warning msg="The \\"X\\" variable is not set."\n'
    model = model_of({"name": "api", "services": {}}, err=(line * 2 + "other\n").encode())

    assert model.warnings == ('The "X" variable is not set.',)


def test_files_that_compose_refuses_are_told_in_its_own_words() -> None:
    commands = FakeCommands()
    commands.expect(
        *PROJECT.config().argv, status=15, err=b"validating /x: services.api\nadditional properties 'foo'\n"
    )
    commands.expect(*PROJECT.version().argv, out=b"2.26.1\n")

    with pytest.raises(ComposeFileError, match="additional properties 'foo'") as caught:
        compose.read_model(PROJECT, commands, FakeClock().deadline())
    assert caught.value.details == ("validating /x: services.api",)


def test_a_fault_in_the_staged_tree_is_told_with_the_live_folder() -> None:
    staged = Path("/opt/services/.delphi-agent-staging/api")
    project = Project(folder=staged, shown=FOLDER, files=(staged / "docker-compose.yaml",), env=ENV)
    commands = FakeCommands()
    commands.expect(*project.config().argv, status=15, err=f"parsing {staged}/docker-compose.yaml: bad\n".encode())
    commands.expect(*project.version().argv, out=b"2.26.1\n")

    with pytest.raises(ComposeFileError) as caught:
        compose.read_model(project, commands, FakeClock().deadline())
    assert str(caught.value) == (
        "reading the compose files of /opt/services/api: parsing /opt/services/api/docker-compose.yaml: bad"
    )


def test_a_compose_that_says_nothing_is_told_with_its_status() -> None:
    commands = FakeCommands()
    commands.expect(*PROJECT.config().argv, status=15)
    commands.expect(*PROJECT.version().argv, out=b"2.26.1\n")

    with pytest.raises(ComposeFileError, match="exited with 15 and said nothing"):
        compose.read_model(PROJECT, commands, FakeClock().deadline())


def test_a_docker_command_without_the_plugin_is_the_host_s_fault_and_not_the_bundle_s() -> None:
    commands = FakeCommands()
    commands.expect(*PROJECT.config().argv, status=125, err=b"unknown shorthand flag: 'f' in -f\n")
    commands.expect(*PROJECT.version().argv, status=1, err=b"docker: 'compose' is not a docker command.\n")

    with pytest.raises(HostError, match="'compose' is not a docker command") as caught:
        compose.read_model(PROJECT, commands, FakeClock().deadline())
    assert "install the Compose plugin" in caught.value.next_step


def test_an_old_compose_that_prints_no_json_is_told() -> None:
    commands = FakeCommands()
    commands.expect(*PROJECT.config().argv, out=b"name: api\n")

    with pytest.raises(ComposeFileError, match="no JSON"):
        compose.read_model(PROJECT, commands, FakeClock().deadline())


# --- what it does (lines of Compose 2.26)

DRY = " DRY-RUN MODE - "


@pytest.mark.parametrize(
    ("lines", "actions"),
    [
        ([f"{DRY} Container api-a-1  Recreate", f"{DRY} Container api-a-1  Recreated"], {"api-a-1": "recreated"}),
        ([f"{DRY} Container api-a-1  Running"], {"api-a-1": "unchanged"}),
        ([f"{DRY} Container api-m-1  Creating", f"{DRY} Container api-m-1  Created"], {"api-m-1": "created"}),
        ([" Container api-m-1  Created"], {"api-m-1": "unchanged"}),
        (
            [" Container api-m-1  Created", " Container api-m-1  Starting", " Container api-m-1  Started"],
            {"api-m-1": "started"},
        ),
        (
            [
                " Container api-a-1  Recreate",
                " Container 925165569c18_api-a-1  Recreated",
                " Container 925165569c18_api-a-1  Starting",
                " Container 925165569c18_api-a-1  Started",
            ],
            {"api-a-1": "recreated"},
        ),
        ([" Container api-old-1  Stopping", " Container api-old-1  Stopped", " Container api-old-1  Removing"], {}),
        ([" Container api-old-1  Stopped", " Container api-old-1  Removed"], {"api-old-1": "removed"}),
        ([" Network api_default  Creating", " Network api_default  Created", ' Volume "x"  Created'], {}),
        ([" Container api-a-1  Waiting", " Container api-a-1  Healthy"], {}),
        ([" Container api-a-1  Error"], {}),
        (
            [" Container api-a-1 Recreate ", " Container api-b-1 Running "],
            {"api-a-1": "recreated", "api-b-1": "unchanged"},
        ),
        (["", 'time="x" level=warning msg="Container"', " api Pulled "], {}),
    ],
)
def test_progress_lines_are_read_as_what_happens_to_each_container(lines: list[str], actions: dict[str, str]) -> None:
    assert actions == compose._actions(lines)


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}-[a-z]{1,6}-[1-9]", fullmatch=True)
FATES = {
    "created": ["Creating", "Created", "Starting", "Started"],
    "recreated": ["Recreate", "Recreated", "Starting", "Started"],
    "unchanged": ["Running"],
    "started": ["Created", "Starting", "Started"],
    "removed": ["Stopping", "Stopped", "Removing", "Removed"],
}


@given(st.dictionaries(NAMES, st.sampled_from(sorted(FATES))), st.randoms(use_true_random=False), st.booleans())
def test_lines_of_several_containers_may_come_in_between(fates: dict[str, str], random: Any, dry: bool) -> None:  # noqa: ANN401, FBT001 - both are made by hypothesis
    queues = {name: list(FATES[fate]) for name, fate in fates.items()}
    lines = [" Network api_default  Created"]
    while any(queues.values()):
        name = random.choice([name for name, queue in queues.items() if queue])
        lines.append(f"{DRY if dry else ''} Container {name}  {queues[name].pop(0)}")

    assert fates == compose._actions(lines)


def test_a_plan_changes_what_is_created_replaced_or_removed_and_a_one_shot_that_ran_is_no_change() -> None:
    plan = Plan({"a": "created", "b": "recreated", "c": "removed", "d": "unchanged", "e": "started"})

    assert plan.changes == {"a": "created", "b": "recreated", "c": "removed"}


def test_a_plan_comes_from_a_dry_run() -> None:
    commands = FakeCommands()
    commands.expect(*PROJECT.dry_run(recreate=True).argv, err=f"{DRY} Container api-a-1  Recreate\n".encode())

    assert planned(commands, recreate=True).changes == {"api-a-1": "recreated"}


def test_a_dry_run_that_fails_is_an_error_of_the_compose_file() -> None:
    commands = FakeCommands()
    commands.expect(*PROJECT.dry_run(recreate=False).argv, status=1, err=b"no such network\n")

    with pytest.raises(ComposeFileError, match="no such network"):
        planned(commands)


@pytest.mark.parametrize("said", [b"", b'{"\n', b" Network api_default  Created\n"])
def test_a_dry_run_that_names_no_container_is_not_taken_for_nothing_to_do(said: bytes) -> None:
    commands = FakeCommands()
    commands.expect(*PROJECT.dry_run(recreate=False).argv, err=said)

    with pytest.raises(HostError, match="it names no container"):
        planned(commands)


def test_a_project_without_a_single_container_is_none_to_be_named() -> None:
    commands = FakeCommands()
    commands.expect(*PROJECT.dry_run(recreate=False).argv)

    assert planned(commands, replicas=0).actions == {}


def planned(commands: FakeCommands, *, replicas: int = 1, recreate: bool = False) -> Plan:
    model = Model(name="api", services=(Service(name="a", image="i", replicas=replicas, mounts=()),), warnings=())
    return compose.plan(PROJECT, model, commands, FakeClock().deadline(), recreate=recreate)


def test_an_up_that_names_no_container_has_not_done_what_was_planned() -> None:
    silent, talking = (
        Finished(PROJECT.up(recreate=False, pull=False), 0, b"", said)
        for said in (b"{", b" Container api-a-1  Started\n")
    )
    changes, none = Plan({"api-a-1": "recreated"}), Plan({"api-a-1": "unchanged"})

    assert compose.left_undone(changes, silent)
    assert not compose.left_undone(changes, talking)
    assert not compose.left_undone(none, silent)


def test_up_is_left_to_its_caller_to_judge() -> None:
    commands = FakeCommands()
    argv = PROJECT.up(recreate=False, pull=True).argv
    commands.expect(*argv, status=1, err=b" Container api-a-1  Creating\nport is already allocated\n")
    finished = compose.up(PROJECT, commands, FakeClock().deadline(), recreate=False, pull=True)

    assert finished.status == 1
    assert compose.actions_of(finished) == {"api-a-1": "created"}
