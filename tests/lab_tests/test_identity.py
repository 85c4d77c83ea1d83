"""Who the instance is to AWS: renewed keys, hidden roles, accounts, and a bootstrap file from the instance itself."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator

import pytest

from tests.lab.aws import Fault
from tests.lab.aws_model import ACCOUNT
from tests.lab.imds import INSTANCE_ID, ROLE, role_credentials
from tests.lab.lab import Lab
from tests.lab.process import wait_until
from tests.lab.world import BOOTSTRAP_FILE
from tests.lab_tests import reports
from tests.lab_tests.test_first_boot import STATIC_KEYS

KEYS = f"meta-data/iam/security-credentials/{ROLE}"
COUNTED = ["OUTPUT", "-d", "169.254.169.254"]


def warnings(stderr: str) -> str:
    return "\n".join(event.get("text", "") for event in reports.events(stderr) if event["level"] == "warning")


def plant_firmware(lab: Lab, **names: str) -> None:
    """Give the machine firmware that says who made it; this one's own says nothing."""
    lab.machine.run(["mount", "-t", "tmpfs", "firmware", "/sys/class"], check=True)
    folder = lab.machine.path("/sys/class/dmi/id")
    folder.mkdir(parents=True)
    for name, text in names.items():
        (folder / name).write_text(f"{text}\n")


@pytest.fixture
def on_ec2(instance: Lab) -> Iterator[Lab]:
    plant_firmware(instance, sys_vendor="Amazon EC2", board_asset_tag=INSTANCE_ID)
    yield instance
    instance.machine.run(["umount", "/sys/class"], check=True)


@pytest.fixture
def at_hetzner(instance: Lab) -> Iterator[Lab]:
    plant_firmware(instance, sys_vendor="Hetzner", board_asset_tag="")
    instance.machine.run(["iptables", "-I", *COUNTED], check=True)
    yield instance
    instance.machine.run(["iptables", "-D", *COUNTED], check=True)
    instance.machine.run(["umount", "/sys/class"], check=True)


def packets(lab: Lab) -> int:
    """How many packets have left for the metadata service since the rule was made."""
    listing = lab.machine.run(["iptables", "-nvxL", "OUTPUT", "1"], check=True).stdout
    return int(listing.split()[0])


def use_static_keys(lab: Lab, **more: str) -> None:
    lab.world.write_bootstrap(lab.world.bootstrap_env(**STATIC_KEYS, **more))


def test_off_ec2_with_static_keys_not_one_packet_goes_to_the_metadata_service(at_hetzner: Lab) -> None:
    use_static_keys(at_hetzner)

    done = at_hetzner.agent("init")

    assert done.returncode == 0, done.stderr
    assert packets(at_hetzner) == 0
    assert at_hetzner.imds.requests() == []


def test_off_ec2_without_keys_it_is_said_at_once(at_hetzner: Lab) -> None:
    done = at_hetzner.agent("init")

    assert done.returncode == 78, done.stderr
    [error] = reports.errors(done.stderr)
    assert "this is no EC2 instance (the firmware says 'Hetzner')" in error["cause"]
    assert packets(at_hetzner) == 0


def test_static_keys_on_ec2_are_told_as_hiding_the_role(on_ec2: Lab) -> None:
    use_static_keys(on_ec2)

    done = on_ec2.agent("init")

    assert done.returncode == 0, done.stderr
    assert f"static keys of the bootstrap file hide the role {ROLE} of this instance" in warnings(done.stderr)
    assert reports.steps(done.stderr)["identity"] == "static keys of the bootstrap file"


def test_static_keys_on_ec2_work_where_the_metadata_service_does_not(on_ec2: Lab) -> None:
    use_static_keys(on_ec2)
    on_ec2.imds.mode("hang")

    done = on_ec2.agent("init")

    assert done.returncode == 0, done.stderr
    assert "hide the role" not in warnings(done.stderr)


def test_the_role_is_shown_once_with_instance_and_account(instance: Lab) -> None:
    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert reports.steps(done.stderr)["identity"] == f"role {ROLE} of {INSTANCE_ID} (account {ACCOUNT})"
    assert instance.aws.calls("sts:") == []


def test_another_account_than_expected_ends_the_run_before_aws_is_asked(instance: Lab) -> None:
    instance.world.write_bootstrap(instance.world.bootstrap_env(AWS_ACCOUNT_ID="000000000001"))

    done = instance.agent("init")

    assert done.returncode == 78, done.stderr
    cause = reports.errors(done.stderr)[0]["cause"]
    assert ACCOUNT in cause
    assert "000000000001" in cause
    assert instance.aws.calls() == []


def test_keys_that_are_about_to_expire_are_renewed_in_the_middle_of_a_run(instance: Lab) -> None:
    instance.imds.set(KEYS, role_credentials(120))
    instance.aws.add_fault(Fault("s3:GetObject .*vars.yaml", kind="delay", delay=3))
    running = instance.machine.start_process([*instance.agent_command(), "init"], env=instance.agent_env())
    wait_until(lambda: len(reads(instance)) > 1, "the first keys to be renewed")
    instance.imds.set(KEYS, role_credentials())

    assert running.wait(60) == 0, running.stderr()
    # What is asked after the keys that last is nothing.
    before = len(reads(instance))
    assert before < 12


