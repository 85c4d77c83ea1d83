"""The boot's unit: when it is started to join a boot, and when nobody may count on it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import BootstrapError
from agent.host.command import Command
from agent.report import status
from agent.report.status_file import StatusFile
from agent.run import Options
from agent.stages.host import load_bootstrap, locked
from agent.stages.unit import is_looked_after, start_unit
from tests.lab.loopback import Loopback
from tests.unit.fakes import HEAD
from tests.unit.test_first_values import ENDPOINT, WORLD, Boot
from tests.unit.test_imds import Service

OF_CLOUD_INIT = replace(HEAD, pid=os.getpid(), boot=True)
START = ("systemctl", "start", "--no-block", "delphi-agent.service")
FILE = "/opt/deployment/.env"


def enabled(boot: Boot) -> Boot:
    """The same on a host with systemd, where the unit is enabled."""
    boot.paths.at("/run/systemd/system").mkdir(parents=True)
    boot.paths.unit_enabled.parent.mkdir(parents=True)
    boot.paths.unit_enabled.symlink_to("/lib/systemd/system/delphi-agent.service")
    return boot


def test_a_boot_that_makes_its_bootstrap_file_starts_the_unit_which_finds_it_at_work(tmp_path: Path) -> None:
    seen: list[tuple[str, bool]] = []

    def joins(_: Command) -> None:
        document = status.read(boot.paths.status)
        assert document is not None
        assert document["run"]["boot"]
        seen.append((document["outcome"], boot.paths.bootstrap.exists()))

    with Loopback(Service(WORLD)) as server:
        boot = enabled(Boot(tmp_path, OF_CLOUD_INIT, **{ENDPOINT: server.url}))
        boot.commands.expect(*START, does=joins)
        run = replace(boot.run, keepers=(StatusFile(boot.paths.status, boot.clock, boot.run.redactor),))
        start_unit(run)
        assert boot.commands.ran == [], "systemd would skip it"
        assert not is_looked_after(run.host), "so nobody may count on it"
        with locked(run):
            load_bootstrap(run, writes=True)
            load_bootstrap(run, writes=True)

    assert seen == [("running", True)]
    boot.commands.assert_all_ran()
    assert is_looked_after(run.host)
    assert boot.recorder.warnings == []


def test_a_bootstrap_file_that_is_there_already_is_no_reason_to_start_it_again(tmp_path: Path) -> None:
    boot = enabled(Boot(tmp_path, OF_CLOUD_INIT))
    boot.plant(FILE, "ENVIRONMENT=prod\n")
    boot.commands.expect(*START)
    start_unit(boot.run)
    with pytest.raises(BootstrapError):
        load_bootstrap(boot.run, writes=True)

    assert len(boot.commands.ran) == 1


def test_a_unit_that_cannot_be_started_is_a_warning(tmp_path: Path) -> None:
    boot = enabled(Boot(tmp_path, OF_CLOUD_INIT))
    boot.plant(FILE, "ENVIRONMENT=prod\n")
    boot.commands.expect(*START, status=1, err=b"Unit delphi-agent.service is masked.\n")
    start_unit(boot.run)

    (warning,) = boot.recorder.warnings
    assert warning == "delphi-agent.service could not be started: Unit delphi-agent.service is masked."


@pytest.mark.parametrize("who", ["the unit itself", "a person", "one with options", "where it is not enabled"])
def test_only_a_plain_boot_of_cloud_inits_starts_it_and_only_where_it_is_enabled(who: str, tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": "/run/systemd/notify"} if who == "the unit itself" else {}
    boot = Boot(tmp_path, HEAD if who == "a person" else OF_CLOUD_INIT, **environ)
    boot.plant(FILE, "ENVIRONMENT=prod\n")
    if who != "where it is not enabled":
        enabled(boot)
    run = replace(boot.run, options=Options(no_rollback=True)) if who == "one with options" else boot.run

    start_unit(run)

    assert boot.commands.ran == []
