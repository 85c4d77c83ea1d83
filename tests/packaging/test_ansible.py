"""The Ansible role: linted, and run against a root file system of its own, where a second run has nothing to do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.shell import file as shell_file
from tests.packaging import tools
from tests.packaging.checkout import CHECKOUT

pytestmark = pytest.mark.slow

ANSIBLE = CHECKOUT / "packaging/ansible"
TOOLS = ("ansible-core==2.19.14", "ansible-lint==26.10.1")
# The oldest that the role is for; it runs inside the root.
PACKAGES = "python3,python3-apt,systemd,ansible-core"
SECRET = "wJalrXUtnFEMI/K7MDENG+it's"
BOOTSTRAP = {"ENVIRONMENT": "prod", "ECR_TAG": "1.4.2", "AWS_SECRET_ACCESS_KEY": SECRET}
# Says, as the agent does, how an update ended, and writes down how it was called.
STAND_IN = """#!/bin/sh
echo "$@" >>/var/log/calls
if [ "$(cat /var/log/last 2>/dev/null)" = "$*" ]; then outcome=unchanged; else outcome=verified; fi
echo "$@" >/var/log/last
echo "{\\"event\\": \\"run.finished\\", \\"outcome\\": \\"$outcome\\"}" >&2
"""


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """The surroundings in which Ansible's programs are found, and write nothing outside of the test."""
    folder = tools.python("ansible", *TOOLS)
    home = {"HOME": str(tmp_path), "ANSIBLE_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "NO_COLOR": "1"}
    return {"PATH": f"{folder}:{os.environ['PATH']}", **home}


def test_the_role_passes_the_linter_for_production(programs: dict[str, str], tmp_path: Path) -> None:
    role = shutil.copytree(ANSIBLE, tmp_path / "ansible")
    lint = ("ansible-lint", "--offline", "--strict", "--profile", "production")

    good = tools.run(*lint, cwd=role, env=programs)
    tasks = role / "roles/delphi_agent/tasks/main.yml"
    tasks.write_text(tasks.read_text().replace('mode: "0600"', "mode: 0600"))
    wrong = tools.run(*lint, cwd=role, env=programs)

    assert good.returncode == 0, good.stdout
    assert wrong.returncode != 0


def test_ansible_reads_the_playbook(programs: dict[str, str]) -> None:
    done = tools.run("ansible-playbook", "--syntax-check", "-i", "localhost,", ANSIBLE / "site.yml", env=programs)

    assert done.returncode == 0, done.stdout


def make_root(folder: Path) -> None:
    tools.fetch("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", folder / "root.tar")
    (folder / "root").mkdir()
    tools.fetch("tar", "--extract", "--numeric-owner", "--file", folder / "root.tar", "--directory", folder / "root")
    (folder / "root.tar").unlink()


class Root:
    """A Debian root file system for this test: what is written to it goes to a layer of the test's own."""

    def __init__(self, lower: Path, folder: Path) -> None:
        self._lower, self._folder = lower, folder
        self.upper = folder / "upper"
        for name in ("upper", "work", "merged"):
            (folder / name).mkdir()

    def __call__(self, *argv: str) -> str:
        script = (
            "mount -t overlay -o lowerdir=$1,upperdir=$2/upper,workdir=$2/work overlay $2/merged; shift\n"
            'mount -t proc proc $1/merged/proc; top=$1; shift; exec chroot $top/merged "$@"'
        )
        inside = ["unshare", "--mount", "sh", "-euc", script, "sh", str(self._lower), str(self._folder), *argv]
        done = tools.run(*inside, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"})
        assert done.returncode == 0, done.stdout
        return done.stdout

    def play(self, **variables: object) -> tuple[int, str]:
        """Run the playbook on it: how much was changed, and all that was said."""
        given = {"delphi_agent_package": "/srv/delphi-agent.deb", "delphi_agent_bootstrap": BOOTSTRAP, **variables}
        (self.upper / "srv/given.json").write_text(json.dumps(given))
        command = (
            "ansible-playbook",
            "--diff",
            "-vv",
            "--connection=local",
            "-i",
            "localhost,",
            "-e",
            "@/srv/given.json",
        )
        said = self(*command, "/srv/ansible/site.yml")
        (changed,) = re.findall(r"changed=(\d+)", said)
        return int(changed), said

    def calls(self) -> list[str]:
        path = self.upper / "var/log/calls"
        return path.read_text().splitlines() if path.exists() else []


def package(folder: Path, target: Path) -> None:
    """A package with the real unit, and a stand-in for the agent."""
    for path, text, mode in (
        (
            "DEBIAN/control",
            "Package: delphi-agent\nVersion: 1.0\nArchitecture: all\nMaintainer: x\nDescription: x\n",
            0o644,
        ),
        ("usr/bin/delphi-agent", STAND_IN, 0o755),
        ("usr/lib/systemd/system/delphi-agent.service", (CHECKOUT / "systemd/delphi-agent.service").read_text(), 0o644),
    ):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", folder, target], check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("needs root, and mmdebstrap")
    made = Root(tools.made("ansible-root", [PACKAGES], make_root) / "root", tmp_path)
    (made.upper / "srv").mkdir()
    shutil.copytree(ANSIBLE, made.upper / "srv/ansible")
    package(tmp_path / "package", made.upper / "srv/delphi-agent.deb")
    return made


def test_a_second_run_changes_nothing_and_another_tag_is_an_update(root: Root) -> None:
    first, said = root.play()
    file = root.upper / "opt/deployment/.env"

    assert first > 0
    assert SECRET[:20] not in said
    assert (file.stat().st_mode & 0o777, file.stat().st_uid) == (0o600, 0)
    assert shell_file.parse(file.read_bytes(), "it").values() == BOOTSTRAP
    assert (root.upper / "etc/systemd/system/multi-user.target.wants/delphi-agent.service").is_symlink()
    assert root.calls() == ["init"]

    assert root.play()[0] == 0
    assert root.play(delphi_agent_bootstrap={**BOOTSTRAP, "ECR_TAG": "2"})[0] == 0
    assert root.play(delphi_agent_ecr_tag="1.4.3")[0] == 1
    assert root.play(delphi_agent_ecr_tag="1.4.3")[0] == 0
    assert root.calls() == ["init", *["update --yes --lock-wait 300 --ecr-tag=1.4.3"] * 2]

    assert root.play(delphi_agent_bootstrap={**BOOTSTRAP, "ECR_TAG": "2"}, delphi_agent_rewrite_bootstrap=True)[0] == 2
    assert "ECR_TAG=2" in file.read_text()
    assert root.calls()[-1] == "init"
