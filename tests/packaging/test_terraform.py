"""The Terraform module: validated, applied to an AWS of the test's own, and unchanged by a second plan.

Needs `terraform` on the PATH and a mirror folder of its AWS provider: neither can be had from a package index. Where
they are missing, the tests are skipped and say so.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from agent.cli.main import main
from agent.doctor import signal_rights
from agent.shell import file as shell_file
from agent.steps import bootstrap
from tests.packaging import tools
from tests.packaging.checkout import CHECKOUT

MODULE = CHECKOUT / "packaging/terraform"
MIRROR = Path(os.environ.get("DELPHI_TERRAFORM_MIRROR", "/opt/tf-plugins"))
ACCOUNT = {"region_name": "eu-west-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
ENDPOINTS = ("autoscaling", "ec2", "iam", "sts")
VARIABLES = {
    "ENVIRONMENT": "prod",
    "SERVER_ROLE": "media",
    "ECR_REGISTRY": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "ECR_TAG": "1.4.2",
    "CONFIG_BUCKET": "delphi-config",
    "CONFIG_REF": "v1",
    "CONFIG_SLUG": "delphi",
    "NAMESPACE": "delphi/prod",
    "AWS_REGION": "eu-west-1",
    "ODD": """it's "odd": $HOME `id` <&> \\ # {x}""",
}


class Terraform:
    """Terraform in a folder, with a provider from the mirror and nobody to talk to but this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "terraformrc").write_text(f'provider_installation {{ filesystem_mirror {{ path = "{MIRROR}" }} }}\n')

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = {
            "TF_CLI_CONFIG_FILE": str(self.folder / "terraformrc"),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return tools.run("terraform", *words, "-no-color", cwd=self.folder, env=env)

    def well(self, *words: str) -> str:
        done = self(*words)
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    if not shutil.which("terraform"):
        pytest.skip("terraform is not installed, and no package index has it")
    if not list(MIRROR.glob("registry.terraform.io/hashicorp/aws/*")):
        pytest.skip(f"no mirror of Terraform's AWS provider in {MIRROR} (DELPHI_TERRAFORM_MIRROR names another one)")
    return Terraform(tmp_path_factory.mktemp("terraform"))


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def policy(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the agent prints for the role of the example bundle."""
    path = folder / ".env"
    path.write_text("".join(f"{name}={value}\n" for name, value in VARIABLES.items() if name != "ODD") + "HOSTNAME=x\n")
    path.chmod(0o600)
    manifest = CHECKOUT / "packaging/examples/media/vars.yaml"
    assert main(["doctor", "--iam-policy", "--bootstrap", str(path), "--manifest", str(manifest)]) == 0
    return capsys.readouterr().out


def described(url: str, service: str) -> Any:  # noqa: ANN401 - a client has no type of its own
    return boto3.client(service, endpoint_url=url, **ACCOUNT)  # type: ignore[call-overload]  # the stubs know services by literal names


def root(folder: Path, url: str, variables: Mapping[str, str]) -> None:
    """A configuration that uses the module."""
    ec2 = described(url, "ec2")
    shutil.copytree(MODULE, folder / "module", dirs_exist_ok=True)
    provider = {
        "region": ACCOUNT["region_name"],
        "access_key": "x",
        "secret_key": "x",
        "skip_credentials_validation": True,
        "skip_metadata_api_check": True,
        "skip_requesting_account_id": True,
        "skip_region_validation": True,
        "endpoints": [dict.fromkeys(ENDPOINTS, url)],
    }
    module = {
        "source": "./module",
        "name": "delphi-prod-media",
        "iam_policy": '${file("${path.module}/policy.json")}',
        "bootstrap": {name: value.replace("${", "$${") for name, value in variables.items()},
        "image_id": ec2.describe_images()["Images"][0]["ImageId"],
        "subnet_ids": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
        "security_group_ids": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
        # Without tags of everything: moto tells a launch template's own as those of what it starts, AWS does not.
    }
    document = {"provider": {"aws": provider}, "module": {"fleet": module}}
    (folder / "main.tf.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    "line",
    [
        'http_tokens = "required"',
        "http_put_response_hop_limit = 2",
        'instance_metadata_tags = "enabled"',
        "policy = var.iam_policy",
        'default_result = "ABANDON"',
    ],
)
def test_what_keeps_instances_safe_is_in_the_module(line: str) -> None:
    # Where there is no Terraform to apply it.
    lines = [" ".join(text.split()) for text in (MODULE / "main.tf").read_text().splitlines()]

    assert lines.count(line) == 1


def test_its_rights_to_the_launch_hook_are_those_that_the_agent_asks_for() -> None:
    asked = {right.action for right in signal_rights.of({"SIGNAL_ASG": "delphi-agent"})}

    assert set(re.findall(r'"(autoscaling:[A-Z][a-z][A-Za-z]+)"', (MODULE / "main.tf").read_text())) == asked


