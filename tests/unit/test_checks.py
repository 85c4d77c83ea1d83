"""What `check` finds in a bundle: each kind of finding, at its place, and no text that looks like a secret."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent.checks.offline import check
from agent.checks.report import Report
from agent.checks.secrets import is_named_like_a_secret, scan
from agent.compose_file import Place
from agent.compose_file.finding import error, warning

CANARY = "c4nary"
BOOTSTRAP = """\
ENVIRONMENT=prod
HOSTNAME=h
SERVER_ROLE=api
ECR_REGISTRY=1.dkr.ecr.eu-central-1.amazonaws.com
ECR_TAG=v1
CONFIG_BUCKET=bucket
CONFIG_REF=r
NAMESPACE=delphi/prod
AWS_REGION=eu-central-1
"""
SERVICE = "services:\n  telapi:\n    image: ${ECR_REGISTRY}/app:${ECR_TAG}\n"


def checked(
    folder: Path, manifest: str | None, compose: str | None, bootstrap: str | None = None, **files: str
) -> Report:
    texts = {"vars.yaml": manifest, "docker-compose.yaml": compose, **files}
    for name, text in texts.items():
        if text is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    file = None
    if bootstrap is not None:
        file = folder.parent / "bootstrap"
        file.write_text(bootstrap)
        file.chmod(0o600)
    report = check(folder, lambda path: os.path.relpath(path, folder), file)
    assert CANARY not in report.text() + report.json() + report.github()
    return report


def told(report: Report) -> list[str]:
    return [f"{item.place} {item.severity} {item.code}" for item in report.findings]


def of_variables(folder: Path, *variables: str, bootstrap: str | None = None, environment: str = "[A, B, C]") -> Report:
    manifest = "service: api\nvariables:\n" + "".join(f"  - {{{variable}}}\n" for variable in variables)
    return checked(folder, manifest, f"{SERVICE}    environment: {environment}\n", bootstrap)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "api").mkdir()
    return tmp_path / "api"


def test_a_clean_bundle_has_no_findings(folder: Path) -> None:
    report = of_variables(
        folder,
        "name: A, containers: [telapi, voiceai-telapi]",
        "name: B, required_when: C=x",
        "name: C, compose: {template: '${A}${HOSTNAME}'}",
        bootstrap=BOOTSTRAP,
    )

    assert report.findings == ()
    assert (report.exit_code(strict=True), report.text()) == (0, "0 errors, 0 warnings\n")


def test_the_lab_s_bundle_is_clean() -> None:
    bundle = Path(__file__).parents[1] / "lab" / "bundle" / "api"

    assert check(bundle, str).findings == ()


def test_an_empty_folder_lacks_both_files(folder: Path) -> None:
    report = checked(folder, None, None)

    assert told(report) == [".:1:1 error compose-file-missing", "vars.yaml:1:1 error manifest-missing"]
    assert report.exit_code(strict=False) == 65


def test_every_fault_of_the_manifest_is_a_finding_beside_those_of_the_compose_file(folder: Path) -> None:
    report = of_variables(
        folder,
        "name: A, compose: {template: '${B}'}",
        "name: B, compose: {template: '${A}${NOPE}'}",
        "name: D, colour: red",
        "name: D",
        "name: C, secret: {arn_from: NO_ARN}, required: maybe",
        environment="[A, B, C, D, MISSING]",
    )

    assert told(report) == [
        "docker-compose.yaml:4:31 error variable-undeclared",
        "vars.yaml:3:24 error manifest-invalid",
        "vars.yaml:4:24 error manifest-invalid",
        "vars.yaml:5:15 warning manifest-doubtful",
        "vars.yaml:6:12 error manifest-invalid",
        "vars.yaml:7:23 error manifest-invalid",
        "vars.yaml:7:53 error manifest-invalid",
    ]
    assert "cycle: A -> B -> A" in report.text()
    assert "did you mean" not in report.text()


@pytest.mark.parametrize("manifest", ["", "[", "- x", "service: ["])
def test_a_manifest_that_is_none_hides_nothing_else(folder: Path, manifest: str) -> None:
    report = checked(folder, manifest, "services: {a: {image: 'x${'}}\n")

    assert {"manifest-invalid", "interpolation-invalid"} <= {finding.code for finding in report.findings}


def test_an_undeclared_variable_is_an_error_with_a_suggestion(folder: Path) -> None:
    report = of_variables(folder, "name: DATABASE_URL", environment="{X: '${DATABSE_URL}', Y: $DATABASE_URL}")

    assert told(report) == ["docker-compose.yaml:4:23 error variable-undeclared"]
    assert "did you mean DATABASE_URL?" in report.text()


def test_the_override_file_is_looked_into(folder: Path) -> None:
    override = "services: {telapi: {labels: {L: '${NOPE}'}}}\n"
    report = checked(folder, "service: api\n", SERVICE, **{"docker-compose.override.yml": override})

    assert told(report) == ["docker-compose.override.yml:1:34 error variable-undeclared"]


@pytest.mark.parametrize(
    ("use", "bootstrap", "known"),
    [
        ("${NAMESPACE}", None, True),
        ("${EXTRA}", None, False),
        ("${EXTRA}", BOOTSTRAP + "EXTRA=1\n", True),
        ("${HTTP_PROXY}", BOOTSTRAP, True),
        ("${AWS_SECRET_ACCESS_KEY}", None, False),
        ("${DOCKER_HOST}", BOOTSTRAP + "DOCKER_HOST=x\n", False),
        ("${COMPOSE_PROJECT_NAME}", None, True),
    ],
)
def test_which_bootstrap_variables_count(folder: Path, use: str, bootstrap: str | None, *, known: bool) -> None:
    report = checked(folder, "service: api\n", f"{SERVICE}    labels: {{L: '{use}'}}\n", bootstrap)

    assert ("variable-undeclared" not in {finding.code for finding in report.findings}) == known


@pytest.mark.parametrize(
    ("form", "empty"),
    [
        ("${A:-}", True),
        ("${A-}", True),
        ("${A:-x}", False),
        ("${A:?}", False),
        ("${A:+x}", False),
        ("${HTTP_PROXY:-}", False),
    ],
)
def test_a_default_that_is_empty_is_a_warning(folder: Path, form: str, *, empty: bool) -> None:
    report = of_variables(folder, "name: A", environment=f"{{X: '{form}', A: $A}}")

    assert told(report) == (["docker-compose.yaml:4:23 warning default-empty"] if empty else [])


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("telapi", None),
        ("voiceai-telapi", None),
        ("web", None),
        ("voiceai-web", None),
        ("front", None),
        ("voiceai-front", None),
        ("voiceai-", "error container-unknown"),
        ("telpi", "error container-unknown"),
        ("other", "warning container-without-variable"),
    ],
)
def test_an_entry_of_containers_is_a_service_that_takes_the_variable(
    folder: Path, entry: str, code: str | None
) -> None:
    compose = f"""\
{SERVICE}    command: $A
  voiceai-web: {{image: 'w:1', container_name: voiceai-front, environment: {{X: '${{A}}'}}}}
  other: {{image: 'w:1', environment: {{A: literal}}}}