def reads(lab: Lab) -> list[str]:
    return [request.path for request in lab.imds.requests() if request.path.endswith(KEYS)]


def test_keys_that_cannot_be_renewed_end_the_run_with_what_stands_in_the_way(instance: Lab) -> None:
    instance.imds.set(KEYS, role_credentials(120))
    instance.aws.add_fault(Fault("s3:GetObject .*vars.yaml", kind="delay", delay=2))
    argv = [*instance.agent_command(), "init", "--deadline", "15"]
    running = instance.machine.start_process(argv, env=instance.agent_env())
    wait_until(lambda: instance.aws.calls("s3:GetObject .*vars.yaml") != [] or len(reads(instance)) > 1, "a renewal")
    instance.imds.stop()

    assert running.wait(60) == 69, running.stderr()
    assert "Traceback" not in running.stderr()
    told = "\n".join(reports.whole(error) for error in reports.errors(running.stderr()))
    assert "instance metadata service" in told
    assert not instance.machine.path("/opt/services/api").exists()


def test_a_container_s_credentials_are_used_and_the_metadata_service_is_not_asked(instance: Lab) -> None:
    folder = instance.machine.path("/srv/credentials")
    folder.mkdir(parents=True)
    given = role_credentials()
    (folder / "role").write_text(json.dumps({name: given[name] for name in given if name != "Code"}))
    server = ["busybox", "httpd", "-f", "-p", "127.0.0.1:8099", "-h", "/srv/credentials"]
    instance.machine.start_process(server)
    uri = "http://127.0.0.1:8099/role"
    instance.world.write_bootstrap(instance.world.bootstrap_env(AWS_CONTAINER_CREDENTIALS_FULL_URI=uri))
    wait_until(lambda: answers(instance, 8099), "the credentials")

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    assert instance.imds.requests() == []
    assert reports.steps(done.stderr)["identity"].startswith("container credentials")


def answers(lab: Lab, port: int) -> bool:
    connection = lab.machine.http(port)
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True


# --- a bootstrap file from the instance itself


def without_a_file(lab: Lab) -> dict[str, str]:
    lab.machine.path(BOOTSTRAP_FILE).unlink()
    lab.machine.path(BOOTSTRAP_FILE).parent.rmdir()
    return lab.world.bootstrap_env()


def test_lesson_2_user_data_that_nobody_ran_still_boots_the_instance(on_ec2: Lab) -> None:
    env = without_a_file(on_ec2)
    on_ec2.imds.set("user-data", json.dumps({"delphi": env}))
    assert on_ec2.agent("plan").returncode == 78

    done = on_ec2.agent("init")

    assert done.returncode == 0, done.stderr
    file = on_ec2.machine.path(BOOTSTRAP_FILE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "written from the user data's section `delphi`" in reports.steps(done.stderr)["bootstrap"]
    on_ec2.imds.remove("user-data")
    assert on_ec2.agent("init").returncode == 0


def test_tags_of_the_instance_boot_it_and_user_data_wins_over_them(on_ec2: Lab) -> None:
    for name, value in {**without_a_file(on_ec2), "ECR_TAG": "9.9.9"}.items():
        on_ec2.imds.set(f"meta-data/tags/instance/delphi:{name}", value)
    on_ec2.imds.set("user-data", json.dumps({"delphi": {"ECR_TAG": on_ec2.world.bootstrap_env()["ECR_TAG"]}}))

    done = on_ec2.agent("init")

    assert done.returncode == 0, done.stderr
    assert "9.9.9" not in on_ec2.machine.path(BOOTSTRAP_FILE).read_text()


def test_user_data_that_cannot_be_a_bootstrap_file_is_told_and_nothing_is_written(on_ec2: Lab) -> None:
    env = without_a_file(on_ec2)
    on_ec2.imds.set("user-data", json.dumps({"delphi": {**env, "CONFIG_BUCKET": "<your-bucket>", "A-B": "x"}}))

    done = on_ec2.agent("init")

    assert done.returncode == 78, done.stderr
    assert "'A-B' is no name of a variable" in reports.whole(reports.errors(done.stderr)[0])
    assert not on_ec2.machine.path(BOOTSTRAP_FILE).exists()


def test_lesson_2_a_boot_without_a_datasource_is_told_as_why_there_is_no_bootstrap_file(instance: Lab) -> None:
    without_a_file(instance)
    result = instance.machine.path("/run/cloud-init/result.json")
    result.parent.mkdir()
    result.write_text(json.dumps({"v1": {"datasource": "DataSourceNone", "errors": []}}))

    done = instance.agent("init")

    result.unlink()
    result.parent.rmdir()
    assert done.returncode == 78, done.stderr
    [error] = reports.errors(done.stderr)
    assert "cloud-init found no datasource, so no user data was run" in error["cause"]
    assert "user data was not looked at" in reports.whole(error)
    assert instance.imds.requests() == []
