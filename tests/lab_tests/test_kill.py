"""A run that is killed at any instant: the next `init` ends in a verified deploy, with nothing lost, mixed or left.

Two bundles take turns on one host, so that every kill hits a deploy on top of a verified one. SIGKILL comes at the
system calls that change files (strace(1) counts them) and at moments spread over the whole run, SIGTERM at moments.
Here a sample that changes from day to day; with DELPHI_LONG=1 all of them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.process import LabError
from tests.lab.world import BUNDLE
from tests.lab_tests import reports
from tests.lab_tests.deploys import SERVICES, inspect, leftovers

LONG = bool(os.environ.get("DELPHI_LONG"))
BOUNDARIES, MOMENTS, TERMINATIONS, REFUSALS = (140, 60, 200, 40) if LONG else (4, 2, 2, 1)
CHANGING = (
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,chmod,fchmod,fchmodat,symlink,fsync"
)
TODAY = dt.datetime.now(dt.UTC).date()

COMMON = {
    "api/docker-compose.yaml": (BUNDLE / "api/docker-compose.yaml").read_text(),
    "api/vars.yaml": (BUNDLE / "api/vars.yaml").read_text(),
    "common/otel-collector-config.yaml": (BUNDLE / "common/otel-collector-config.yaml").read_text(),
}
# Every kind of change between the two: other content, an added and a removed file, a file that becomes a folder.
ONE = {**COMMON, "api/Caddyfile": "one\n", "api/only-in-one": "1\n", "api/turns": "a file\n", "common/deep/a/b": "1\n"}
TWO = {
    **COMMON,
    "api/Caddyfile": "two\n",
    "api/conf/new": "2\n",
    "api/turns/into": "a folder\n",
    "common/deep/c": "2\n",
}
HOST = {"api/tls/key.pem": "of this host\n", "api/conf/local": "of this host\n", "common/local": "of this host\n"}


class Host:
    """The host on which the two bundles take turns."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.refs = {"one": ONE, "two": TWO}
        for ref, files in self.refs.items():
            for name, text in files.items():
                lab.world.put_file(name, text, ref)
        for name, text in HOST.items():
            path = lab.machine.path(f"{SERVICES}/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.now = "one"
        self._point_at("one")
        self.init()

    def _point_at(self, ref: str) -> None:
        self.lab.world.write_bootstrap(self.lab.world.bootstrap_env(CONFIG_REF=ref))

    def turn(self) -> None:
        """From now on the other bundle is the one to deploy."""
        self.now = "two" if self.now == "one" else "one"
        self._point_at(self.now)

    def init(self) -> None:
        """The next `init`: it has to end well, and the host has to be as if nothing had ever happened."""
        done = self.lab.agent("init")
        assert done.returncode == 0, done.stderr
        assert tree(self.lab.machine.path(SERVICES)) == {**self.refs[self.now], **HOST}
        assert leftovers(self.lab) == []
        states = {name: item["State"]["Status"] for name, item in inspect(self.lab).items()}
        assert states == {"api-telapi-1": "running", "api-migrate-1": "exited"}
        assert self.lab.get(3001, "/health") == "ok\n"

    def count_changes(self) -> int:
        """How many system calls of a whole deploy change files."""
        self.turn()
        self.lab.machine.run(
            ["strace", "-qq", "-o", "/tmp/changes", "-e", f"trace={CHANGING}", *self.lab.agent_command(), "init"],
            env=self.lab.agent_env(),
            check=True,
        )
        self.init()
        return len(self.lab.machine.path("/tmp/changes").read_text().splitlines())

    def killed_at(self, number: int) -> None:
        """`init`, killed as it enters its changing system call `number`."""
        inject = f"inject={CHANGING}:signal=KILL:when={number}"
        self.lab.machine.run(
            [
                "strace",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                f"trace={CHANGING}",
                "-e",
                inject,
                *self.lab.agent_command(),
                "init",
            ],
            env=self.lab.agent_env(),
        )

    def refused_at(self, number: int, error: str) -> tuple[int, str]:
        """`init`, whose changing system call `number` fails; its exit code and what it said."""
        inject = f"inject={CHANGING}:error={error}:when={number}"
        done = self.lab.machine.run(
            [
                "strace",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                f"trace={CHANGING}",
                "-e",
                inject,
                *self.lab.agent_command(),
                "init",
            ],
            env=self.lab.agent_env(),
        )
        return done.returncode, done.stderr

    def signalled_after(self, seconds: float, number: signal.Signals) -> tuple[int, str]:
        """`init`, sent a signal after so long; its exit code, and what it said."""
        running = self.lab.machine.start_process([*self.lab.agent_command(), "init"], env=self.lab.agent_env())
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError, LabError):  # it was faster
            running.signal(number)
        try:
            return running.wait(120), running.stderr()
        except subprocess.TimeoutExpired:
            pytest.fail(f"not over 120 s after {number.name}, which came after {seconds} s:\n{running.stderr()}")

    def seconds(self) -> float:
        """How long a whole deploy takes here and now."""
        self.turn()
        began = time.monotonic()
        self.init()
        return time.monotonic() - began


def tree(top: Path) -> Mapping[str, str]:
    """The live files, without the tag that the agent itself writes."""
    return {
        str(path.relative_to(top)): path.read_text()
        for path in top.rglob("*")
        if path.is_file() and path.name != ".ecr-tag"
    }


def sample(most: float, number: int) -> Iterator[float]:
    """`number` points spread over 0..most, one in each equal part, others every day."""
    chance = random.Random(TODAY.toordinal())
    for part in range(number):
        yield most * (part + chance.random()) / number


@pytest.fixture
def host(instance: Lab) -> Host:
    return Host(instance)


@pytest.mark.slow
def test_killed_as_it_is_about_to_change_a_file(host: Host) -> None:
    total = host.count_changes()
    assert total > 40
    for point in sample(total, BOUNDARIES):
        host.turn()
        host.killed_at(1 + int(point))
        host.init()


@pytest.mark.slow
@pytest.mark.parametrize("error", ["ENOSPC", "EROFS"])
def test_a_change_that_the_file_system_refuses_is_told_and_taken_back(host: Host, error: str) -> None:
    for point in sample(host.count_changes(), REFUSALS):
        host.turn()
        code, said = host.refused_at(1 + int(point), error)
        # 0: what was refused was a nicety (the status file), or the attempt to do something in a cheaper way.
        assert code in {0, 74, 75, 76}, (point, said)
        if code == 74:
            assert "run it again" in reports.whole(reports.errors(said)[0]), said
        host.init()


@pytest.mark.slow
def test_killed_at_any_moment(host: Host) -> None:
    for moment in sample(host.seconds(), MOMENTS):
        host.turn()
        host.signalled_after(moment, signal.SIGKILL)
        host.init()


@pytest.mark.slow
def test_terminated_at_any_moment_it_stops_before_the_apply_point_and_finishes_or_restores_after_it(host: Host) -> None:
    for moment in sample(host.seconds(), TERMINATIONS):
        before = tree(host.lab.machine.path(SERVICES))
        host.turn()
        code, said = host.signalled_after(moment, signal.SIGTERM)
        if code not in {0, 75, 143, -15}:
            pytest.fail(f"{code} after {moment} s:\n{said}")
        if code != 0:
            assert tree(host.lab.machine.path(SERVICES)) == before, (moment, code)
            assert leftovers(host.lab) == []
        host.init()
