"""The IAM policy of a role, computed from its files alone: nothing more than its calls need, in every partition."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from agent import compose_file
from agent.cli.main import main
from agent.compose_file import ComposeFile
from agent.doctor.policy import Role, notes, partition_of, policy
from agent.doctor.rights import RIGHTS
from agent.errors import UsageError
from agent.steps import project
from agent.variables import manifest
from tests.unit.test_bootstrap import GOOD, loaded, written

COMPOSE = b"services: {api: {image: '${ECR_REGISTRY}/team/app:${ECR_TAG}'}, otel: {image: 'otel/collector:1'}}"
ACCOUNT = "123456789012"
SECRET = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:rds!cluster-1-AbCdEf"
MANIFEST = """
service: api
variables:
- {name: A}
- {name: B, secret: {arn_from: DB_ARN}}
- {name: DB_ARN, source: local}
"""


def composed(folder: Path, text: bytes, **others: str) -> ComposeFile:
    """The project that lies in `folder`, which gets these files."""
    (folder / "compose.yaml").write_bytes(text)
    for name, content in others.items():
        (folder / f"{name}.yaml").write_text(content)
    return compose_file.read(project.find(folder, str(folder)), lambda path: path.name)


def role(tmp_path: Path, text: str = MANIFEST, compose: bytes = COMPOSE, **changes: str | None) -> Role:
    bootstrap = loaded(tmp_path, **{"CONFIG_SLUG": "acme", "DB_ARN": SECRET, **changes})
    return Role(
        bootstrap=bootstrap,
        manifest=manifest.parse(text.encode(), "vars.yaml", known=bootstrap.variables),
        compose=composed(tmp_path, compose),
    )


def statements(made: Role) -> dict[str, dict[str, Any]]:
    return {item["Action"]: item for item in policy(made)["Statement"]}


def test_each_action_is_allowed_once_and_only_on_what_the_role_has(tmp_path: Path) -> None:
    found = statements(role(tmp_path))

    bucket, secret = "arn:aws:s3:::delphi-config", f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret"
    path = f"arn:aws:ssm:eu-central-1:{ACCOUNT}:parameter/delphi/prod/api"
    repository = [f"arn:aws:ecr:eu-central-1:{ACCOUNT}:repository/team/app"]
    assert {action: item["Resource"] for action, item in found.items()} == {
        "s3:ListBucket": [bucket],
        "s3:GetObject": [f"{bucket}/deployments/acme/*/api/*", f"{bucket}/deployments/acme/*/common/*"],
        "ssm:GetParametersByPath": [path, f"{path}/*"],
        "secretsmanager:ListSecrets": ["*"],
        "secretsmanager:BatchGetSecretValue": ["*"],
        "secretsmanager:GetSecretValue": [f"{secret}:delphi/prod/api/*", SECRET],
        "ecr:GetAuthorizationToken": ["*"],
        "ecr:BatchGetImage": repository,
        "ecr:GetDownloadUrlForLayer": repository,
    }
    assert found["s3:ListBucket"]["Condition"] == {
        "StringLike": {"s3:prefix": ["deployments/acme/*/api/*", "deployments/acme/*/common/*"]}
    }
    assert all(item["Effect"] == "Allow" for item in found.values())


def test_without_a_slug_the_slugs_may_be_listed(tmp_path: Path) -> None:
    prefixes = statements(role(tmp_path, CONFIG_SLUG=None))["s3:ListBucket"]["Condition"]["StringLike"]["s3:prefix"]

    assert prefixes == ["deployments/*/*/api/*", "deployments/*/*/common/*", "deployments/"]


def test_a_role_whose_variables_are_all_local_asks_neither_ssm_nor_secrets_manager(tmp_path: Path) -> None:
    made = role(tmp_path, "service: api\nvariables: [{name: ENVIRONMENT, source: local}]")

    assert {action.partition(":")[0] for action in statements(made)} == {"s3", "ecr"}


def test_signals_need_their_rights_only_where_the_bootstrap_file_asks_for_them(tmp_path: Path) -> None:
    more: dict[str, Any] = {"SIGNAL_CFN_RESOURCE": "Group"}
    found = statements(role(tmp_path, SIGNAL_ASG="auto", SIGNAL_CFN_STACK="delphi", **more))
    plain = statements(role(tmp_path, SIGNAL_ASG="off"))

    group = [f"arn:aws:autoscaling:eu-central-1:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/*"]
    assert {action: found[action]["Resource"] for action in found.keys() - plain.keys()} == {
        "autoscaling:DescribeAutoScalingInstances": ["*"],
        "autoscaling:DescribeLifecycleHooks": ["*"],
        "autoscaling:RecordLifecycleActionHeartbeat": group,
        "autoscaling:CompleteLifecycleAction": group,
        "cloudformation:SignalResource": [f"arn:aws:cloudformation:eu-central-1:{ACCOUNT}:stack/delphi/*"],
    }
    named = "arn:aws:cloudformation:eu-central-1:1:stack/delphi/0a1b"
    (by_arn,) = statements(role(tmp_path, SIGNAL_CFN_STACK=named, **more))["cloudformation:SignalResource"]["Resource"]
    assert by_arn == named


def test_a_role_without_images_of_ecr_needs_no_token(tmp_path: Path) -> None:
    made = role(tmp_path, compose=b"services: {x: {image: 'busybox:1'}}")

    assert not [action for action in statements(made) if action.startswith("ecr:")]


@pytest.mark.parametrize(
    ("region", "partition", "suffix"),
    [("cn-north-1", "aws-cn", "com.cn"), ("us-gov-west-1", "aws-us-gov", "com"), ("eu-west-1", "aws", "com")],
)
def test_arns_are_those_of_the_region_s_partition(tmp_path: Path, region: str, partition: str, suffix: str) -> None:
    registry = f"{ACCOUNT}.dkr.ecr.{region}.amazonaws.{suffix}"
    secret = SECRET.replace("aws:", f"{partition}:", 1).replace("eu-central-1", region)

    found = policy(role(tmp_path, AWS_REGION=region, ECR_REGISTRY=registry, DB_ARN=secret))

    arns = [text for item in found["Statement"] for text in item["Resource"] if text != "*"]
    assert {text.split(":")[1] for text in arns} == {partition}
    assert partition_of(region) == partition


def test_the_account_comes_from_a_secret_s_arn_when_the_registry_is_no_ecr(tmp_path: Path) -> None:
    found = statements(role(tmp_path, ECR_REGISTRY="registry.test"))

    assert f":{ACCOUNT}:parameter/" in found["ssm:GetParametersByPath"]["Resource"][0]


def test_an_account_that_nothing_tells_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="account"):
        policy(role(tmp_path, "service: api\nvariables: [{name: A}]", ECR_REGISTRY="registry.test"))


@pytest.mark.parametrize(
    ("given", "resource"),
    [
        (SECRET, SECRET),
        (SECRET.removesuffix("-AbCdEf"), f"{SECRET.removesuffix('-AbCdEf')}-??????"),
        ("shared/db", f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:shared/db-??????"),
    ],
)
def test_a_secret_s_name_is_completed_by_what_aws_adds(tmp_path: Path, given: str, resource: str) -> None:
    found = statements(role(tmp_path, DB_ARN=given))

    assert resource in found["secretsmanager:GetSecretValue"]["Resource"]


def test_an_arn_that_only_aws_knows_is_noted(tmp_path: Path) -> None:
    text = "service: api\nvariables: [{name: DB_ARN2}, {name: B, secret: {arn_from: DB_ARN2}}]"

    assert "DB_ARN2" in notes(role(tmp_path, text))[0]
    assert not [note for note in notes(role(tmp_path)) if "ARNs" in note]


def test_the_table_names_each_action_and_each_call_once() -> None:
    actions, calls = [right.action for right in RIGHTS], [call for right in RIGHTS for call in right.calls]

    assert len(actions) == len(set(actions))
    assert len(calls) == len(set(calls))
    assert "ssm:DescribeParameters" not in actions


def test_the_command_prints_it_with_the_key_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bootstrap = written(tmp_path, {"DB_ARN": SECRET})
    (tmp_path / "vars.yaml").write_text(MANIFEST)
    (tmp_path / "compose.yaml").write_bytes(COMPOSE)
    key = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/1"

    files = ["--bootstrap", str(bootstrap), "--manifest", str(tmp_path / "vars.yaml")]

    code = main(["doctor", "--iam-policy", *files, "--kms-key", key, "--slug", "acme"])

    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert code == 0
    assert document["Version"] == "2012-10-17"
    assert document["Statement"][-1] == {
        "Sid": "UseKeys",
        "Effect": "Allow",
        "Action": "kms:Decrypt",
        "Resource": [key],
    }
    assert GOOD["ECR_TAG"] not in shown.out
    assert "acme" in shown.out


def test_a_partial_arn_whose_name_ends_in_a_word_of_six_letters_stands_for_both(tmp_path: Path) -> None:
    arn = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:prod/db-master"
    found = statements(role(tmp_path, DB_ARN=arn))

    assert [item for item in found["secretsmanager:GetSecretValue"]["Resource"] if "db-master" in item] == [
        arn,
        f"{arn}-??????",
    ]


def repositories(made: Role) -> list[str]:
    found = statements(made).get("ecr:BatchGetImage", {"Resource": []})["Resource"]
    return [text.partition("repository/")[2] for text in found]


def test_images_of_included_extended_and_override_files_are_allowed(tmp_path: Path) -> None:
    text = b"""
    include: [otel.yaml]
    services:
      api: {image: '${ECR_REGISTRY}/app:1'}
      job: {extends: {file: base.yaml, service: job}}
    """
    made = role(tmp_path)
    files = {
        "otel": "services: {otel: {image: '${ECR_REGISTRY}/otel:1'}}",
        "base": "services: {job: {image: '${ECR_REGISTRY}/job:1'}}",
        "compose.override": "services: {api: {image: '${ECR_REGISTRY}/app-slim:1'}}",
    }

    made = dataclasses.replace(made, compose=composed(tmp_path, text, **files))

    assert repositories(made) == ["app-slim", "job", "otel"]
    assert not [note for note in notes(made) if "repository" in note]


@pytest.mark.parametrize(
    ("text", "resources", "note"),
    [
        ("services: {x: {image: '${ECR_REGISTRY}/${A}:1'}}", ["*"], "${ECR_REGISTRY}/${A}:1 (x): not known here: A"),
        ("services: {x: {image: '${ECR_REGISTRY}/team/app${A:+-slim}:1'}}", ["team/app*"], "not known here: A"),
        ("services: {x: {image: '${A}/app:1'}}", ["*"], "not known here: A"),
        ("services: {x: {extends: {file: '${A}.yaml', service: x}}}", ["*"], "the image of x: it extends"),
        ("{include: ['${A}.yaml'], services: {x: {image: a}}}", ["*"], "compose.yaml:1:12: what is included is named"),
        ("{include: [no.yaml], services: {x: {image: a}}}", ["*"], "compose.yaml:1:12: the file that is included is"),
        ("services: {x: {image: '${A:?}${ECR_REGISTRY:+}${'}}", ["*"], "Compose refuses it"),
        ("services: {x: {image: '${ECR_REGISTRY}/app:${A}'}}", ["app"], ""),
        ("services: {x: {image: '${NOBODY}/app:1'}}", [], "${NOBODY}/app:1 (x): no value: NOBODY"),
    ],
)
def test_an_image_that_the_files_do_not_tell_is_allowed_by_a_star_and_named(
    tmp_path: Path, text: str, resources: list[str], note: str
) -> None:
    made = role(tmp_path, compose=text.encode())

    assert repositories(made) == resources
    told = [line for line in notes(made) if not line.startswith("values under")]
    assert any(note in line for line in told) if note else told == []


def test_a_compose_file_that_cannot_be_read_makes_no_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bootstrap = written(tmp_path, {"DB_ARN": SECRET})
    (tmp_path / "vars.yaml").write_text(MANIFEST)
    (tmp_path / "compose.yaml").write_text("services: 'geheim123\n")
    files = ["--bootstrap", str(bootstrap), "--manifest", str(tmp_path / "vars.yaml")]

    assert main(["doctor", "--iam-policy", *files]) == 65

    shown = capsys.readouterr()
    assert shown.out == ""
    assert "compose.yaml:" in shown.err
    assert "geheim123" not in shown.err
