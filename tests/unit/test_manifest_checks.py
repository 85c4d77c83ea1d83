"""The manifest's `checks`: what is accepted, and every fault with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.checks import offline
from agent.errors import ManifestError, UnresolvedError
from agent.secret import Secret
from agent.stages.probes import expect_possible, limits
from agent.steps.check import WELL, Check
from agent.steps.compose import Model
from agent.steps.project import Project
from agent.steps.service import Service
from agent.steps.verify import Limit
from agent.variables.manifest import Manifest, parse


def parsed(checks: str, known: frozenset[str] = frozenset()) -> Manifest:
    return parse(f"service: api\nchecks:\n{checks}".encode(), "vars.yaml", known=known)


def faults(checks: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        parsed(checks)
    return [line.removeprefix("vars.yaml:") for line in caught.value.details]


def test_every_kind_is_read_with_what_it_takes() -> None:
    manifest = parsed(
        "- {name: api answers, http: 'http://127.0.0.1:3001/health', status: 204, within: 60}\n"
        "- {http: 'https://x/', status: [200, 302]}\n"
        "- {tcp: '127.0.0.1:5432'}\n"
        "- {command: [./checks/ready.sh, --x, 7], within: 5}\n"
        "- {service: web, within: 90, stable: 10}\n"
        "- {service: db}\n"
    )

    http = (range(204, 205),)
    assert manifest.checks == (
        Check(name="api answers", kind="http", target="http://127.0.0.1:3001/health", status=http, within=60),
        Check(
            name="https://x/", kind="http", target="https://x/", status=(range(200, 201), range(302, 303)), within=30
        ),
        Check(name="127.0.0.1:5432", kind="tcp", target="127.0.0.1:5432", status=WELL, within=30),
        Check(name="./checks/ready.sh --x 7", kind="command", argv=("./checks/ready.sh", "--x", "7"), within=5),
        Check(name="web", kind="service", target="web", within=90, stable=10),
        Check(name="db", kind="service", target="db"),
    )
    assert manifest.warnings == ()
    assert (manifest.checks[1].line, manifest.checks[1].column) == (4, 3)


def test_no_checks_are_none() -> None:
    assert parsed("").checks == ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- {}\n", "3:3: a check takes exactly one of `http`, `tcp`, `command`, `service`"),
        (
            "- {http: 'http://x', tcp: 'x:1'}\n",
            "3:3: a check takes exactly one of `http`, `tcp`, `command`, `service`",
        ),
        ("- text\n", "3:3: a check must be a mapping (NAME: value)"),
        ("- {http: 'x/y'}\n", "3:10: `http` must be a URL, http:// or https://, without user and password"),
        ("- {http: 'http://u:p@x/'}\n", "3:10: `http` must be a URL, http:// or https://, without user and password"),
        ("- {tcp: x}\n", "3:9: `tcp` must be HOST:PORT"),
        ("- {command: ./x.sh}\n", "3:13: `command` must be a list"),
        ("- {command: []}\n", "3:13: `command` must be a list: the program, and each of its arguments"),
        ("- {command: ['', x]}\n", "3:13: `command` begins with no program"),
        ("- {service: 'a b'}\n", "3:13: `service` of a check must be the name of a service of the compose file"),
        ("- {tcp: 'x:1', within: 0}\n", "3:24: `within` must be whole seconds, 1 to 3600"),
        ("- {tcp: 'x:1', within: 3601}\n", "3:24: `within` must be whole seconds, 1 to 3600"),
        ("- {tcp: 'x:1', within: '30'}\n", "3:24: `within` must be whole seconds, 1 to 3600"),
        ("- {tcp: 'x:1', within: 1m}\n", "3:24: `within` must be whole seconds, 1 to 3600"),
        ("- {service: x, stable: -1}\n", "3:24: `stable` must be whole seconds, 1 to 3600"),
        ("- {http: 'http://x', status: 99}\n", "3:30: `status` must be an HTTP status, 100 to 599, or a list of them"),
        ("- {http: 'http://x', status: []}\n", "3:30: `status` must be an HTTP status, 100 to 599, or a list of them"),
        ("- {http: 'http://x', status: ok}\n", "3:30: `status` must be an HTTP status, 100 to 599, or a list of them"),
        (
            "- {tcp: '${HOST}:1'}\n",
            "3:3: the check ${HOST}:1 names HOST, which neither the manifest declares nor the bootstrap file sets",
        ),
        ("- {tcp: 'x:1'}\n- {tcp: 'x:1'}\n", "4:3: two checks are called x:1 (first on line 3); give it a `name`"),
    ],
)
def test_a_fault_is_told_with_its_place(text: str, fault: str) -> None:
    assert fault in faults(text)


def test_all_faults_are_told_at_once() -> None:
    assert len(faults("- {}\n- {tcp: x, within: 0}\n- {http: x, status: 1}\n")) == 5


def test_fields_that_are_not_read_warn() -> None:
    manifest = parsed("- {tcp: 'x:1', status: 200}\n- {service: x, retries: 3}\n")

    assert manifest.warnings == (
        "vars.yaml:3:16: unknown field `status` of a check of kind `tcp` is ignored",
        "vars.yaml:4:16: unknown field `retries` of a check of kind `service` is ignored",
    )


@pytest.mark.parametrize("text", ["http://${HOST}:${PORT}/x", "${BASE}/health"])
def test_variables_may_stand_anywhere_in_a_url(text: str) -> None:
    known = frozenset({"HOST", "PORT", "BASE"})

    assert parsed(f"- {{http: '{text}'}}\n", known).checks[0].target == text


@pytest.mark.parametrize(("text", "irreversible"), [("true", True), ("false", False), ("", False)])
def test_a_one_way_release_says_so(text: str, *, irreversible: bool) -> None:
    assert parse(f"service: api\nirreversible: {text}\n".encode(), "vars.yaml").irreversible == irreversible


def test_irreversible_is_true_or_false() -> None:
    with pytest.raises(ManifestError) as caught:
        parse(b"service: api\nirreversible: 'yes'\n", "vars.yaml")

    assert "`irreversible` must be true or false" in caught.value.details[0]


# --- before anything changes


def opened(folder: Path, **env: str) -> Project:
    file = folder / "docker-compose.yaml"
    file.write_text("services:\n  web: {image: 'x:1'}\n  idle: {image: 'x:1', profiles: [never]}\n")
    return Project(folder=folder, shown=folder, files=(file,), env={name: Secret(text) for name, text in env.items()})


MODEL = Model(name="api", services=(Service(name="web", image="x", replicas=1, mounts=()),), warnings=())


def test_a_check_of_a_service_that_is_not_there_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such service: wep") as caught:
        expect_possible(opened(tmp_path), MODEL, parsed("- {service: web}\n- {service: wep}\n"))

    assert caught.value.exit_status == 65
    assert caught.value.details == ("vars.yaml:4:3: the project has no service wep",)
    assert "idle, web" in caught.value.next_step


def test_a_service_whose_profile_is_not_active_may_be_named(tmp_path: Path) -> None:
    expect_possible(opened(tmp_path), MODEL, parsed("- {service: idle}\n"))


@pytest.mark.parametrize(
    ("check", "env", "fault"),
    [
        ("tcp: '${HOST}:1'", {}, "HOST has no value"),
        ("tcp: '${HOST}:1'", {"HOST": ""}, "HOST has no value"),
        ("tcp: 'x:${PORT}'", {"PORT": "hunter2"}, "x:${PORT} is no HOST:PORT once its variables are filled in"),
        ("http: '${BASE}/x'", {"BASE": "hunter2"}, "${BASE}/x is no URL once its variables are filled in"),
    ],
)
def test_a_check_that_cannot_be_filled_in_is_refused_and_no_value_is_told(
    tmp_path: Path, check: str, env: dict[str, str], fault: str
) -> None:
    manifest = parsed(f"- {{name: it, {check}}}\n", frozenset({"HOST", "PORT", "BASE"}))

    with pytest.raises(UnresolvedError) as caught:
        expect_possible(opened(tmp_path, **env), MODEL, manifest)
    assert caught.value.details == (f"vars.yaml:3:3: {fault}",)
    assert "hunter2" not in f"{caught.value} {caught.value.details}"


def test_what_checks_ask_of_services_is_for_the_wait() -> None:
    checks = parsed("- {service: web, within: 9}\n- {service: db, stable: 2}\n- {tcp: 'x:1'}\n").checks

    assert limits(checks) == {"web": Limit(within=9), "db": Limit(stable=2)}


# --- without a host


def found(folder: Path, checks: str) -> list[str]:
    opened(folder)
    (folder / "vars.yaml").write_text(f"service: api\nchecks:\n{checks}")
    report = offline.check(folder, lambda path: path.name)
    return [f"{item.place}: {item.severity}: {item.code}" for item in report.findings]


def test_check_finds_a_service_that_the_compose_file_lacks(tmp_path: Path) -> None:
    assert found(tmp_path, "- {service: idle}\n- {service: wep}\n") == [
        "vars.yaml:4:3: error: check-service-unknown",
    ]


def test_check_finds_faults_and_fields_that_are_not_read(tmp_path: Path) -> None:
    assert found(tmp_path, "- {tcp: x}\n- {service: web, retries: 3}\n") == [
        "vars.yaml:3:9: error: manifest-invalid",
        "vars.yaml:4:18: warning: manifest-doubtful",
    ]
