"""What Auto Scaling and CloudFormation hear of a boot, on a whole instance, from its first second to a crash of it."""

from __future__ import annotations

import json
import signal

from tests.lab.imds import INSTANCE_ID
from tests.lab.lab import Lab
from tests.lab.process import wait_until
from tests.lab.squid import ADDRESS, Squid
from tests.lab_tests import projects, reports
from tests.lab_tests.test_iam_policy import printed
from tests.lab_tests.test_identity import plant_firmware
from tests.lab_tests.test_lock import BOOT

SIGNAL = "/run/delphi-agent/signal.json"
ENABLED = "/etc/systemd/system/multi-user.target.wants/delphi-agent.service"
QUICK = "services: {a: {<<: [*app, *well]}}\n"
ASG = {"SIGNAL_ASG": "auto"}
STACK = {"SIGNAL_CFN_STACK": "delphi", "SIGNAL_CFN_RESOURCE": "Group"}


def ask_for(lab: Lab, **changes: str) -> None:
    """A small project, and a bootstrap file that asks for these signals."""
    projects.upload(lab, QUICK)
    lab.world.write_bootstrap(lab.world.bootstrap_env(**changes))


def told(lab: Lab) -> list[str]:
    """What was told beside heartbeats, in order."""
    values = [item.get("LifecycleActionResult") or item.get("Status") for item in lab.aws.signals()]
    return [value for value in values if value]


def heartbeats(lab: Lab) -> int:
    return sum(item["action"] == "RecordLifecycleActionHeartbeat" for item in lab.aws.signals())


def asked(lab: Lab) -> list[str]:
    """The calls of the two services."""
    return [call.action for call in lab.aws.calls() if call.service in ("autoscaling", "cloudformation")]


def warnings(stderr: str) -> list[str]:
    return [event["text"] for event in reports.events(stderr) if event["event"] == "signal.failed"]


def status(lab: Lab) -> str:
    """The text of the last run's verdict."""
    return str(json.loads(lab.machine.path("/run/delphi-agent/status.json").read_text())["text"])


def test_a_verified_boot_sends_heartbeats_and_continues_the_launch(instance: Lab) -> None:
    ask_for(instance, **ASG)
    instance.aws.launch()

    done = instance.agent("init", env=BOOT)

    assert done.returncode == 0, done.stderr
    assert reports.steps(done.stderr)["signal"] == "CONTINUE to the hook boot of api"
    assert heartbeats(instance) >= 1
    assert told(instance) == ["CONTINUE"]
    assert warnings(done.stderr) == []
    # Who reruns it later finds nobody who waits.
    instance.aws.clear_calls()
    assert instance.agent("init").returncode == 0
    assert [action for action in asked(instance) if action != "DescribeAutoScalingInstances"] == []


def test_a_failing_boot_abandons_the_launch_and_fails_the_stack(instance: Lab) -> None:
    ask_for(instance, **ASG, **STACK, ECR_TAG="no-such-tag")
    instance.aws.launch()
    instance.aws.stack("delphi", "Group")
    instance.aws.enforce_iam(printed(instance))

    done = instance.agent("init", env=BOOT)

    assert done.returncode == 65, done.stderr
    assert told(instance) == ["ABANDON", "FAILURE"]
    assert warnings(done.stderr) == [], "the printed policy is enough"
    assert reports.finished(done.stderr)["exit_code"] == 65


def test_a_bootstrap_file_with_a_fault_is_a_failure_that_is_told_too(instance: Lab) -> None:
    ask_for(instance, **ASG, ON_FAILURE="kepp")
    instance.aws.launch()

    done = instance.agent("init", env=BOOT)

    assert done.returncode == 78, done.stderr
    assert told(instance) == ["ABANDON"]


def test_a_stack_hears_of_the_first_verified_boot_and_never_again_through_the_proxy_of_the_bootstrap_file(
    instance: Lab,
) -> None:
    squid = Squid(instance.machine)
    squid.start()
    # The engine pulls without it: what is asked here is whom the agent asks.
    proxies = {"HTTPS_PROXY": f"http://{ADDRESS}", "NO_PROXY": ".s3.eu-west-1.amazonaws.com"}
    ask_for(instance, **STACK, **proxies)
    instance.aws.stack("delphi", "Group")
    try:
        done = instance.agent("init", "--skip-images", env=BOOT)
        proxied = squid.log("CONNECT cloudformation.eu-west-1.amazonaws.com:443")
    finally:
        squid.stop()

    assert done.returncode == 0, done.stderr
    assert proxied
    (signalled,) = instance.aws.signals()
    assert signalled["Status"] == "SUCCESS"
    assert signalled["UniqueId"] == "i-0123456789abcdef0"
    ask_for(instance, **STACK)
    assert instance.agent("init", env=BOOT).returncode == 0
    assert len(instance.aws.signals()) == 1


