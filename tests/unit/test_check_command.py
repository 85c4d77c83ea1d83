"""`delphi-agent check` from the outside: which folder, what is printed, which exit code, what is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.cli.main import main
from tests.unit import children
from tests.unit.test_checks import BOOTSTRAP, SERVICE

# PyYAML is what it reads with.
HEAVY = {"boto3", "botocore", "docker", "structlog", "tenacity", "requests", "urllib3", "dotenv", "ssl", "http"}
MANIFEST = "service: api\n"


def bundle(folder: Path, compose: str = SERVICE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vars.yaml").write_text(MANIFEST)
    (folder / "docker-compose.yaml").write_text(compose)
    return folder


def run(*argv: str | Path) -> int:
    return main(["check", *map(str, argv)])


def test_a_named_folder_is_checked_and_shown_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(tmp_path / "repository" / "api", SERVICE + "    labels: [$NOPE]\n")
    monkeypatch.chdir(tmp_path / "repository")

    assert run("api") == 65
    out, err = capsys.readouterr()
    assert out.startswith("api/docker-compose.yaml:4:14: error: NOPE is neither declared")
    assert out.endswith("1 error, 0 warnings\n")
    assert err == ""


def test_the_host_s_own_folder_is_the_role_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle(tmp_path / "opt/services/api", SERVICE + "    labels: [$NOPE]\n")
    bundle(tmp_path / "opt/services/other")
    (tmp_path / "opt/services/api/tls").mkdir()
    (tmp_path / "opt/services/api/tls/privkey.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "opt/deployment").mkdir()
    (tmp_path / "opt/deployment/.env").write_text(BOOTSTRAP + "BROKEN='")

    assert run("--root", tmp_path) == 65
    assert capsys.readouterr().out.splitlines()[0].startswith("/opt/services/api/docker-compose.yaml:4:14: error")


def test_without_a_bootstrap_file_it_is_the_only_folder_with_a_manifest(tmp_path: Path) -> None:
    bundle(tmp_path / "opt/services/api")
    (tmp_path / "opt/services/common").mkdir()

    assert run("--root", tmp_path) == 0


@pytest.mark.parametrize("roles", [(), ("api", "web")])
def test_when_no_folder_is_certain_that_is_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], roles: tuple[str, ...]
) -> None:
    for role in roles:
        bundle(tmp_path / "opt/services" / role)

    assert run("--root", tmp_path) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "delphi-agent check DIR" in err


def test_a_folder_that_is_none_is_usage(tmp_path: Path) -> None:
    assert run(tmp_path / "nowhere") == 2


def test_the_bootstrap_file_is_checked_together_with_the_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bundle(tmp_path / "api", SERVICE + "    labels: [$NOPE]\n")
    (tmp_path / "boot").write_text("NAMESPCE=x\n")

    assert run(folder, "--bootstrap", tmp_path / "boot", "--format", "json") == 78
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["warnings"]) == (1, 0)
    assert {finding["code"] for finding in document["findings"]} == {"bootstrap-invalid", "variable-undeclared"}
    assert document["errors"] == len(document["findings"])


def test_warnings_fail_only_when_asked_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = bundle(tmp_path / "api")
    (folder / "init.sh").touch()

    assert (run(folder), run(folder, "--strict"), run(folder, "--strict", "--format", "github")) == (0, 65, 65)
    assert capsys.readouterr().out.splitlines()[-1].startswith("::warning file=")


def test_it_loads_nothing_of_aws_docker_or_the_network(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "api")
    code = """
        import sys
        from agent.cli.main import main
        main(sys.argv[1:])
        print("LOADED", *sys.modules)
    """

    out = children.python(code, arguments=["check", str(folder)]).out

    assert out.startswith("0 errors, 0 warnings\n")
    assert {name.partition(".")[0] for name in out.partition("LOADED ")[2].split()} & HEAVY == set()
