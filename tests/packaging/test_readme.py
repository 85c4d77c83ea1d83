"""The README says what the code says."""

from __future__ import annotations

import re
import signal
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import errors
from agent.aws.parameters import Parameter
from agent.aws.secrets import Answer
from agent.cli.main import main
from agent.cli.plan import WOULD_CHANGE
from agent.errors import AgentError, Interrupted, SeveralErrors
from agent.secret import Secret
from agent.steps import bootstrap
from agent.variables import manifest, resolve
from agent.variables.lookup import Lookups
from agent.variables.manifest_variable import FIELDS
from tests.packaging.checkout import CHECKOUT, README, blocks, commands, names, pyproject, table
from tests.packaging.picture import PICTURE
from tests.packaging.steps import step_names

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!cluster-0a1b2c3d"


def test_its_first_two_commands_are_the_demo_and_the_check() -> None:
    assert commands("checkout")[:2] == ["sh packaging/demo.sh", "sh packaging/check.sh"]


def test_every_block_says_what_it_is() -> None:
    kinds = {(block.kind, block.where) for block in blocks()}

    assert kinds == {("sh", "checkout"), ("sh", "instance"), ("text", ""), ("dotenv", ""), ("yaml", "")}


def test_its_steps_are_those_of_the_code() -> None:
    told = [name for row in table("Step", "What it does") for name in names(row[0])]

    assert sorted(told) == sorted(step_names())


def _subclasses(of: type[AgentError]) -> Iterator[type[AgentError]]:
    for one in of.__subclasses__():
        yield one
        yield from _subclasses(one)


def test_its_exit_codes_are_those_of_the_errors() -> None:
    told = {int(row[0]): set(names(row[2])) for row in table("Code", "Meaning", "Reported as")}
    real: dict[int, set[str]] = defaultdict(set)
    for one in _subclasses(AgentError):
        if one.__module__ == errors.__name__ and one is not SeveralErrors:
            real[one.exit_code].add(one.code)

    assert told == {0: set(), WOULD_CHANGE: set(), **real}


def test_its_exit_codes_of_signals_and_their_precedence_are_right() -> None:
    statuses = [Interrupted(number).exit_status for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)]

    assert "{}, {} and {} mean that SIGHUP, SIGINT or SIGTERM ended the run".format(*statuses) in README
    assert f"the first of {', '.join(map(str, errors.PRECEDENCE))}." in README


def _help(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    return capsys.readouterr().out


def test_its_commands_and_their_options_are_those_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    told = {names(row[0])[0] for row in table("Command", "What it does")}
    offered = set(re.findall(r"^    ([a-z-]+) ", _help(capsys), re.MULTILINE))
    rows = [(names(row[0])[0].split()[0], row[1]) for row in table("Option", "Commands")]

    assert told == offered
    for command in sorted(offered):
        options = set(re.findall(r"--[a-z-]+", _help(capsys, command).partition("usage:")[2])) - {"--help"}
        assert (command, {name for name, of in rows if of == "all" or command in names(of)}) == (command, options)


def test_it_names_every_script_that_is_installed() -> None:
    assert [name for name in pyproject()["project"]["scripts"] if f"`{name}" not in README] == []


def test_its_bootstrap_variables_are_those_of_the_code() -> None:
    rows = table("Variable", "")

    assert {names(row[0])[0] for row in rows if row[1] == "required"} == set(bootstrap.REQUIRED)
    assert {names(row[0])[0] for row in rows} == bootstrap.DOCUMENTED


def test_its_manifest_fields_are_those_of_the_code() -> None:
    assert {names(row[0])[0] for row in table("Field", "Meaning")} == set(FIELDS)


def _sample(kind: str) -> str:
    """Its blocks of this kind, which are parts of one file."""
    return "\n".join(block.text for block in blocks() if block.kind == kind)


def test_its_samples_work_together(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(_sample("dotenv"))
    path.chmod(0o600)

    loaded = bootstrap.load(path, str(path))
    parsed = manifest.parse(_sample("yaml").encode(), "vars.yaml", known=set(loaded.variables))
    found = Lookups(
        asked=True,
        path="/delphi/prod/api/",
        prefix="delphi/prod/api/",
        parameters=(Parameter(name="/delphi/prod/api/DATABASE_HOST", value=Secret("10.0.1.30"), secure=False),),
        externals={ARN: Answer(asked=ARN, text=Secret('{"username": "u", "password": "p@ss"}'))},
    )
    resolution = resolve.resolve(parsed, loaded, found)

    assert not loaded.warnings
    assert not parsed.warnings
    assert {name: item.value.reveal() for name, item in resolution.variables.items()} == {
        "ENVIRONMENT": "prod",
        "LOG_LEVEL": "info",
        "REDIS_PORT": "6379",
        "AUTH_WITH_MICROSOFT": "false",
        "DB_MASTER_SECRET_ARN": ARN,
        "DATABASE_HOST": "10.0.1.30",
        "DATABASE_PASSWORD": "p@ss",
        "DATABASE_URL": "postgresql://delphi:p%40ss@10.0.1.30/app",
    }


def test_its_dependencies_are_those_of_the_package() -> None:
    declared = {re.split(r"[<>=\[ ]", text)[0] for text in pyproject()["project"]["dependencies"]}

    assert {names(row[0])[0] for row in table("Package", "Why")} == declared


def test_files_that_it_names_are_there() -> None:
    named = {word for text in names(README) for word in text.split() if re.match(r"(agent|packaging|tests)/", word)}

    assert named
    assert [word for word in sorted(named) if not (CHECKOUT / word).exists()] == []


# Steps that a first boot of the example does not take: it goes back to nothing, and its bundle declares no checks.
NOT_ON_A_FIRST_BOOT = {
    "ahead",
    "checks",
    "containers",
    "engine-proxy",
    "files",
    "images",
    "join",
    "mounts",
    "persist",
    "post-up",
    "pre-up",
    "proof",
    "services",
    "signal",
    "traces",
    "undo",
}


def test_its_picture_shows_a_whole_run_of_today() -> None:
    shown = "".join(text for text in ET.parse(PICTURE).getroot().itertext())
    steps = set(re.findall(r"✓\s*([a-z-]+)", shown))

    assert f"]({PICTURE.relative_to(CHECKOUT)})" in README
    assert steps == step_names() - NOT_ON_A_FIRST_BOOT
    assert "seen healthy" in shown


def test_it_names_no_place_of_one_machine_and_no_package_index() -> None:
    ours = [
        *(CHECKOUT / "packaging").iterdir(),
        CHECKOUT / "README.md",
        CHECKOUT / ".ci/run",
        CHECKOUT / "CHANGELOG.md",
    ]
    texts = {path.name: path.read_text() for path in ours if path.is_file()}
    found = {
        f"{name}: {word}"
        for name, text in texts.items()
        for word in re.findall(r"(?:/work|/home|/tmp|pypi|pythonhosted|deb\.debian)[\w./-]*|index-url\S*", text)
    }

    # lock.sh reads the machine's own index from pip's configuration; uv is told to write none into the lock.
    assert found == {"lock.sh: index-url", "lock.sh: index-url)"} & found