def test_outside_of_a_group_and_without_a_wish_nobody_is_asked(instance: Lab) -> None:
    ask_for(instance, **ASG)
    instance.imds.remove("meta-data/autoscaling")
    assert instance.agent("init", env=BOOT).returncode == 0
    instance.imds.set("meta-data/autoscaling/target-lifecycle-state", "InService")
    ask_for(instance)
    instance.aws.launch()
    assert instance.agent("init", env=BOOT).returncode == 0

    assert asked(instance) == []


def test_a_tag_asks_for_it_too_and_a_refusal_is_a_warning_that_changes_nothing(instance: Lab) -> None:
    ask_for(instance)
    plant_firmware(instance, sys_vendor="Amazon EC2", board_asset_tag=INSTANCE_ID)
    instance.imds.set("meta-data/tags/instance/delphi:SIGNAL_ASG", "boot")
    instance.aws.launch()
    instance.aws.enforce_iam(instance.world.role_policy())

    try:
        done = instance.agent("init", env=BOOT)
    finally:
        instance.machine.run(["umount", "/sys/class"], check=True)

    assert done.returncode == 0, done.stderr
    assert reports.finished(done.stderr)["outcome"] == "verified"
    (warning,) = warnings(done.stderr)
    assert "may not autoscaling:DescribeAutoScalingInstances on *" in warning
    assert '"Action": "autoscaling:DescribeAutoScalingInstances"' in warning
    assert told(instance) == []


def unit_failed(lab: Lab, result: str, status: str) -> str:
    """What systemd does when it has given the boot's unit up; what is said then."""
    env = {"MONITOR_SERVICE_RESULT": result, "MONITOR_EXIT_STATUS": status}
    done = lab.agent("signal", "--from-unit", env=env)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_of_a_killed_run_the_unit_tells_once_no_other_attempt_comes(instance: Lab) -> None:
    ask_for(instance, **ASG, **STACK)
    instance.aws.launch()
    instance.aws.stack("delphi", "Group")
    running = instance.machine.start_process(
        [*instance.agent_command(), "init"], env={**instance.agent_env(), **BOOT}, log="killed.log"
    )
    wait_until(lambda: heartbeats(instance) > 0, "the first heartbeat")
    running.signal(signal.SIGKILL)
    running.wait(10)
    assert told(instance) == []

    assert unit_failed(instance, "oom-kill", "9") == "ABANDON to the hook boot of api; FAILURE to the stack delphi\n"
    assert told(instance) == ["ABANDON", "FAILURE"]
    unit_failed(instance, "exit-code", "69")
    assert told(instance) == ["ABANDON", "FAILURE"], "once"


def test_a_failure_is_held_for_its_time_with_heartbeats_and_a_persons_success_ends_it(instance: Lab) -> None:
    held = {**ASG, "ON_FAILURE": "hold", "ON_FAILURE_HOLD_SECONDS": "8"}
    ask_for(instance, **held, ECR_TAG="no-such-tag")
    instance.aws.launch()
    # systemd looks after this boot: what it does is done here by hand.
    path = instance.machine.path(ENABLED)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/lib/systemd/system/delphi-agent.service")
    boot = {**BOOT, "NOTIFY_SOCKET": "/run/nobody"}
    done = instance.agent("init", env=boot)
    before = heartbeats(instance)

    assert done.returncode == 65, done.stderr
    assert "this instance is kept for debugging until " in status(instance)
    assert told(instance) == []
    unit_failed(instance, "exit-code", "65")
    assert heartbeats(instance) > before
    assert told(instance) == ["ABANDON"]

    # Another instance, whose operator is quicker than an hour.
    instance.machine.path(SIGNAL).unlink()
    instance.aws.launch()
    ask_for(instance, **ASG, ON_FAILURE="hold", ECR_TAG="no-such-tag")
    assert instance.agent("init", env=boot).returncode == 65
    watching = instance.machine.start_process(
        [*instance.agent_command(), "signal", "--from-unit"],
        env={**instance.agent_env(), "MONITOR_SERVICE_RESULT": "exit-code", "MONITOR_EXIT_STATUS": "65"},
    )
    wait_until(lambda: "kept for debugging" in watching.stderr(), "the holding")
    ask_for(instance, **ASG, ON_FAILURE="hold")
    assert instance.agent("init").returncode == 0
    assert watching.wait(15) == 0, watching.stderr()
    assert told(instance) == ["ABANDON", "CONTINUE"]


def test_what_the_unit_tries_again_is_not_told_but_keeps_the_hook_waiting(instance: Lab) -> None:
    ask_for(instance, **ASG)
    instance.aws.launch()
    instance.engine.stop()
    try:
        done = instance.agent("init", "--deadline", "4", env={**BOOT, "NOTIFY_SOCKET": "/run/nobody"})
    finally:
        instance.engine.start()
        instance.engine.wait_ready()

    assert done.returncode == 69, done.stderr
    assert reports.steps(done.stderr)["signal"] == "heartbeat to the hook boot"
    assert heartbeats(instance) >= 1
    assert told(instance) == []
