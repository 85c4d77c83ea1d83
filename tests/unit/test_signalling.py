"""What is told to whom: a table of every end of a boot, and how it is told to AWS."""

from __future__ import annotations

import datetime as dt
import json
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.aws import cloudformation
from agent.aws.autoscaling import AutoScaling, Hook
from agent.aws.session import AwsSession
from agent.errors import AccessDenied, AwsError
from agent.host.host import Host
from agent.host.paths import Paths
from agent.signalling.listeners import Launch, Listeners
from agent.signalling.watch import of_systemd
from agent.steps import bootstrap, signal_note, signals
from agent.steps.bootstrap_shape import faults_of_shape
from agent.steps.signal_note import Note
from agent.steps.signals import Settings, Verdict
from tests.lab.loopback import Loopback, Reply, Request
from tests.packaging.checkout import CHECKOUT
from tests.unit.fakes import EPOCH, FakeClock, FakeCommands
from tests.unit.test_aws import session

INSTANCE = "i-0123456789abcdef0"
RETRIED = (69, 70, 73, 137)

# exit code, a boot's?, under the unit?, hold?: what is told
RUNS: list[tuple[int, bool, bool, bool, Verdict]] = [
    (0, True, True, False, "success"),
    (0, True, False, True, "success"),
    (0, False, False, False, "success"),
    (69, True, True, False, "wait"),
    (69, True, True, True, "wait"),
    (69, True, False, False, "failure"),
    (69, True, False, True, "hold"),
    (70, True, True, False, "wait"),
    (70, True, False, False, "failure"),
    *[(code, True, unit, False, "failure") for code in (65, 66, 74, 75, 76, 77, 78) for unit in (True, False)],
    *[(code, True, unit, True, "hold") for code in (65, 66, 74, 75, 76, 77, 78) for unit in (True, False)],
    *[(code, True, unit, False, "nothing") for code in (73, 129, 130, 143) for unit in (True, False)],
    *[(code, False, False, hold, "nothing") for code in (65, 69, 70, 76, 143) for hold in (True, False)],
]


@pytest.mark.parametrize(("code", "boot", "unit", "hold", "verdict"), RUNS)
def test_what_the_end_of_a_run_tells(code: int, boot: bool, unit: bool, hold: bool, verdict: Verdict) -> None:  # noqa: FBT001 - a table's columns
    assert signals.of_run(code, boot=boot, unit=unit, hold=hold) == verdict


@pytest.mark.parametrize(
    ("result", "status", "verified", "verdict"),
    [
        ("exit-code", "77", False, "failure"),
        ("exit-code", "69", False, "failure"),
        ("exit-code", "70", False, "failure"),
        ("signal", "9", False, "failure"),
        ("oom-kill", "9", False, "failure"),
        ("timeout", "143", False, "failure"),
        ("core-dump", "11", False, "failure"),
        ("start-limit-hit", "", False, "failure"),
        ("", "", False, "failure"),
        ("exit-code", "73", False, "nothing"),
        ("exit-code", "143", False, "nothing"),
        ("exit-code", "130", False, "nothing"),
        ("exit-code", "77", True, "nothing"),
        ("oom-kill", "9", True, "nothing"),
    ],
)
def test_what_a_unit_that_was_given_up_tells(result: str, status: str, verified: bool, verdict: Verdict) -> None:  # noqa: FBT001 - a table's columns
    held = {"failure": "hold"}.get(verdict, verdict)

    assert signals.of_unit(result, status, verified=verified, hold=False) == verdict
    assert signals.of_unit(result, status, verified=verified, hold=True) == held


def test_what_is_not_tried_again_is_what_the_unit_says() -> None:
    text = (CHECKOUT / "systemd/delphi-agent.service").read_text()
    (codes,) = re.findall(r"^RestartPreventExitStatus=(.*)$", text, re.MULTILINE)

    assert {int(code) for code in codes.split()} == signals.FINAL
    assert "OnFailure=delphi-agent-signal.service" in text.partition("[Service]")[0]
    command = re.findall(
        r"^ExecStart=/usr/bin/delphi-agent (.*)$",
        (CHECKOUT / "systemd/delphi-agent-signal.service").read_text(),
        re.MULTILINE,
    )
    assert command == ["signal --from-unit"]


