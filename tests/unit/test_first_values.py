"""The stage that has the bootstrap file: who may make one, from what, and what is said when there is none."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from agent.errors import BootstrapError, ImdsError
from agent.host.paths import Paths
from agent.report.record import Recorder, RunHead
from agent.stages.host import load_bootstrap
from tests.lab.loopback import Loopback, Reply, Request
from tests.unit.fakes import HEAD, FakeClock, FakeCommands, FakeEngine, Sayings, refusing_address
from tests.unit.runs import run_on
from tests.unit.test_imds import TREE, Service
from tests.unit.test_user_data import VALUES


class Boot:
    """A host whose firmware says nothing; `environ` is the agent's own."""

    def __init__(self, root: Path, head: RunHead = HEAD, /, **environ: str) -> None:
        self.sink, self.clock, self.commands = Sayings(), FakeClock(), FakeCommands()
        clock = self.clock
        self.recorder = Recorder(head, clock, [self.sink])
        self.paths = Paths(root)
        self.run = run_on(
            root, clock=clock, commands=self.commands, engine=FakeEngine(), recorder=self.recorder, environ=environ
        )

    def refused(self, path: Path | None = None, *, writes: bool) -> str:
        with pytest.raises(BootstrapError) as caught:
            load_bootstrap(self.run, path, writes=writes)
        assert caught.value.exit_status == 78
        assert not self.paths.bootstrap.exists()
        return "\n".join([str(caught.value), *caught.value.details, caught.value.next_step])

    def plant(self, path: str, text: str) -> None:
        self.paths.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.paths.at(path).write_text(text)


ENDPOINT = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
WORLD = {**TREE, "user-data": json.dumps({"delphi": VALUES})}


def test_a_file_is_made_from_user_data_and_then_read_like_any_other(tmp_path: Path) -> None:
    with Loopback(Service(WORLD)) as server:
        boot = Boot(tmp_path, **{ENDPOINT: server.url})
        loaded = load_bootstrap(boot.run, writes=True)
        asked = len(server.requests)
        assert load_bootstrap(boot.run, writes=True).variables == loaded.variables == VALUES
        assert len(server.requests) == asked

    assert stat.S_IMODE(boot.paths.bootstrap.stat().st_mode) == 0o600
    assert stat.S_IMODE(boot.paths.bootstrap.parent.stat().st_mode) == 0o755
    assert boot.recorder.steps[0].detail.endswith("9 variables, written from the user data's section `delphi`")


def test_who_only_asks_is_told_that_init_looks_further_and_sends_nothing(tmp_path: Path) -> None:
    with Loopback(Service(WORLD)) as server:
        said = Boot(tmp_path, **{ENDPOINT: server.url}).refused(writes=False)

    assert server.requests == []
    assert "`delphi-agent init` also looks into the user data and tags" in said


def test_a_file_that_somebody_named_is_never_made(tmp_path: Path) -> None:
    with Loopback(Service(WORLD)) as server:
        Boot(tmp_path, **{ENDPOINT: server.url}).refused(tmp_path / "named", writes=True)

    assert server.requests == []


@pytest.mark.parametrize(
    ("environ", "firmware", "said"),
    [
        ({}, "", "the firmware does not say EC2"),
        ({}, "Hetzner", "the firmware does not say EC2"),
        ({"AWS_EC2_METADATA_DISABLED": "true"}, "Amazon EC2", "AWS_EC2_METADATA_DISABLED is true"),
    ],
)
def test_where_there_is_no_metadata_service_it_is_not_asked(
    tmp_path: Path, environ: dict[str, str], firmware: str, said: str
) -> None:
    boot = Boot(tmp_path, **environ)
    if firmware:
        boot.plant("/sys/class/dmi/id/sys_vendor", firmware)

    assert said in boot.refused(writes=True)


def test_a_service_that_does_not_answer_is_told_beside_the_missing_file(tmp_path: Path) -> None:
    boot = Boot(tmp_path, **{ENDPOINT: refusing_address()})
    said = boot.refused(writes=True)

    assert "there is no such file" in said
    assert "user data could not be looked at (no token within 5 s; the last try: Connection refused)" in said


def test_an_instance_that_gives_nothing_is_told_what_was_looked_for(tmp_path: Path) -> None:
    with Loopback(Service()) as server:
        assert "no section `delphi`" in Boot(tmp_path, **{ENDPOINT: server.url}).refused(writes=True)


class Late(Service):
    """A metadata service that serves nobody in the first 20 seconds of the host's clock."""

    def __init__(self) -> None:
        super().__init__(WORLD)
        self.clock = FakeClock()

    def __call__(self, request: Request) -> Reply:
        return super().__call__(request) if sum(self.clock.sleeps) >= 20 else Reply(503)


@pytest.mark.parametrize(
    "result", [None, '{"v1": {"datasource": "DataSourceNone", "errors": []}}'], ids=["no cloud-init", "no datasource"]
)
def test_on_ec2_user_data_is_waited_for_also_where_cloud_init_gave_up_on_it(tmp_path: Path, result: str | None) -> None:
    service = Late()
    with Loopback(service) as server:
        boot = Boot(tmp_path, **{ENDPOINT: server.url})
        service.clock = boot.clock
        boot.plant("/sys/class/dmi/id/sys_vendor", "Amazon EC2")
        if result is not None:
            boot.plant("/run/cloud-init/result.json", result)

        assert load_bootstrap(boot.run, writes=True).variables == VALUES

    assert sum(boot.clock.sleeps) >= 20
    assert boot.paths.bootstrap.is_file()


def test_on_ec2_a_service_that_never_comes_is_told_with_what_cloud_init_says_and_without_it_a_restart_helps(
    tmp_path: Path,
) -> None:
    boot = Boot(tmp_path, **{ENDPOINT: refusing_address()})
    boot.plant("/sys/class/dmi/id/sys_vendor", "Amazon EC2")
    with pytest.raises(ImdsError) as caught:
        load_bootstrap(boot.run, writes=True)
    assert caught.value.exit_status == 69

    boot.plant("/run/cloud-init/result.json", '{"v1": {"datasource": "DataSourceNone", "errors": []}}')
    assert "cloud-init found no datasource" in boot.refused(writes=True)


def test_what_cloud_init_says_is_the_cause_of_an_absent_file_and_of_a_faulty_one(tmp_path: Path) -> None:
    boot = Boot(tmp_path)
    boot.plant("/run/cloud-init/result.json", '{"v1": {"datasource": "DataSourceNone", "errors": []}}')
    assert "there is no such file; cloud-init found no datasource" in boot.refused(writes=True)

    boot.plant("/opt/deployment/.env", "ENVIRONMENT=prod\n")
    with pytest.raises(BootstrapError) as caught:
        load_bootstrap(boot.run)

    assert "cloud-init found no datasource" in caught.value.details[-1]
    assert "HOSTNAME is not set" in caught.value.details[0]
