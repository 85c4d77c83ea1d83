"""Faults and IAM reach an SDK on the instance as AWS's own would."""

from __future__ import annotations

import http.client
import ssl
import time

import pytest

from tests.lab import world
from tests.lab.aws import Fault
from tests.lab.aws_model import REGION, SERVER_ADDRESS
from tests.lab.imds import INSTANCE_ID
from tests.lab.lab import Lab
from tests.lab.network import NamespaceConnection
from tests.lab.pki import BAD
from tests.lab_tests.inside import boto3_inside

ASK_SSM = 'show(error_of(client("ssm").get_parameters_by_path, Path="/delphi/prod/api"))'
READ_MANIFEST = """
def read():
    body = client("s3").get_object(Bucket="delphi-config", Key="deployments/delphi/v1/api/vars.yaml")["Body"].read()
    show(len(body))
try:
    read()
except Exception as error:
    show(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("service", "ask"),
    [
        ("ssm", 'client("ssm").get_parameters_by_path, Path="/x"'),
        ("secretsmanager", 'client("secretsmanager").list_secrets'),
        ("ecr", 'client("ecr").get_authorization_token'),
        ("s3", 'client("s3").list_objects_v2, Bucket="delphi-config"'),
        ("sts", 'client("sts").get_caller_identity'),
        ("autoscaling", 'client("autoscaling").describe_auto_scaling_groups'),
    ],
)
def test_an_error_has_its_code_in_every_protocol(instance: Lab, service: str, ask: str) -> None:
    instance.aws.add_fault(Fault(f"{service}:", code="ExpiredTokenException", status=403))
    assert boto3_inside(instance, f"show(error_of({ask}))") == "ExpiredTokenException"
    assert instance.aws.calls()[-1].fault == "error"


def test_a_fault_hits_as_often_as_it_says(instance: Lab) -> None:
    instance.aws.add_fault(Fault("ssm:GetParametersByPath", code="ThrottlingException", times=2))
    code = 'show(error_of(client("ssm", attempts=3).get_parameters_by_path, Path="/delphi/prod/api"))'
    assert boto3_inside(instance, code) is None
    assert [call.status for call in instance.aws.calls()] == [400, 400, 200]


def test_connections_break(instance: Lab) -> None:
    instance.aws.add_fault(Fault("ssm:", kind="reset"))
    assert boto3_inside(instance, ASK_SSM) == "ConnectionClosedError"
    instance.aws.add_fault(Fault("s3:GetObject .*vars.yaml", kind="truncate"))
    assert boto3_inside(instance, READ_MANIFEST) in ("IncompleteReadError", "ResponseStreamingError")


def test_bodies_are_not_what_they_should_be(instance: Lab) -> None:
    size = (world.BUNDLE / "api/vars.yaml").stat().st_size
    instance.aws.add_fault(Fault("s3:GetObject", kind="short"))
    instance.aws.add_fault(Fault("s3:GetObject", kind="corrupt"))
    first, second = boto3_inside(instance, READ_MANIFEST), boto3_inside(instance, READ_MANIFEST)
    # Where the object has a checksum, the SDK finds out by itself.
    assert first in (size // 2, "FlexibleChecksumError")
    assert second in (size, "FlexibleChecksumError")


def test_answers_come_late_or_never(instance: Lab) -> None:
    instance.aws.add_fault(Fault("ssm:", kind="delay", delay=0.3))
    assert boto3_inside(instance, ASK_SSM) is None
    assert instance.aws.calls()[-1].ms > 300
    instance.aws.add_fault(Fault("ssm:", kind="hang"))
    assert boto3_inside(instance, ASK_SSM) == "ReadTimeoutError"
    instance.aws.clear_faults()
    time.sleep(0.2)
    assert instance.aws.calls()[-1].fault == "hang"


def test_iam_allows_what_the_platforms_policy_allows(instance: Lab) -> None:
    instance.aws.enforce_iam(instance.world.role_policy())
    errors = boto3_inside(
        instance,
        """
s3, ssm, secrets = client("s3"), client("ssm"), client("secretsmanager")
key = "deployments/delphi/v1/api/vars.yaml"
show({
    "list": error_of(s3.list_objects_v2, Bucket="delphi-config", Prefix="deployments/delphi/v1/"),
    "list all": error_of(s3.list_objects_v2, Bucket="delphi-config"),
    "get": error_of(s3.get_object, Bucket="delphi-config", Key=key),
    "put": error_of(s3.put_object, Bucket="delphi-config", Key=key, Body=b""),
    "path": error_of(ssm.get_parameters_by_path, Path="/delphi/prod/api"),
    "other path": error_of(ssm.get_parameters_by_path, Path="/delphi/prod/web"),
    "describe": error_of(ssm.describe_parameters),
    "secret": error_of(secrets.get_secret_value, SecretId="delphi/prod/api/secrets"),
    "other secret": error_of(secrets.get_secret_value, SecretId="delphi/prod/web/secrets"),
    "token": error_of(client("ecr").get_authorization_token),
})
""",
    )
    denied = {name: code for name, code in errors.items() if code is not None}
    json_denial, denial = "AccessDeniedException", "AccessDenied"
    expected = {"list all": denial, "put": denial, "other path": json_denial, "describe": json_denial}
    assert denied == {**expected, "other secret": json_denial}
    assert "x" not in instance.aws.client("ssm").get_parameters_by_path(Path="/x"), "the test's own door stays open"


def test_a_batch_of_secrets_has_awss_limits(instance: Lab) -> None:
    for number in range(25):
        instance.world.put_secret(f"delphi/prod/many/{number}", {"A": "1"})
    answer = boto3_inside(
        instance,
        """