def test_systemd_says_how_the_unit_ended_to_who_is_started_by_its_failure() -> None:
    assert of_systemd({"MONITOR_SERVICE_RESULT": "oom-kill", "MONITOR_EXIT_STATUS": "KILL"}) == ("oom-kill", "KILL")
    assert of_systemd({"SERVICE_RESULT": "exit-code", "EXIT_STATUS": "77"}) == ("exit-code", "77")
    assert of_systemd({}) == ("", "")


@pytest.mark.parametrize(
    ("target", "may"),
    [
        (None, False),
        ("InService", True),
        ("Warmed:Stopped", True),
        ("Warmed:Running", True),
        ("Warmed:Terminated", False),
        ("Terminated", False),
        ("Detached", False),
        ("Standby", False),
    ],
)
def test_only_an_instance_that_may_be_in_a_launch_asks_aws(target: str | None, may: bool) -> None:  # noqa: FBT001 - a table's column
    assert signals.may_launch(target) is may


@pytest.mark.parametrize(
    ("state", "boot", "person"),
    [
        ("Pending", True, False),
        ("Pending:Wait", True, True),
        ("Pending:Proceed", False, False),
        ("Warmed:Pending", True, False),
        ("Warmed:Pending:Wait", True, True),
        ("InService", False, False),
        ("Terminating:Wait", False, False),
        ("Standby", False, False),
    ],
)
def test_a_hook_is_answered_only_while_it_waits(state: str, boot: bool, person: bool) -> None:  # noqa: FBT001 - a table's columns
    assert (signals.takes(state, boot=True), signals.takes(state, boot=False)) == (boot, person)


STACK = {"SIGNAL_CFN_STACK": "delphi", "SIGNAL_CFN_RESOURCE": "Group"}


@pytest.mark.parametrize(
    ("variables", "tags", "wanted"),
    [
        ({}, {}, Settings()),
        ({"SIGNAL_ASG": "off", "ON_FAILURE": "terminate"}, {}, Settings()),
        ({"SIGNAL_ASG": "auto"}, {}, Settings(hook="")),
        ({"SIGNAL_ASG": "boot/1"}, {}, Settings(hook="boot/1")),
        ({"SIGNAL_ASG": ""}, {"SIGNAL_ASG": "auto"}, Settings(hook="")),
        ({"SIGNAL_ASG": "off"}, {"SIGNAL_ASG": "auto"}, Settings()),
        (STACK, {}, Settings(stack="delphi", resource="Group")),
        ({"SIGNAL_CFN_STACK": "delphi"}, {}, Settings()),
        ({"SIGNAL_ASG": "a b"}, {}, Settings()),
        ({"SIGNAL_ASG": "auto", "ON_FAILURE": "kepp"}, {}, Settings(hook="")),
        ({"SIGNAL_ASG": "auto", "ON_FAILURE": "hold"}, {}, Settings(hook="", hold_seconds=3600)),
        (
            {"SIGNAL_ASG": "auto", "ON_FAILURE": "hold", "ON_FAILURE_HOLD_SECONDS": "999999"},
            {},
            Settings(hook="", hold_seconds=172800),
        ),
    ],
)
def test_who_is_told_is_set_by_the_file_then_by_tags(
    variables: Mapping[str, str], tags: Mapping[str, str], wanted: Settings
) -> None:
    assert signals.settings(variables, tags) == wanted
    assert wanted.wanted is (wanted.hook is not None or bool(wanted.stack))


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"SIGNAL_ASG": "a hook"}, "SIGNAL_ASG must be"),
        ({"ON_FAILURE": "kepp"}, "ON_FAILURE must be `terminate` or `hold`"),
        ({"ON_FAILURE_HOLD_SECONDS": "1h"}, "ON_FAILURE_HOLD_SECONDS must be"),
        ({"SIGNAL_CFN_STACK": "s"}, "SIGNAL_CFN_STACK is set and SIGNAL_CFN_RESOURCE is not"),
        ({"SIGNAL_CFN_RESOURCE": "r"}, "SIGNAL_CFN_RESOURCE is set and SIGNAL_CFN_STACK is not"),
    ],
)
def test_a_wish_that_cannot_be_right_is_a_fault_of_the_file(variables: Mapping[str, str], fault: str) -> None:
    (line,) = faults_of_shape(variables)

    assert line.startswith(fault)
    assert set(variables) <= set(bootstrap.SIGNALS)


