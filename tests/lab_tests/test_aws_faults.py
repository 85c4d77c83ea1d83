"""What AWS and the way to it do wrong, on a whole instance: tried again where that helps, told with its cause."""

from __future__ import annotations

import datetime as dt
import email.utils
import time

import pytest

from tests.lab.aws import Fault
from tests.lab.aws_model import BUCKET, OTHER_REGION, REGION
from tests.lab.imds import ROLE_SECRET_KEY, ROLE_SESSION_TOKEN
from tests.lab.lab import Lab
from tests.lab_tests import reports

SSM = "ssm:GetParametersByPath"
AWS_HOSTS = "amazonaws.com"


def failed(lab: Lab, code: int, *, deadline: int = 10) -> str:
    """Run `init`, which must end with this exit code within the deadline; its errors as a person reads them."""
    began = time.monotonic()
    done = lab.agent("init", "--deadline", str(deadline), timeout=deadline + 30)
    assert done.returncode == code, done.stderr
    assert time.monotonic() - began < deadline + 5
    assert "nothing was changed" in reports.finished(done.stderr)["text"]
    return "\n".join(reports.whole(error) for error in reports.errors(done.stderr))


def at(seconds: float) -> str:
    """A `Date` header of so many seconds from now."""
    return email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("fault", "throttled"),
    [
        (Fault(SSM, status=400, code="ThrottlingException", times=2), 2),
        (Fault("s3:ListObjectsV2", status=503, code="SlowDown", times=2), 2),
        (Fault("secretsmanager:", status=500, code="InternalServiceError", times=2), 0),
        (Fault("s3:GetObject", status=503, code="ServiceUnavailable", times=2), 0),
        (Fault("ecr:", kind="reset", times=2), 0),
    ],
    ids=lambda value: value.code or value.kind if isinstance(value, Fault) else "",
)
def test_what_passes_is_tried_again_and_counted(instance: Lab, fault: Fault, throttled: int) -> None:
    instance.aws.add_fault(fault)

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    end = reports.finished(done.stderr)
    assert end["retries"] >= 2
    assert end["throttled"] == throttled


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(SSM, status=400, code="ThrottlingException", times=None), "AWS is throttling this account"),
        (Fault(SSM, status=500, code="InternalServerError", times=None), "AWS itself failed"),
        (Fault(SSM, kind="reset", times=None), f"the connection failed (ssm.{REGION}.{AWS_HOSTS})"),
        (Fault("s3:ListObjectsV2", status=503, code="SlowDown", times=None), "SlowDown: made up by the lab"),
    ],
    ids=lambda value: value.code or value.kind if isinstance(value, Fault) else "",
)
def test_what_does_not_pass_is_told_as_what_it_is_before_the_deadline_is(
    instance: Lab, fault: Fault, words: str
) -> None:
    instance.aws.add_fault(fault)

    said = failed(instance, 69)

    assert words in said
    assert "not done within" not in said


def test_a_refusal_is_not_tried_again_and_names_action_resource_and_principal(instance: Lab) -> None:
    policy = instance.world.role_policy()
    policy["Statement"] = [item for item in policy["Statement"] if "ssm:" not in str(item["Action"])]
    instance.aws.enforce_iam(policy)

    said = failed(instance, 77)

    assert "assumed-role/" in said
    assert f"may not {SSM} on arn:aws:ssm:{REGION}:" in said
    assert len(instance.aws.calls(SSM)) == 1


def test_a_key_that_may_not_be_used_asks_for_the_right_of_kms_on_it(instance: Lab) -> None:
    key = f"arn:aws:kms:{REGION}:123456789012:key/1234"
    message = f"User: arn:aws:iam::1:user/x is not authorized to perform: kms:Decrypt on resource: {key} because no"
    instance.aws.add_fault(Fault(SSM, status=400, code="AccessDeniedException", message=message, times=None))

    said = failed(instance, 77)

    assert f"may not kms:Decrypt on {key}" in said
    assert len(instance.aws.calls(SSM)) == 1


