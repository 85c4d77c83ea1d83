"""`doctor`: checks that wait for each other, what they find on a host, and how it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.doctor import engine, host, identity, network, project, report
from agent.doctor.board import Board, Check
from agent.doctor.examine import budget, checks
from agent.doctor.facts import Facts
from agent.doctor.line import Line, fail, ok, skip, warn
from agent.errors import AccessDenied, AwsError, BootstrapError, BundleMissing, EngineError, HostError
from agent.host.clock import Deadline, SystemClock
from agent.host.engine import Engine
from agent.host.host import Host
from agent.host.paths import Paths
from agent.secret import Redactor, Secret
from agent.steps import bootstrap
from agent.variables import manifest
from agent.variables.resolution import Resolution
from tests.lab.loopback import Loopback, Reply
from tests.unit.fakes import HEALTHY, FakeClock, FakeCommands, refusing_address, silent_server
from tests.unit.test_bootstrap import GOOD, written
from tests.unit.test_chain import KEYS, ROLE, Sts

MANIFEST = b"""
service: api
variables:
- {name: LOG_LEVEL, containers: [api]}
- {name: PASSWORD, containers: [api]}
- {name: NOTHING, containers: [api]}
"""


def facts_of(root: Path, commands: FakeCommands | None = None, **changes: str | None) -> Facts:
    """Those of a host below `root`, with a good bootstrap file but for `changes`."""
    folder = root / "opt/deployment"
    folder.mkdir(parents=True, exist_ok=True)
    path = written(folder, changes)
    clock = FakeClock()
    made = Facts(
        host=Host(paths=Paths(root), clock=clock, commands=commands or FakeCommands(), environ={}, uid=0),
        engine=Engine(f"unix://{root}/docker.sock", clock.deadline(5)),
        redactor=Redactor(),
        bootstrap_file=path,
    )
    if not {name for name, value in changes.items() if value is None}:
        made.bootstrap = bootstrap.load(path, str(path))
    return made


def examined(*wanted: Check, seconds: float = 2.0, root: bool = True) -> list[Line]:
    return Board(wanted, Deadline.after(SystemClock(), seconds), root=root).examine()


def gives(*lines: Line) -> Callable[[Deadline], Iterable[Line]]:
    return lambda _: lines


def raises(error: Exception) -> Callable[[Deadline], Iterable[Line]]:
    def work(_: Deadline) -> Iterable[Line]:
        raise error

    return work


DENIED = AccessDenied("reading it", "you may not", "ask for it")


def test_what_needs_a_failed_check_is_skipped_and_names_the_one_at_the_bottom() -> None:
    lines = examined(
        Check(name="last", work=gives(ok("never")), needs=("middle",)),
        Check(name="middle", work=gives(ok("never")), needs=("first",)),
        Check(name="first", work=raises(DENIED)),
        Check(name="beside", work=gives(ok("fine")), after=("first",)),
    )

    assert [(line.check, line.state) for line in lines] == [
        ("last", "skip"),
        ("middle", "skip"),
        ("first", "fail"),
        ("beside", "ok"),
    ]
    assert [line.why for line in lines[:2]] == ["needs first", "needs first"]
    assert (lines[2].why, lines[2].fix, lines[2].exit_code) == ("reading it: you may not", "ask for it", 77)


def test_a_warning_holds_nobody_up() -> None:
    lines = examined(
        Check(name="a", work=gives(warn("strange", "look"))), Check(name="b", work=gives(ok("")), needs=("a",))
    )

    assert [line.state for line in lines] == ["warn", "ok"]


def test_a_check_that_hangs_is_told_and_the_others_go_on() -> None:
    forever = threading.Event()

    def hang(_: Deadline) -> Iterable[Line]:
        forever.wait(20)
        return ()

    hung = Check(name="slow", work=hang, seconds=0.1, slow="wake it")
    lines = examined(hung, Check(name="quick", work=gives(ok(""))), seconds=5)

    forever.set()
    assert [line.state for line in lines] == ["fail", "ok"]
    assert lines[0].exit_code == 69
    assert "not done within" in lines[0].why
    assert lines[0].fix == "wake it"


def test_at_the_deadline_it_ends_whatever_is_still_at_work() -> None:
    forever = threading.Event()

    def hang(_: Deadline) -> Iterable[Line]:
        forever.wait(20)
        return ()

    slow = [Check(name=f"slow {n}", work=hang, seconds=60, after=(f"slow {n - 1}",) if n else ()) for n in range(3)]

    lines = examined(*slow, seconds=0.2)

    forever.set()
    assert [line.check for line in lines] == ["slow 0", "slow 1", "slow 2"]
    # What hung is a fault; what waited for it is not.
    assert [line.state for line in lines] == ["fail", "skip", "skip"]
    assert lines[-1].why.startswith("not looked at in time")


def test_a_bug_is_not_taken_for_a_finding() -> None:
    with pytest.raises(ZeroDivisionError):
        examined(Check(name="a", work=raises(ZeroDivisionError())))


@pytest.mark.parametrize(("root", "state_"), [(True, "fail"), (False, "skip")])
def test_what_only_root_may_see_is_no_fault_of_the_host(*, root: bool, state_: str) -> None:
    [line] = examined(Check(name="a", work=raises(EngineError("asking", "Permission denied", "x"))), root=root)

    assert line.state == state_
    assert root or line.why == "needs root"


def test_every_check_builds_on_checks_that_there_are_and_on_no_circle(tmp_path: Path) -> None:
    made = {check.name: {*check.needs, *check.after} for check in checks(facts_of(tmp_path))}
    settled: set[str] = set()
    while ready := {name for name, wanted in made.items() if wanted <= settled} - settled:
        settled |= ready

    assert settled == set(made)


def test_the_time_that_loading_took_comes_off_the_examination_s() -> None:
    assert (budget(0.5), budget(2.25), budget(60.0)) == (7.25, 5.5, 5.0)


def test_the_exit_code_is_that_of_the_gravest_fault_and_warnings_have_none() -> None:
    faults = [fail(HostError("a", "b", "c")), fail(AwsError("a", "b", "c")), fail(BundleMissing("a", "b", "c"))]

    assert report.exit_code([*faults, warn("a", "b")]) == 65
    assert report.exit_code([warn("a", "b"), skip("c"), ok("d")]) == 0


def test_the_text_has_a_line_per_finding_with_its_fix_and_no_secret() -> None:
    redactor = Redactor()
    redactor.learn([Secret("hunter2!")])
    lines = [replace(line, check="x") for line in (ok("fine"), warn("odd hunter2!", "mend\x1b[2J"), fail(DENIED))]

    text = report.text(lines, redactor.clean)

    assert text.splitlines() == [
        "ok    x  fine",
        "warn  x  odd [redacted]",
        "         fix: mend\\x1b[2J",
        "FAIL  x  reading it: you may not",
        "         fix: ask for it",
        "1 fault, 1 warning, 1 ok, 0 not looked at",
    ]
    document = json.loads(report.document(lines, redactor.clean))
    assert (document["schema"], document["exit_code"]) == (1, 77)
    assert [item["state"] for item in document["findings"]] == ["ok", "warn", "fail"]
    assert "hunter2" not in str(document)


def test_of_several_faults_the_sum_names_the_one_to_begin_with() -> None:
    lines = [replace(line, check=line.why[:1]) for line in (ok("a"), fail(DENIED), fail(HostError("x", "y", "z")))]

    last = report.text(lines, str).splitlines()[-1]

    assert last == "2 faults (begin with: r), 0 warnings, 1 ok, 0 not looked at"


def test_a_name_that_is_absent_was_not_written_by_cloud_init(tmp_path: Path) -> None:
    lines = list(host.bootstrap_file(facts_of(tmp_path, NAMESPACE=None, ECR_TAG="a b")))

    assert [line.state for line in lines] == ["fail"] * len(lines)
    [namespace] = [line for line in lines if "NAMESPACE" in line.why]
    assert "cloud-init did not write it" in namespace.fix
    assert {line.exit_code for line in lines} == {78}


def test_what_python_dotenv_reads_otherwise_and_a_loose_mode_are_warnings(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, EXTRA="a\\ b")
    facts.bootstrap_file.chmod(0o666)

    lines = list(host.bootstrap_file(facts))

    assert [line.state for line in lines] == ["ok", "warn", "warn"]
    assert "0666" in lines[1].why
    assert "EXTRA" in lines[2].why


@pytest.mark.parametrize(
    ("seconds", "state_", "words"),
    [
        (2.0, "ok", "2 s"),
        (-45.0, "warn", "45 s behind"),
        (1200.0, "fail", "20 min ahead"),
        (-301.0, "fail", "5 min 1 s"),
    ],
)
def test_the_clock_is_held_against_what_has_answered(tmp_path: Path, seconds: float, state_: str, words: str) -> None:
    facts = facts_of(tmp_path)
    facts.skews.append(seconds)

    [line] = host.clock(facts)

    assert (line.state, line.exit_code) == (state_, 74 if state_ == "fail" else 0)
    assert words in line.why


def test_a_date_that_no_clock_wrote_tells_nothing(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    for date in ("", "yesterday", "Fri, 02 Jan 2026 03:04:00 GMT"):
        facts.compare_clock(date)

    assert facts.skews == [5.0]


def test_the_compose_plugin_must_be_there_and_new_enough(tmp_path: Path) -> None:
    deadline = FakeClock().deadline()
    for status, out, why in ((0, b"v2.26.1\n", ""), (0, b"1.29.2\n", "version '1.29.2'"), (1, b"", "cannot be run")):
        commands = FakeCommands()
        commands.expect("compose", "version", "--short", status=status, out=out, err=b"unknown command\n")
        looked = engine.compose_plugin(facts_of(tmp_path, commands), deadline)
        if not why:
            assert [line.why for line in looked] == ["Compose v2.26.1"]
            continue
        with pytest.raises(HostError, match=why) as caught:
            list(looked)
        assert "docker-compose-plugin" in caught.value.next_step


@pytest.mark.parametrize(
    ("text", "state_"),
    [(None, "warn"), ("", "warn"), ('{"log-driver": "journald"}', "ok"), ('{"log-opts": {"max-size": "5m"}}', "ok")],
)
def test_logs_without_a_limit_are_a_warning(tmp_path: Path, text: str | None, state_: str) -> None:
    facts = facts_of(tmp_path)
    facts.host.paths.daemon_json.parent.mkdir(parents=True)
    if text is not None:
        facts.host.paths.daemon_json.write_text(text)

    assert [line.state for line in engine.settings(facts)] == [state_]


def test_an_engine_without_the_proxy_of_the_bootstrap_file_cannot_pull(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, HTTPS_PROXY="http://10.0.1.5:3128")
    for proxy, state_ in (("", "warn"), ("http://10.0.1.5:3128", "ok")):
        facts.engine_info = {"HttpsProxy": proxy}
        assert [line.state for line in engine.engine_proxy(facts)] == [state_]

    assert [line.state for line in engine.engine_proxy(facts_of(tmp_path / "other"))] == ["ok"]


def test_a_proxy_that_takes_no_connection_is_told_without_its_password(tmp_path: Path) -> None:
    address = refusing_address().removeprefix("http://")
    facts = facts_of(tmp_path, HTTPS_PROXY=f"http://squid:geheim123@{address}")
    facts.hosts = network.hosts(facts)

    [line] = network.proxy(facts, FakeClock().deadline())

    assert (line.state, line.exit_code) == ("fail", 69)
    assert address in line.why
    assert "geheim123" not in line.why + line.fix


def test_a_proxy_that_takes_connections_is_well(tmp_path: Path) -> None:
    with silent_server() as url:
        facts = facts_of(tmp_path, HTTP_PROXY=url, HTTPS_PROXY=url)
        facts.hosts = network.hosts(facts)
        [line] = network.proxy(facts, FakeClock().deadline())

    assert line.state == "ok"


def test_names_that_the_proxy_resolves_are_not_looked_up_here(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, HTTPS_PROXY="http://10.0.1.5:3128")
    facts.hosts = network.hosts(facts)

    assert [line.why for line in network.names(facts, FakeClock().deadline())] == ["left to the proxy"]


def test_the_hosts_are_those_that_the_sdk_would_ask(tmp_path: Path) -> None:
    registry = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn"
    facts = facts_of(tmp_path, AWS_REGION="cn-north-1", ECR_REGISTRY=registry, AWS_ENDPOINT_URL_SSM="http://x.test:1")

    assert network.hosts(facts) == {
        "s3": "s3.cn-north-1.amazonaws.com.cn",
        "ssm": "x.test",
        "secretsmanager": "secretsmanager.cn-north-1.amazonaws.com.cn",
        "ecr": "api.ecr.cn-north-1.amazonaws.com.cn",
        "registry": registry,
    }


def test_a_host_that_is_no_instance_and_has_no_keys_is_told_to_have_some(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    facts.host.paths.dmi.mkdir(parents=True)
    (facts.host.paths.dmi / "sys_vendor").write_text("QEMU\n")

    [line] = identity.metadata(facts, FakeClock().deadline())

    assert line.state == "warn"
    with pytest.raises(BootstrapError, match="no EC2 instance") as caught:
        list(identity.who(facts, FakeClock().deadline()))
    assert "AWS_ACCESS_KEY_ID" in caught.value.next_step


def test_static_keys_off_ec2_leave_the_metadata_service_alone(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, AWS_ACCESS_KEY_ID="AKIA", AWS_SECRET_ACCESS_KEY="geheim123", X="1")
    facts.host.paths.dmi.mkdir(parents=True)
    (facts.host.paths.dmi / "sys_vendor").write_text("Hetzner\n")

    lines = [*identity.metadata(facts, FakeClock().deadline()), *identity.who(facts, FakeClock().deadline())]

    assert [line.state for line in lines] == ["ok", "ok"]
    assert "static keys" in lines[1].why
    assert [line.state for line in identity.hop_limit(facts)] == ["ok"]


def test_a_web_identity_is_used_as_a_run_uses_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("the-web-identity")
    given = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_ARN": ROLE}
    with Loopback(Sts()) as server:
        facts = facts_of(tmp_path, AWS_ENDPOINT_URL_STS=server.url)
        facts.host = replace(facts.host, environ=given)
        lines = [*identity.metadata(facts, FakeClock().deadline()), *identity.who(facts, FakeClock().deadline())]

    assert [line.state for line in lines] == ["ok", "ok"]
    assert lines[0].why == f"not needed: web identity, role {ROLE}"
    assert lines[1].why == f"web identity, role {ROLE} (account 123456789012)"


def test_a_container_s_credentials_are_used_as_a_run_uses_them(tmp_path: Path) -> None:
    with Loopback(lambda _: Reply(body=json.dumps(KEYS).encode())) as server:
        facts = facts_of(tmp_path, AWS_CONTAINER_CREDENTIALS_FULL_URI=server.url)
        lines = [*identity.metadata(facts, FakeClock().deadline()), *identity.who(facts, FakeClock().deadline())]

    assert lines[0].why.startswith("not needed: container credentials")
    assert facts.identity.text.startswith("container credentials")


def blank_facts(tmp_path: Path, environment: dict[str, str]) -> Facts:
    facts = facts_of(tmp_path)
    facts.manifest = manifest.parse(MANIFEST, "vars.yaml", known=GOOD)
    given = {"LOG_LEVEL": Secret("info"), "PASSWORD": Secret("hunter2!"), "NOTHING": Secret("")}
    facts.resolution = Resolution(variables={}, environment=given, warnings=())
    seen = {name: Secret(value) for name, value in environment.items()}
    facts.containers = (replace(HEALTHY, environment=seen),)
    return facts


def test_a_container_with_blank_or_absent_values_was_started_by_hand(tmp_path: Path) -> None:
    [line] = project.blank(blank_facts(tmp_path, {"PASSWORD": "", "NOTHING": ""}))

    assert line.state == "warn"
    assert "blank values: LOG_LEVEL, PASSWORD;" in line.why
    assert "delphi-agent compose" in line.fix


def test_a_container_that_has_its_values_is_well_also_when_one_is_meant_to_be_empty(tmp_path: Path) -> None:
    [line] = project.blank(blank_facts(tmp_path, {"LOG_LEVEL": "debug", "PASSWORD": "x", "NOTHING": ""}))

    assert line.state == "ok"


def test_old_scripts_and_a_left_over_env_file_are_told(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    facts.role_folder.mkdir(parents=True)
    assert [line.state for line in project.leftovers(facts)] == ["ok"]
    for name in ("init.sh", ".env"):
        (facts.role_folder / name).touch()

    lines = list(project.leftovers(facts))

    assert [line.state for line in lines] == ["warn", "warn"]
    assert "init.sh" in lines[0].why
    assert "bypasses the agent's lock" in lines[0].why


def test_without_a_bootstrap_file_everything_else_waits_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The SDK leaves a socket open behind a socket's file that is not there.
    monkeypatch.setenv("DOCKER_HOST", refusing_address().replace("http", "tcp"))

    code = main(["doctor", "--root", str(tmp_path), "--json"])

    document = json.loads(capsys.readouterr().out)
    assert code == document["exit_code"] == BootstrapError.exit_code
    assert document["findings"][0]["check"] == "bootstrap file"
    blamed = {item["why"] for item in document["findings"] if item["state"] == "skip"}
    assert "needs bootstrap file" in blamed
    assert list(tmp_path.iterdir()) == []