@pytest.mark.slow
def test_the_module_is_in_form(terraform: Terraform) -> None:
    done = terraform("fmt", "-check", "-recursive", "-diff", str(MODULE))

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
def test_the_module_is_valid(terraform: Terraform) -> None:
    for path in MODULE.glob("*.tf"):
        shutil.copy(path, terraform.folder)

    terraform.well("init", "-input=false")

    assert "The configuration is valid." in terraform.well("validate")


@pytest.mark.slow
@pytest.mark.usefixtures("terraform")
def test_applied_it_gives_what_it_says_and_a_second_plan_is_empty(
    aws: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Terraform(tmp_path)
    printed = policy(tmp_path, capsys)
    (tmp_path / "policy.json").write_text(printed)
    root(tmp_path, aws, VARIABLES)

    fleet.well("init", "-input=false")
    fleet.well("apply", "-auto-approve", "-input=false")
    again = fleet("plan", "-detailed-exitcode", "-input=false")

    assert again.returncode == 0, again.stdout
    _check_rights(described(aws, "iam"), printed)
    _check_start(described(aws, "ec2"))
    _check_group(described(aws, "autoscaling"))


def _check_rights(iam: Any, printed: str) -> None:  # noqa: ANN401 - see described()
    name = "delphi-prod-media"
    trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert [one["Principal"] for one in trust] == [{"Service": "ec2.amazonaws.com"}]
    assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
    inline = {
        one: iam.get_role_policy(RoleName=name, PolicyName=one)["PolicyDocument"]
        for one in iam.list_role_policies(RoleName=name)["PolicyNames"]
    }
    assert inline.pop("delphi-agent") == json.loads(printed)
    ((hook, lookup),) = [one["Statement"] for one in inline.values()]
    assert hook["Resource"].endswith(
        f"autoscaling:eu-west-1:123456789012:autoScalingGroup:*:autoScalingGroupName/{name}"
    )
    assert all(action.startswith("autoscaling:Describe") for action in lookup["Action"])


def _check_start(ec2: Any) -> None:  # noqa: ANN401 - see described()
    answer = ec2.describe_launch_template_versions(LaunchTemplateName="delphi-prod-media", Versions=["$Latest"])
    data = answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert data["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 2,
        "InstanceMetadataTags": "enabled",
    }
    text = base64.b64decode(data["UserData"]).decode()
    assert text.startswith("## template: jinja\n#cloud-config\n")
    document = yaml.safe_load(text)
    (file,) = document["write_files"]
    wanted = {**VARIABLES, "HOSTNAME": "media-{{ v1.instance_id }}", "SIGNAL_ASG": "delphi-agent"}
    assert (file["path"], file["permissions"]) == ("/opt/deployment/.env", "0600")
    assert shell_file.parse(file["content"].encode(), "it").values() == wanted
    assert document["runcmd"] == [["delphi-agent", "init"]]


def _check_group(autoscaling: Any) -> None:  # noqa: ANN401 - see described()
    (group,) = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    (hook,) = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=group["AutoScalingGroupName"])["LifecycleHooks"]
    assert hook["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_LAUNCHING"
    assert (hook["LifecycleHookName"], hook["DefaultResult"], hook["HeartbeatTimeout"]) == (
        "delphi-agent",
        "ABANDON",
        900,
    )
    assert group["LaunchTemplate"]["LaunchTemplateName"] == "delphi-prod-media"


@pytest.mark.slow
@pytest.mark.usefixtures("terraform")
@pytest.mark.parametrize(
    "change",
    [
        *[{name: None} for name in bootstrap.REQUIRED if name != "HOSTNAME"],
        {"HOSTNAME": "api-1"},
        {"AWS_SECRET_ACCESS_KEY": "x"},
        {"A B": "x"},
        {"X": "{{ 7 * 7 }}"},
        {"X": "1\nY=2"},
        {},
    ],
    ids=str,
)
def test_what_cannot_be_a_bootstrap_file_is_refused(tmp_path: Path, change: dict[str, str | None]) -> None:
    # Without resources there is no provider to start.
    alone = Terraform(tmp_path)
    shutil.copy(MODULE / "variables.tf", tmp_path)
    merged = {**VARIABLES, **change}
    bootstrap_ = {name: value for name, value in merged.items() if value is not None}
    others = {
        "name": "x",
        "iam_policy": '{"Statement": []}',
        "image_id": "x",
        "subnet_ids": [],
        "security_group_ids": [],
    }
    (tmp_path / "terraform.tfvars.json").write_text(json.dumps({**others, "bootstrap": bootstrap_}))

    done = alone("plan", "-input=false")

    assert ("Invalid value for variable" in done.stdout, done.returncode) == ((True, 1) if change else (False, 0))
