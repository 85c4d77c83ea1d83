"""The packages are built the same everywhere, and live on a host from installing to purging. Slow, and as root."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.cli.arguments import COMMANDS
from tests.lab.process import SYSTEM_PATH
from tests.packaging.checkout import CHECKOUT, names, table

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
SOURCES = ("agent", "packaging", "systemd", "CHANGELOG.md", "LICENSE", "README.md")
VERSION, NEXT = "0.1.0", "0.1.1"


def build(checkout: Path, out: Path, *words: str, env: Mapping[str, str]) -> None:
    done = subprocess.run(
        ["sh", "packaging/build.sh", "--out", out, *words],
        cwd=checkout,
        env={"PATH": SYSTEM_PATH, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the packages."""
    out = tmp_path_factory.mktemp("packages")
    build(CHECKOUT, out, "--version", VERSION, env={"HOME": "/root"})
    return out


@pytest.fixture(scope="module")
def sections(built: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What package_life.sh has said on a host of its own, by section."""
    build(CHECKOUT, built, "--only", "deb rpm", "--version", NEXT, env={})
    (built / "bundle").mkdir()
    for name in ("docker-compose.yaml", "vars.yaml"):
        shutil.copy(CHECKOUT / "packaging" / "examples" / "media" / name, built / "bundle")
    work = tmp_path_factory.mktemp("root")
    script = HERE / "package_root.sh"
    with (HERE / "package_life.sh").open() as life:
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--net", "--ipc", "--uts", "sh", script, work, built],
            stdin=life,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
    found = dict(re.findall(r"(?ms)^== (\w+)\n(.*?)(?=^== |\Z)", done.stdout))
    assert (done.returncode, "end" in found) == (0, True), done.stdout[-3000:]
    return found


def test_another_folder_another_time_and_another_user_make_the_same_bytes(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for name in SOURCES:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, copy / name)
    git = ["git", "-c", f"safe.directory={CHECKOUT}", "log", "-1", "--format=%ct"]
    epoch = subprocess.run(git, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    umask = os.umask(0o077)
    try:
        other = {"SOURCE_DATE_EPOCH": epoch, "TZ": "Pacific/Auckland", "LANG": "C", "TMPDIR": str(tmp_path)}
        build(copy, tmp_path / "out", "--version", VERSION, env=other)
    finally:
        os.umask(umask)

    made = {path.name: path.read_bytes() for path in sorted((tmp_path / "out").iterdir())}

    assert len(made) == 3
    assert [name for name, data in made.items() if (built / name).read_bytes() != data] == []


def test_the_packages_name_neither_the_building_machine_nor_its_package_index(built: Path, tmp_path: Path) -> None:
    deb = built / f"delphi-agent_{VERSION}_all.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", deb, tmp_path / "deb"], check=True)
    index = subprocess.run(
        ["pip", "config", "list"], env={"PATH": f"{CHECKOUT}/.venv/bin:{SYSTEM_PATH}"}, capture_output=True, check=False
    ).stdout
    told = {str(CHECKOUT).encode(), b"/tmp/tmp.", *re.findall(rb"(?:file|https?)://[^\s'/]*/[^\s']*", index)}

    files = [path for path in (tmp_path / "deb").rglob("*") if path.is_file()]

    assert [path for path in files if any(word in path.read_bytes() for word in told)] == []
    assert not [path for path in files if path.suffix == ".so" or path.name in {"RECORD", "direct_url.json"}]
    assert sum(path.stat().st_size for path in files) < 25_000_000


def test_lintian_and_rpmlint_find_nothing_that_is_not_explained(built: Path) -> None:
    deb = subprocess.run(
        ["lintian", "--allow-root", built / f"delphi-agent_{VERSION}_all.deb"],
        capture_output=True,
        text=True,
        check=False,
    )
    rpm = subprocess.run(
        ["rpmlint", "-c", "packaging/rpm/rpmlint.toml", built / f"delphi-agent-{VERSION}-1.noarch.rpm"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (deb.returncode, [line for line in deb.stdout.splitlines() if not line.startswith("N:")]) == (0, [])
    assert "0 errors, 0 warnings" in rpm.stdout, rpm.stdout


def test_the_list_of_parts_is_the_lock(built: Path) -> None:
    with zipfile.ZipFile(built / "delphi-agent.pyz") as archive:
        vendored = {re.sub(r"\.dist-info/.*", "", name) for name in archive.namelist() if ".dist-info/" in name}
    papers = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", built / f"delphi-agent_{VERSION}_all.deb"], stdout=subprocess.PIPE, check=True
    ).stdout
    doc = "./usr/share/doc/delphi-agent"
    sbom, licences = (
        subprocess.run(
            ["tar", "-xO", f"{doc}/{name}"], input=papers, stdout=subprocess.PIPE, check=True
        ).stdout.decode()
        for name in ("sbom.cdx.json", "copyright")
    )
    locked = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", (CHECKOUT / "packaging/locked.txt").read_text()))

    parts = {item["name"].lower().replace("_", "-"): item["version"] for item in json.loads(sbom)["components"]}

    assert parts == locked
    assert len(vendored) == len(locked)
    assert all(f" {version}: " in licences for version in locked.values())


def test_it_installs_checks_a_bundle_and_enables_nothing(sections: dict[str, str]) -> None:
    assert "Setting up delphi-agent" in sections["install"]
    assert sections["commands"].splitlines()[:2] == ["/usr/bin/fetch-config", f"delphi-agent {VERSION}"]
    assert "usage: delphi-agent fetch" in sections["commands"]
    assert "usage: delphi-agent env" in sections["commands"]
    assert sections["check"].endswith("checked\n")
    assert sections["started"].splitlines()[-2:] == ["disabled", "static"]
    assert ".wants/" not in sections["started"]


def test_its_units_hold_what_systemd_looks_at(sections: dict[str, str]) -> None:
    assert sections["verify"] == ""
    exposures = [float(line.split(":")[1].split()[0]) for line in sections["security"].splitlines()]
    assert len(exposures) == len(list((CHECKOUT / "systemd").glob("*.service")))
    assert max(exposures) <= 4.5
    # One for each way that a boot can end.
    assert len(sections["catalog"].splitlines()) == 11


def test_the_manual_names_every_command_exit_code_file_and_variable(sections: dict[str, str]) -> None:
    page = re.sub(r"\u2010\n\s+", "", sections["man"])
    words = set(re.findall(r"[^\s,|]+", page))
    codes = [row[0] for row in table("Code", "Meaning", "Reported as")]
    files = [names(row[0])[0] for row in table("Path", "Mode")]
    variables = [names(row[0])[0] for row in table("Variable", "")]
    options = [names(row[0])[0].split()[0] for row in table("Option", "Commands")]

    assert page.startswith("warnings: 0\n")
    assert [word for word in (*COMMANDS, *codes, *files, *variables, *options) if word not in words] == []
    assert page.count(".so man8/delphi-agent.8") == 2


def test_shells_complete_commands_options_and_values(sections: dict[str, str]) -> None:
    assert sections["bash"].splitlines() == [
        "complete -F _delphi_agent delphi-agent",
        "delphi-agent roll: rollback",
        "delphi-agent --log-level w: warning",
        "delphi-agent init --skip-f: --skip-fetch",
        "delphi-agent env --format : export file json table",
        "delphi-agent check /us: /usr",
    ]
    assert sections["zsh"].split() == ["rollback", "--skip-fetch", "table"]


def test_what_was_left_out_of_the_libraries_is_not_missed(sections: dict[str, str]) -> None:
    made = set(re.findall(r'\b_(?:client|make)\("(\w+)"', (CHECKOUT / "agent/aws/session.py").read_text()))

    assert made == {line.split()[0] for line in sections["clients"].splitlines()[:-1]}
    assert sections["clients"].splitlines() == [
        "s3 https://s3.eu-west-1.amazonaws.com",
        "ssm https://ssm.eu-west-1.amazonaws.com",
        "secretsmanager https://secretsmanager.eu-west-1.amazonaws.com",
        "ecr https://api.ecr.us-east-1.amazonaws.com",
        "sts https://sts.eu-west-1.amazonaws.com",
        "autoscaling https://autoscaling.eu-west-1.amazonaws.com",
        "cloudformation https://cloudformation.eu-west-1.amazonaws.com",
        "/usr/lib/delphi-agent/docker/__init__.py",
    ]


def test_upgraded_removed_and_purged_it_leaves_what_is_the_operators(sections: dict[str, str]) -> None:
    assert f"delphi-agent {NEXT}\n" in sections["upgrade"]
    assert ".wants/" not in sections["upgrade"]
    assert sections["remove"].splitlines()[-3:] == ["#!/bin/sh", "echo the former script", "state.json"]
    assert "vars.yaml" in sections["purge"]
    assert "/opt/deployment/.env" in sections["purge"]
    assert sections["purge"].endswith("nothing is left\n"), sections["purge"]


@pytest.mark.parametrize("section", ["upgrade", "rpm"])
def test_an_upgrade_waits_for_a_run_at_work_before_it_replaces_a_file(sections: dict[str, str], section: str) -> None:
    said = sections[section].splitlines()

    assert said.count("delphi-agent: waiting for the run that is at work") == 1
    assert f"at work: delphi-agent {VERSION}" in said
    assert f"delphi-agent {NEXT}" in said


def test_the_rpm_installs_runs_and_goes(sections: dict[str, str]) -> None:
    assert f"\ndelphi-agent {VERSION}\n" in sections["rpm"]
    assert "\npython3.11\n" in sections["rpm"]
    assert ".wants/" not in sections["rpm"]
    assert sections["rpm"].endswith("echo the former script\nnothing is left\n"), sections["rpm"]


def test_the_one_file_unpacks_itself_once_and_into_nobody_elses_folder(sections: dict[str, str]) -> None:
    assert sections["pyz"].splitlines() == [
        *[f"delphi-agent {VERSION}"] * 3,
        "700 root",
        "700 root",
        "1",
        f"delphi-agent {VERSION}",
    ]