class Service:
    """Auto Scaling and CloudFormation on loopback; `refuse` are codes for an action, one for each call of it."""

    def __init__(self, state: str = "Pending:Wait", **refuse: list[str]) -> None:
        self.calls: list[dict[str, str]] = []
        self.state, self.refuse = state, refuse

    def __call__(self, request: Request) -> Reply:
        fields = dict(urllib.parse.parse_qsl(request.body.decode()))
        action = fields["Action"]
        self.calls.append({name: value for name, value in fields.items() if name != "Version"})
        if codes := self.refuse.get(action):
            code = codes.pop(0)
            text = f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
            return Reply(403 if code == "AccessDenied" else 400, text.encode())
        found = f"<AutoScalingGroupName>g</AutoScalingGroupName><LifecycleState>{self.state}</LifecycleState>"
        result = {
            "DescribeAutoScalingInstances": f"<AutoScalingInstances><member>{found}</member></AutoScalingInstances>",
            "DescribeLifecycleHooks": _hooks(("boot", "LAUNCHING", "90"), ("drain", "TERMINATING", "60")),
            "RecordLifecycleActionHeartbeat": "",
            "CompleteLifecycleAction": "",
            "SignalResource": "",
        }[action]
        return Reply(body=f"<{action}Response><{action}Result>{result}</{action}Result></{action}Response>".encode())


def _hooks(*hooks: tuple[str, str, str]) -> str:
    members = (
        f"<member><LifecycleHookName>{name}</LifecycleHookName><HeartbeatTimeout>{seconds}</HeartbeatTimeout>"
        f"<LifecycleTransition>autoscaling:EC2_INSTANCE_{kind}</LifecycleTransition></member>"
        for name, kind, seconds in hooks
    )
    return f"<LifecycleHooks>{''.join(members)}</LifecycleHooks>"


def door(url: str) -> AutoScaling:
    return AutoScaling(session(url).autoscaling(), INSTANCE)


def test_group_and_launch_hooks_are_found_and_the_hook_is_told_in_awss_words() -> None:
    service = Service()
    with Loopback(service) as server:
        made = door(server.url)
        member = made.member()
        hooks = made.launch_hooks("g")
        assert made.heartbeat("g", "boot")
        assert made.complete("g", "boot", "CONTINUE")

    assert (member and (member.group, member.state)) == ("g", "Pending:Wait")
    assert hooks == [Hook(name="boot", seconds=90)]
    named = {"AutoScalingGroupName": "g", "LifecycleHookName": "boot", "InstanceId": INSTANCE}
    assert service.calls == [
        {"Action": "DescribeAutoScalingInstances", "InstanceIds.member.1": INSTANCE},
        {"Action": "DescribeLifecycleHooks", "AutoScalingGroupName": "g"},
        {"Action": "RecordLifecycleActionHeartbeat", **named},
        {"Action": "CompleteLifecycleAction", **named, "LifecycleActionResult": "CONTINUE"},
    ]


def test_a_hook_that_does_not_wait_is_no_error_and_a_refusal_names_the_right() -> None:
    service = Service(CompleteLifecycleAction=["ValidationError", "AccessDenied"])
    with Loopback(service) as server:
        made = door(server.url)
        assert not made.complete("g", "boot", "ABANDON")
        with pytest.raises(AccessDenied) as caught:
            made.complete("g", "boot", "ABANDON")

    assert "autoscaling:CompleteLifecycleAction" in str(caught.value)
    assert "autoScalingGroupName/g" in caught.value.details[0]


def test_a_stack_is_told_and_one_that_does_not_wait_says_so() -> None:
    service = Service(SignalResource=["ValidationError"])
    with Loopback(service) as server:
        client = session(server.url).cloudformation()
        assert cloudformation.signal(client, "delphi", "Group", INSTANCE, "FAILURE") == "no"
        assert cloudformation.signal(client, "delphi", "Group", INSTANCE, "SUCCESS") == ""

    said = {"StackName": "delphi", "LogicalResourceId": "Group", "UniqueId": INSTANCE, "Status": "SUCCESS"}
    assert service.calls[1] == {"Action": "SignalResource", **said}