secrets = client("secretsmanager")
many = [{"Key": "name", "Values": ["delphi/prod/many/"]}]
first = secrets.batch_get_secret_value(Filters=many)
rest = secrets.batch_get_secret_value(Filters=many, NextToken=first["NextToken"])
too_many = error_of(secrets.batch_get_secret_value, SecretIdList=[f"delphi/prod/many/{n}" for n in range(21)])
show([len(first["SecretValues"]), len(rest["SecretValues"]), "NextToken" in rest, too_many])
""",
    )
    assert answer == [20, 5, False, "ValidationException"]


def test_signals_are_kept_and_only_who_waits_takes_them(instance: Lab) -> None:
    instance.aws.launch()
    instance.aws.stack("s", "r")
    answer = boto3_inside(
        instance,
        """
group, stack = client("autoscaling"), client("cloudformation")
hook = {"AutoScalingGroupName": "api", "LifecycleHookName": "boot", "LifecycleActionResult": "CONTINUE"}
signal = {"StackName": "s", "UniqueId": "u", "Status": "SUCCESS"}
mine = {**hook, "InstanceId": "i-0123456789abcdef0"}
show([
    group.describe_auto_scaling_instances(InstanceIds=[mine["InstanceId"]])["AutoScalingInstances"][0]["LifecycleState"],
    group.describe_auto_scaling_instances(InstanceIds=["i-1"])["AutoScalingInstances"],
    [hook["LifecycleHookName"] for hook in
        group.describe_lifecycle_hooks(AutoScalingGroupName="api")["LifecycleHooks"]],
    error_of(group.complete_lifecycle_action, **hook, InstanceId="i-1"),
    error_of(group.complete_lifecycle_action, **mine),
    error_of(group.complete_lifecycle_action, **mine),
    error_of(stack.signal_resource, **signal, LogicalResourceId="other"),
    error_of(stack.signal_resource, **signal, LogicalResourceId="r"),
    group.describe_auto_scaling_instances(InstanceIds=[mine["InstanceId"]])["AutoScalingInstances"][0]["LifecycleState"],
])
""",
    )
    refused = "ValidationError"
    assert answer == ["Pending:Wait", [], ["boot", "drain"], refused, None, refused, refused, None, "InService"]
    first, second = instance.aws.signals()
    assert (first["action"], first["LifecycleActionResult"]) == ("CompleteLifecycleAction", "CONTINUE")
    assert (second["action"], second["Status"]) == ("SignalResource", "SUCCESS")


def test_a_certificate_is_bad_in_the_way_that_was_asked_for_and_good_again_afterwards(instance: Lab) -> None:
    name = f"ssm.{REGION}.amazonaws.com"
    said = {}
    for kind in BAD:
        instance.pki.spoil(name, kind)
        said[kind] = handshake(instance, name)
    other = handshake(instance, f"ecr.{REGION}.amazonaws.com")
    instance.pki.mend()

    assert "issuer certificate" in said["unknown CA"]
    assert "Hostname mismatch" in said["other name"]
    assert said["expired"] == "certificate has expired"
    assert other == handshake(instance, name) == ""


def handshake(lab: Lab, name: str) -> str:
    """What is wrong with the certificate that AWS shows under this name; empty when nothing is."""
    namespace = str(lab.machine.path("/run/netns/aws"))
    connection = NamespaceConnection(namespace, name, 443, SERVER_ADDRESS, lab.pki.client_context())
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        connection.close()
    return ""


def test_an_answer_of_the_metadata_service_is_broken_as_often_as_it_says(instance: Lab) -> None:
    instance.imds.add_fault("GET .*/instance-id$", status=401, times=1)
    instance.imds.add_fault("GET .*/instance-id$", "truncate", times=1)
    connection = instance.machine.http(80, "169.254.169.254")
    connection.request("PUT", "/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    token = connection.getresponse().read().decode()

    def ask() -> tuple[int, str]:
        connection.request("GET", "/latest/meta-data/instance-id", headers={"X-aws-ec2-metadata-token": token})
        answer = connection.getresponse()
        try:
            return answer.status, answer.read().decode()
        except http.client.IncompleteRead as error:
            return answer.status, f"cut after {len(error.partial)}"

    assert [ask() for _ in range(3)] == [
        (401, "Unauthorized"),
        (200, f"cut after {len(INSTANCE_ID) // 2}"),
        (200, INSTANCE_ID),
    ]