"""
    report = checked(folder, f"service: api\nvariables:\n  - {{name: A, containers: [{entry}]}}\n", compose)

    assert told(report) == ([f"vars.yaml:3:28 {code}"] if code else [])


def test_what_a_service_takes_from_an_unknown_env_file_is_not_guessed(folder: Path) -> None:
    compose = f"{SERVICE}    env_file: /etc/host.env\n    labels: [$A]\n  b: {{image: 'w:1', env_file: [/x]}}\n"
    report = checked(folder, "service: api\nvariables:\n  - {name: A, containers: [b]}\n", compose)

    assert report.findings == ()


def test_a_variable_without_a_use_is_a_warning(folder: Path) -> None:
    variables = [
        "A",
        "UNUSED",
        "HOST, scope: init",
        "NAMESPACE, source: local",
        "HOOK",
        "FILE",
        "MEDIA_TLS_FULLCHAIN_B64",
    ]
    head = "service: api\nfiles: [{variable: FILE, path: x}]\nvariables:\n"
    manifest = head + "".join(f"  - {{name: {name}}}\n" for name in variables)
    report = checked(folder, manifest, f"{SERVICE}    labels: [$A]\n", **{"hooks/pre-up.d/10": "echo $HOOK\n"})

    assert told(report) == ["vars.yaml:5:5 warning variable-unused"]


@pytest.mark.parametrize(
    ("image", "loose"),
    [
        ("app", True),
        ("host:5000/app", True),
        ("app:latest", True),
        ("app:${ECR_TAG:-latest}", True),
        ("${ECR_REGISTRY}/app", True),
        ("app:1.2", False),
        ("app:${ECR_TAG}", False),
        ("app:${ECR_TAG:-v1}", False),
        ("app@sha256:1234", False),
        ("app:latest@sha256:1234", False),
        ("${ECR_REGISTRY}", False),
        ("app:v${ECR_TAG}", False),
    ],
)
def test_an_image_that_can_change_is_a_warning(folder: Path, image: str, *, loose: bool) -> None:
    report = checked(folder, "service: api\n", f"services:\n  a:\n    image: {image}\n")

    assert told(report) == (["docker-compose.yaml:3:12 warning image-not-pinned"] if loose else [])


def test_files_that_do_not_belong_in_a_bundle_are_warnings(folder: Path) -> None:
    files = {".env": "A=1\n", "init.sh": "", "update.sh": "", "sub/init.sh": ""}
    report = checked(
        folder, "service: api\n", f"{SERVICE}    env_file: [no.env, {{path: o.env, required: false}}]\n", **files
    )

    assert told(report) == [
        ".env:1:1 warning dotenv-file",
        "docker-compose.yaml:4:16 warning env-file-missing",
        "init.sh:1:1 warning old-script",
        "update.sh:1:1 warning old-script",
    ]
    assert (report.exit_code(strict=False), report.exit_code(strict=True)) == (0, 65)


@pytest.mark.parametrize(
    "line",
    [
        "x AKIAC4NARYABCDEFGHIJ y",
        "aws_secret_access_key = c4naryc4naryc4naryc4naryc4naryc4naryc4na",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "url: postgres://app:c4nary1@db/x",
        "password: c4nary1",
        "  - DB_PASSWORD=c4nary1",
        '"clientSecret": "c4nary1",',
        "DB_PASSWORD: ${DB_PASSWORD:-c4nary1}",
        "api_key: 'c4nary1'",
        "environment: {DB_PASSWORD: c4nary1}",
        "command: DB_PASSWORD=c4nary1 run",
    ],
)
def test_what_looks_like_a_secret_is_found(line: str) -> None:
    found = list(scan(f"# first\n{line}\n", settings=True))

    assert len(found) == 1
    assert CANARY not in found[0].text.lower()


@pytest.mark.parametrize(
    "line",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "url: postgres://app:${PASSWORD}@db/x and redis://:{{ pw }}@x and http://user:password@host",
        "password: ${DB_PASSWORD}",
        "password: $DB_PASSWORD",
        "password: changeme",
        "password: <your password>",
        "password: your-password-here",
        "password:",
        "password: true",
        "token: {env.TOKEN}",
        "secret: {arn_from: A, type: json, key: password}",
        "DB_PASSWORD_FILE: /run/secrets/db",
        "secret: ./file.txt",
        "max_token: 4096",
        "key: abcdefgh",
        "secrets: [password]",
        "- PASSWORD",
        "DB_PASSWORD: ${DB_PASSWORD:-}",
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_references_and_placeholders_are_no_secrets(line: str) -> None:
    assert list(scan(line, settings=True)) == []


@pytest.mark.parametrize("name", ["PASSWORD", "dbPassword", "API_KEY", "JWT_SIGNING_KEY", "x.token", "DB_PWD"])
def test_names_of_secrets(name: str) -> None:
    assert is_named_like_a_secret(name)


def test_secrets_are_told_by_place_and_kind_only(folder: Path) -> None:
    compose = f"{SERVICE}    environment: {{DB_PASSWORD: pa$c4nary, OK: $A}}\n"
    files = {
        "otel.yml": "a: 1\nheaders: {api_key: c4nary}\n",
        "script.sh": "password=c4nary\n",
        "b.bin": "\0password: c4nary",
    }
    manifest = "service: api\nvariables:\n  - {name: A, sensitive: true, default: c4nary}\n"
    report = checked(folder, manifest, compose, **files)

    assert told(report) == [
        "docker-compose.yaml:4:19 warning secret-in-bundle",
        "docker-compose.yaml:4:34 error variable-undeclared",
        "otel.yml:2:11 warning secret-in-bundle",
        "vars.yaml:3:41 warning secret-in-bundle",
    ]


@pytest.mark.parametrize(
    "setting",
    [
        "DB_PASSWORD: pa$c4nary",
        "DB_PASSWORD: $c4nary",
        "DB_PASSWORD: |\n        x\n        pa$c4nary",
        "DB_PASSWORD:\n        pa$c4nary",
        "URL: 'redis://:pa$c4nary@host'",
        '"DB_PASSWORD": "pa$c4nary"',
    ],
)
def test_what_follows_a_dollar_sign_in_a_password_is_not_named(folder: Path, setting: str) -> None:
    report = checked(folder, "service: api\n", f"{SERVICE}    environment:\n      {setting}\n")

    assert "variable-undeclared" in {finding.code for finding in report.findings}


def test_faults_of_the_bootstrap_file_have_places_and_win_the_exit_code(folder: Path) -> None:
    bootstrap = BOOTSTRAP.replace("AWS_REGION=eu-central-1", "AWS_REGION=c4nary") + "X=$(c4nary)\n"
    report = of_variables(folder, "name: A", "name: D, source: local, required: true", bootstrap=bootstrap)

    assert told(report) == [
        "../bootstrap:9:1 error bootstrap-invalid",
        "../bootstrap:10:3 error bootstrap-invalid",
        "docker-compose.yaml:4:22 error variable-undeclared",
        "docker-compose.yaml:4:25 error variable-undeclared",
        "vars.yaml:4:5 error variable-without-value",
        "vars.yaml:4:5 warning variable-unused",
    ]
    assert report.exit_code(strict=False) == 78


@pytest.mark.parametrize(
    ("fields", "extra", "lacks"),
    [
        ("required: true", "", True),
        ("required: true", "A=\n", True),
        ("required: true", "A=c4nary\n", False),
        ("required: true, default: c4nary", "", False),
        ("required: false", "", False),
        ("required_when: B=on", "B=on\n", True),
        ("required_when: B=on", "B=off\n", False),
        ("required_when: C=on", "C=on\n", False),
    ],
)
def test_a_required_local_variable_needs_a_value(folder: Path, fields: str, extra: str, *, lacks: bool) -> None:
    report = of_variables(
        folder, f"name: A, source: local, {fields}", "name: B, source: local", "name: C", bootstrap=BOOTSTRAP + extra
    )

    assert told(report) == (["vars.yaml:3:5 error variable-without-value"] if lacks else [])
    assert report.exit_code(strict=False) == (66 if lacks else 0)


def test_a_bootstrap_file_that_is_not_there_is_one_finding(folder: Path) -> None:
    checked(folder, "service: api\n", SERVICE)

    report = check(folder, str, folder / "none")

    assert [finding.code for finding in report.findings] == ["bootstrap-invalid"]


def test_the_gravest_kind_gives_the_exit_code() -> None:
    place = Place("x")
    several = [error(place, "a", "t", "n", exit_code=code) for code in (74, 66, 65)]
    doubt = warning(place, "w", "t", "n", exit_code=78)

    assert Report.of(several).exit_code(strict=False) == 65
    assert Report.of([*several, doubt]).exit_code(strict=True) == 65
    assert (Report.of([doubt]).exit_code(strict=False), Report.of([doubt]).exit_code(strict=True)) == (0, 78)


def test_the_formats_escape_what_they_must() -> None:
    report = Report.of([error(Place("a,b:c%.yaml", 3, 7), "code", "50% of\x1b[31m\n::error::x", "do\rit")])

    assert report.github() == (
        "::error file=a%2Cb%3Ac%25.yaml,line=3,col=7,title=code::50%25 of\\x1b[31m%0A::error::x%0Anext: do%0Dit\n"
    )
    assert report.text() == (
        "a,b:c%.yaml:3:7: error: 50% of\\x1b[31m\\n::error::x [code]\n  next: do\\rit\n1 error, 0 warnings\n"
    )
    assert json.loads(report.json()) == {
        "schema": 1,
        "findings": [
            {
                "severity": "error",
                "code": "code",
                "file": "a,b:c%.yaml",
                "line": 3,
                "column": 7,
                "text": "50% of\x1b[31m\n::error::x",
                "next_step": "do\rit",
            }
        ],
        "errors": 1,
        "warnings": 0,
    }


PIECES = [
    "service: api\n",
    "variables:\n",
    "  - {name: A",
    ", default: c4nary-1",
    "}\n",
    "services:\n",
    "  a:\n",
    "    image: x\n",
]
LINES = [
    *PIECES,
    "    environment: [A, 'B_PASSWORD=pa$c4nary']\n",
    "    image: '${'\n",
    "[",
    "- ",
    "\t",
    "<<: *x\n",
    "&x ",
    "\0",
    "\ud800",
]
FILES = st.lists(st.sampled_from(LINES), max_size=12).map("".join)


@given(
    FILES,
    FILES,
    st.lists(st.sampled_from([*BOOTSTRAP.splitlines(keepends=True), "A='", "X=c4nary\n", "$("]), max_size=9),
)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("service: *c4nary\n", "services: *c4nary\n", [])
def test_no_bundle_ends_in_a_traceback_or_shows_a_secret(folder: Path, one: str, two: str, lines: list[str]) -> None:
    report = checked(folder, one, two, "".join(lines))

    assert report.exit_code(strict=True) in {0, 65, 66, 74, 78}


def test_a_value_that_python_dotenv_reads_otherwise_is_named_and_not_shown(folder: Path) -> None:
    """In double quotes bash keeps `\\n` as two characters; python-dotenv makes it a line break."""
    report = checked(folder, "service: api\n", SERVICE, BOOTSTRAP + 'PLAIN=same\nCANARY="two\\nlines"\n')

    [finding] = [item for item in report.findings if item.code == "read-otherwise"]
    assert finding.text.startswith("python-dotenv, and tools like it, read another value of CANARY")
    assert "two" not in report.text()