def host(tmp_path: Path, clock: FakeClock | None = None) -> Host:
    paths = Paths(tmp_path)
    paths.run.mkdir(parents=True)
    return Host(paths=paths, clock=clock or FakeClock(), commands=FakeCommands(), environ={}, uid=0)


def listeners(made: AwsSession, fault: AwsError | None = None) -> Listeners:
    launch = Launch(door=AutoScaling(made.autoscaling(), INSTANCE), group="g", hook=Hook(name="boot", seconds=90))
    return Listeners(
        settings=Settings(hook="", stack="delphi", resource="Group"),
        instance_id=INSTANCE,
        session=made,
        launch=None if fault else launch,
        fault=fault,
        stack_waits=True,
    )


def test_all_who_wait_are_told_once(tmp_path: Path) -> None:
    service, clock = Service(), FakeClock()
    here = host(tmp_path, clock)
    with Loopback(service) as server:
        made = listeners(session(server.url))
        said = made.tell(here, clock.deadline(), good=True)
        again = made.tell(here, clock.deadline(), good=False)

    assert (said, again) == ("CONTINUE to the hook boot of g; SUCCESS to the stack delphi", "")
    assert [call["Action"] for call in service.calls] == ["CompleteLifecycleAction", "SignalResource"]
    assert signal_note.load(here.paths) == Note(asg="CONTINUE", cfn="SUCCESS")
    assert signal_note.has_signalled(here.paths, INSTANCE, "delphi")
    assert not signal_note.has_signalled(here.paths, "i-a-clone", "delphi")


def test_one_who_cannot_be_told_keeps_nobody_else_from_it_and_is_told_later(tmp_path: Path) -> None:
    service, clock = Service(CompleteLifecycleAction=["AccessDenied"]), FakeClock()
    here = host(tmp_path, clock)
    with Loopback(service) as server:
        made = listeners(session(server.url))
        with pytest.raises(AccessDenied):
            made.tell(here, clock.deadline(), good=False)
        assert signal_note.load(here.paths) == Note(cfn="FAILURE")
        assert made.tell(here, clock.deadline(), good=False) == "ABANDON to the hook boot of g"
        unknown = listeners(session(server.url), AwsError("finding the hook", "there are two", "name one"))
        signal_note.save(here.paths, Note())
        with pytest.raises(AwsError, match="there are two"):
            unknown.tell(here, clock.deadline(), good=False)
        assert signal_note.load(here.paths) == Note(cfn="FAILURE")


def test_a_hook_that_has_not_begun_is_waited_for_within_the_time() -> None:
    service, clock = Service("Pending", CompleteLifecycleAction=["ValidationError"] * 2), FakeClock()
    with Loopback(service) as server:
        launch = listeners(session(server.url)).launch
        assert launch is not None
        assert launch.answer("CONTINUE", clock.deadline(10)) == "CONTINUE to the hook boot of g"
        assert clock.sleeps == [1, 1]
        service.refuse["CompleteLifecycleAction"] = ["ValidationError"] * 99
        with pytest.raises(AwsError, match="does not wait for this instance yet"):
            launch.answer("CONTINUE", clock.deadline(3))
        service.state = "InService"
        assert "waits no more (the instance is InService)" in launch.answer("CONTINUE", clock.deadline(3))


def test_a_note_is_read_again_and_a_broken_one_is_none(tmp_path: Path) -> None:
    paths = host(tmp_path).paths
    note = Note(asg="ABANDON", held_until=(EPOCH + dt.timedelta(seconds=60)).isoformat())
    signal_note.save(paths, note)

    assert signal_note.load(paths) == note
    assert note.is_held(EPOCH)
    assert not note.is_held(EPOCH + dt.timedelta(seconds=60))
    assert not Note().is_held(EPOCH)
    for text in ("{", "[]", '{"other": 1}', json.dumps({"held_until": "soon"})):
        paths.signal.write_text(text)
        assert signal_note.load(paths) is None
