"""One permission is missing: the run says which statement to add, and that statement is enough; or a fallback works."""

from __future__ import annotations

import copy
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab.aws import Fault
from tests.lab.aws_model import REGION
from tests.lab.lab import Lab
from tests.lab.world import BUNDLE, NAMESPACE, ROLE, SECRETS, canaries
from tests.lab_tests import reports
from tests.lab_tests.resolution_worlds import ask, write_files

PLAN = ("--log-level", "debug", "plan")
INIT = ("--log-level", "debug", "init")
PARAMETERS_ARN = f"arn:aws:ssm:{REGION}:*:parameter/{NAMESPACE}/{ROLE}/*"
SECRETS_ARN = f"arn:aws:secretsmanager:{REGION}:*:secret:{NAMESPACE}/{ROLE}/*"
KEY = f"arn:aws:kms:{REGION}:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ANY_KEY = f"arn:aws:kms:{REGION}:*:key/*"

Policy = dict[str, Any]


def without(policy: Policy, *actions: str) -> Policy:
    """The policy, less some actions."""
    changed = copy.deepcopy(policy)
    for statement in changed["Statement"]:
        wanted = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        statement["Action"] = [action for action in wanted if action not in actions]
    changed["Statement"] = [statement for statement in changed["Statement"] if statement["Action"]]
    return changed


def without_resource(policy: Policy, resource: str) -> Policy:
    """The policy, less one resource of a list of them."""
    changed = copy.deepcopy(policy)
    for statement in changed["Statement"]:
        if isinstance(statement["Resource"], list):
            statement["Resource"] = [item for item in statement["Resource"] if item != resource]
    return changed


def ask_env(lab: Lab) -> subprocess.CompletedProcess[str]:
    write_files(lab, (BUNDLE / "api/vars.yaml").read_text())
    return ask(lab)


def statements(stderr: str) -> list[Policy]:
    """What the run says should be added."""
    marker = "IAM statement: "
    details = (line for error in reports.errors(stderr) for line in error["details"])
    return [json.loads(line.removeprefix(marker)) for line in details if line.startswith(marker)]


def asked_twice(lab: Lab) -> dict[str, int]:
    """Refused calls that were made again."""
    refused = Counter(f"{call.name} {call.resource}" for call in lab.aws.calls() if call.status in (400, 403))
    return {name: count for name, count in refused.items() if count > 1}


@dataclass(frozen=True)
class Denial:
    """What is taken away, the command that meets it, and the statement that it must ask for."""

    name: str
    policy: Callable[[Lab], Policy]
    run: Callable[[Lab], subprocess.CompletedProcess[str]]
    action: str
    resource: Callable[[Lab], str] | None
    """None: whatever is enough."""


def _denial(
    action: str,
    resource: str,
    run: Callable[[Lab], subprocess.CompletedProcess[str]] = ask_env,
    beside: str = "",
) -> Denial:
    taken = [action, beside] if beside else [action]
    name = action.replace(":", "-") + ("-and-" + beside.replace(":", "-") if beside else "")
    return Denial(name, lambda lab: without(lab.world.role_policy(), *taken), run, action, lambda _: resource)


DENIALS = [
    _denial("s3:ListBucket", "arn:aws:s3:::delphi-config", lambda lab: lab.agent(*PLAN)),
    Denial(
        "s3-GetObject",
        lambda lab: without(lab.world.role_policy(), "s3:GetObject"),
        lambda lab: lab.agent(*PLAN),
        "s3:GetObject",
        None,
    ),
    _denial("ssm:GetParametersByPath", PARAMETERS_ARN),
    _denial("ssm:GetParametersByPath", PARAMETERS_ARN, beside="secretsmanager:ListSecrets"),
    Denial(
        "secretsmanager-GetSecretValue-of-the-service",
        lambda lab: without_resource(lab.world.role_policy(), SECRETS_ARN.replace(":*:", ":123456789012:")),
        ask_env,
        "secretsmanager:GetSecretValue",
        lambda _: SECRETS_ARN,
    ),
    Denial(
        "secretsmanager-GetSecretValue-and-BatchGetSecretValue",
        lambda lab: without(
            without_resource(lab.world.role_policy(), SECRETS_ARN.replace(":*:", ":123456789012:")),
            "secretsmanager:BatchGetSecretValue",
        ),
        ask_env,
        "secretsmanager:GetSecretValue",
        lambda _: SECRETS_ARN,
    ),
    Denial(
        "secretsmanager-GetSecretValue-of-an-external-secret",
        lambda lab: without_resource(lab.world.role_policy(), lab.world.database_secret_arn),
        ask_env,
        "secretsmanager:GetSecretValue",
        lambda lab: lab.world.database_secret_arn,
    ),
    _denial("ecr:GetAuthorizationToken", "*", lambda lab: lab.agent(*INIT)),
]


@pytest.mark.parametrize("denial", DENIALS, ids=lambda denial: denial.name)
def test_a_denied_action_ends_with_77_and_the_statement_that_is_enough(instance: Lab, denial: Denial) -> None:
    policy = denial.policy(instance)
    instance.aws.enforce_iam(policy)

    done = denial.run(instance)

    assert done.returncode == 77, done.stderr
    assert "Traceback" not in done.stderr
    added = [statement for statement in statements(done.stderr) if statement["Action"] == denial.action]
    assert len(added) == 1, done.stderr
    if denial.resource is not None:
        assert added[0]["Resource"] == denial.resource(instance)
    assert asked_twice(instance) == {}
    assert [name for name, value in canaries().items() if value in done.stderr + done.stdout] == []
    instance.aws.enforce_iam({**policy, "Statement": [*policy["Statement"], *added]})
    again = denial.run(instance)
    assert again.returncode == 0, again.stderr


def test_what_is_denied_is_all_told_at_once(instance: Lab) -> None:
    instance.aws.enforce_iam(
        without(instance.world.role_policy(), "ssm:GetParametersByPath", "secretsmanager:GetSecretValue")
    )

    done = ask_env(instance)

    assert done.returncode == 77
    wanted = {(statement["Action"], statement["Resource"]) for statement in statements(done.stderr)}
    assert wanted == {
        ("ssm:GetParametersByPath", PARAMETERS_ARN),
        ("secretsmanager:GetSecretValue", SECRETS_ARN),
        ("secretsmanager:GetSecretValue", instance.world.database_secret_arn),
        ("secretsmanager:GetSecretValue", instance.world.license_secret_arn),
    }


def test_without_list_secrets_the_usual_secret_is_read_and_the_statement_told(instance: Lab) -> None:
    whole = json.loads(ask_env(instance).stdout)
    instance.world.put_secret(f"{NAMESPACE}/{ROLE}/more", {"LOG_LEVEL": "from the other secret"})
    instance.aws.enforce_iam(without(instance.world.role_policy(), "secretsmanager:ListSecrets"))
    instance.aws.clear_calls()

    done = ask_env(instance)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == whole
    [warning] = [event["text"] for event in reports.events(done.stderr) if "ListSecrets" in event.get("text", "")]
    assert '{"Effect": "Allow", "Action": "secretsmanager:ListSecrets", "Resource": "*"}' in warning
    assert asked_twice(instance) == {}


def test_without_batches_each_secret_is_read_by_itself(instance: Lab) -> None:
    instance.world.put_secret(f"{NAMESPACE}/{ROLE}/more", {"LOG_LEVEL": "from the other secret"})
    whole = json.loads(ask_env(instance).stdout)
    assert whole["variables"]["LOG_LEVEL"] == "from the other secret"
    instance.aws.enforce_iam(without(instance.world.role_policy(), "secretsmanager:BatchGetSecretValue"))
    instance.aws.clear_calls()

    done = ask_env(instance)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == whole
    world = instance.world
    assert sorted(call.resource for call in instance.aws.calls("secretsmanager:GetSecretValue")) == sorted(
        [f"{NAMESPACE}/{ROLE}/more", f"{NAMESPACE}/{ROLE}/secrets", world.database_secret_arn, world.license_secret_arn]
    )
    assert asked_twice(instance) == {}


NOT_AUTHORIZED = (
    "User: arn:aws:sts::123456789012:assumed-role/lab-role/i-0123456789abcdef0 is not authorized to perform:"
    f" kms:Decrypt on resource: {KEY} because no identity-based policy allows the kms:Decrypt action"
)
CIPHERTEXT = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not"
    " allowed to access. (Service: AWSKMS; Status Code: 400; Error Code: AccessDeniedException)"
)


@pytest.mark.parametrize(
    ("call", "message", "resource"),
    [
        ("ssm:GetParametersByPath", NOT_AUTHORIZED, KEY),
        ("secretsmanager:GetSecretValue", NOT_AUTHORIZED, KEY),
        # What Secrets Manager says: no action, no key.
        ("secretsmanager:GetSecretValue", "Access to KMS is not allowed", ANY_KEY),
        (
            "ssm:GetParametersByPath",
            CIPHERTEXT,
            ANY_KEY,
        ),
    ],
)
def test_a_key_that_may_not_be_used_is_told_as_such(instance: Lab, call: str, message: str, resource: str) -> None:
    # The lab's IAM knows nothing of keys: it says what AWS says.
    instance.aws.enforce_iam(without(instance.world.role_policy(), "secretsmanager:BatchGetSecretValue"))
    instance.aws.add_fault(Fault(call, code="AccessDeniedException", message=message, times=None))

    done = ask_env(instance)

    assert done.returncode == 77, done.stderr
    wanted = {(statement["Action"], statement["Resource"]) for statement in statements(done.stderr)}
    assert wanted == {("kms:Decrypt", resource)}
    assert asked_twice(instance) == {}


def test_a_source_that_no_variable_needs_may_be_denied(instance: Lab) -> None:
    instance.aws.enforce_iam({"Version": "2012-10-17", "Statement": []})
    write_files(instance, f"service: {ROLE}\nvariables:\n- {{name: ENVIRONMENT, source: local}}\n")

    done = ask(instance)

    assert done.returncode == 0, done.stderr
    assert not set(SECRETS) & set(json.loads(done.stdout)["variables"])