def test_an_authority_that_is_not_trusted_is_told_at_once_with_what_to_set(instance: Lab) -> None:
    instance.machine.path("/etc/ssl/none.pem").write_text(
        instance.machine.path("/etc/ssl/certs/ISRG_Root_X1.pem").read_text()
    )
    instance.world.write_bootstrap(instance.world.bootstrap_env(AWS_CA_BUNDLE="/etc/ssl/none.pem"))
    began = time.monotonic()

    said = failed(instance, 69, deadline=30)

    assert time.monotonic() - began < 10
    assert f"TLS failed ({BUCKET}.s3.{REGION}.{AWS_HOSTS}): " in said
    assert "issuer" in said or "self-signed" in said
    assert "AWS_CA_BUNDLE" in said


def test_a_clock_that_is_wrong_is_told_with_by_how_much(instance: Lab) -> None:
    headers = {"Date": at(3600)}
    fault = Fault(SSM, status=400, code="InvalidSignatureException", headers=headers, times=None)
    instance.aws.add_fault(fault)

    said = failed(instance, 69)

    assert "this host's clock is 1 h" in said or "this host's clock is 59 min" in said
    assert "behind AWS" in said


def test_a_signature_that_is_wrong_under_a_right_clock_is_a_wrong_secret_key(instance: Lab) -> None:
    fault = Fault("s3:", status=403, code="SignatureDoesNotMatch", headers={"Date": at(0)}, times=None)
    instance.aws.add_fault(fault)

    assert "correct AWS_SECRET_ACCESS_KEY" in failed(instance, 77)


def test_a_token_of_the_role_that_expires_in_the_middle_is_renewed_once(instance: Lab) -> None:
    instance.aws.add_fault(Fault(SSM, status=400, code="ExpiredTokenException", times=1))

    done = instance.agent("init")

    assert done.returncode == 0, done.stderr
    asked = [item for item in instance.imds.requests() if "security-credentials/lab-role" in item.path]
    assert len(asked) == 2


def test_a_token_that_stays_expired_is_told_and_not_asked_for_again_and_again(instance: Lab) -> None:
    instance.aws.add_fault(Fault(SSM, status=400, code="ExpiredTokenException", times=None))

    said = failed(instance, 69)

    assert "the credentials have expired" in said
    assert len(instance.aws.calls(SSM)) == 2
    assert ROLE_SECRET_KEY not in said
    assert ROLE_SESSION_TOKEN not in said


def test_a_name_that_does_not_resolve_is_named(instance: Lab) -> None:
    hosts = instance.machine.path("/etc/hosts")
    before = hosts.read_text()
    try:
        hosts.write_text(before.replace(f"ssm.{REGION}.{AWS_HOSTS}", "elsewhere"))
        said = failed(instance, 69, deadline=20)
    finally:
        hosts.write_text(before)

    assert f"the name does not resolve (ssm.{REGION}.{AWS_HOSTS})" in said
    assert "AWS_REGION" in said


def test_a_host_without_a_route_of_ipv4_is_told_of_the_dual_stack_names(instance: Lab) -> None:
    instance.machine.run(["ip", "route", "add", "unreachable", "10.99.0.1/32"], check=True)
    try:
        said = failed(instance, 69)
    finally:
        instance.machine.run(["ip", "route", "del", "unreachable", "10.99.0.1/32"], check=True)

    assert "AWS_USE_DUALSTACK_ENDPOINT=true" in said


def test_a_bucket_in_another_region_is_asked_there_and_both_regions_are_told_once(instance: Lab) -> None:
    instance.aws.add_fault(Fault("s3:", kind="moved", times=None))

    done, doctor = instance.agent("init"), instance.agent("doctor")

    assert done.returncode == 0, done.stderr
    told = [entry["text"] for entry in reports.events(done.stderr) if entry["event"] == "bucket.elsewhere"]
    assert len(told) == 1
    assert f"the bucket {BUCKET} is in {OTHER_REGION} and AWS_REGION is {REGION}" in told[0]
    assert f"the bucket {BUCKET} is in {OTHER_REGION} and AWS_REGION is {REGION}" in doctor.stdout
    # One detour for the whole bundle of a run, not one for each object.
    assert [call.status for call in instance.aws.calls() if call.service == "s3"].count(301) == 2


def test_a_bucket_in_a_region_that_nobody_names_is_told_with_what_to_correct(instance: Lab) -> None:
    instance.aws.add_fault(Fault("s3:", status=301, code="PermanentRedirect", times=None))

    said = failed(instance, 69)

    assert "PermanentRedirect" in said
    assert "correct AWS_REGION or CONFIG_BUCKET" in said
