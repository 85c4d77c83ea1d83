"""The templates for cloud-init, Packer and SSM: each goes through its own tool, and does what its comments say."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from agent.cli.main import main
from tests.packaging import tools
from tests.packaging.checkout import CHECKOUT

PACKAGING = CHECKOUT / "packaging"
USER_DATA = ["ec2", "hetzner"]
INSTANCE = {"v1": {"instance_id": "i-0123456789abcdef0"}}
JINJA = "## template: jinja\n"
DIGEST = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def cloud_init(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Debian's cloud-init, with the Python packages that Debian gives it."""
    unpacked = tools.debian("cloud-init") / "usr/lib/python3/dist-packages"
    programs = tools.python(
        "cloud-init", "configobj==5.0.9", "jinja2==3.1.6", "jsonpatch==1.33", "jsonschema==4.23.0", "oauthlib==3.2.2",
        "pyyaml==6.0.2", "requests==2.32.5",
    )  # fmt: skip
    return tools.run(programs / "python", *words, env={"PYTHONPATH": str(unpacked)})


def user_data(name: str, folder: Path) -> Path:
    """What the instance makes of it: Jinja is filled in from its metadata."""
    source, made = PACKAGING / "cloud-init" / f"{name}.yaml", folder / "user-data.yaml"
    if not source.read_text().startswith(JINJA):
        return Path(shutil.copy(source, made))
    (folder / "instance-data.json").write_text(json.dumps(INSTANCE))
    done = cloud_init("-m", "cloudinit.cmd.main", "devel", "render", "-i", folder / "instance-data.json", source)
    assert done.returncode == 0, done.stdout
    made.write_text(done.stdout)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", USER_DATA)
def test_cloud_init_takes_the_user_data(name: str, tmp_path: Path) -> None:
    schema = ("-m", "cloudinit.cmd.main", "schema", "--config-file")
    path = user_data(name, tmp_path)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(path.read_text().replace("permissions: '0600'", "permissions: 0600"))

    assert cloud_init(*schema, path).stdout == f"Valid cloud-config: {path}\n"
    assert cloud_init(*schema, wrong).returncode == 1


@pytest.mark.parametrize("name", USER_DATA)
def test_the_bootstrap_file_in_the_user_data_is_one(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (PACKAGING / "cloud-init" / f"{name}.yaml").read_text()
    (file,) = yaml.safe_load(text.replace("{{ v1.instance_id }}", INSTANCE["v1"]["instance_id"]))["write_files"]
    path = tmp_path / ".env"
    path.write_text(file["content"])
    path.chmod(int(file["permissions"], 8))

    assert (file["path"], file["owner"], file["permissions"]) == ("/opt/deployment/.env", "root:root", "0600")
    assert main(["check", "--bootstrap", str(path), str(PACKAGING / "examples/media")]) == 0, capsys.readouterr().out
    assert "0 errors, 0 warnings" in capsys.readouterr().out


def stand_ins(folder: Path, *names: str) -> Path:
    """Programs that only write down how they were called, a line each."""
    folder.mkdir()
    for name in names:
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{folder}/calls\n')
        (folder / name).chmod(0o755)
    (folder / "calls").touch()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("digest_is_right", [True, False])
def test_on_hetzner_only_the_named_package_is_installed(digest_is_right: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter
    bin_ = stand_ins(tmp_path / "bin", "curl", "apt-get", "systemctl", "delphi-agent")
    package = tmp_path / "delphi-agent.deb"
    package.write_text("" if digest_is_right else "another")
    data = tmp_path / "user-data.yaml"
    data.write_text(
        (PACKAGING / "cloud-init/hetzner.yaml").read_text().replace("/var/cache/delphi-agent.deb", str(package))
    )
    shellify = "import sys, yaml, cloudinit.util as u; print(u.shellify(yaml.safe_load(open(sys.argv[1]))['runcmd']))"
    script = tmp_path / "runcmd"
    script.write_text(cloud_init("-c", shellify, data).stdout)

    done = tools.run("sh", script, env={"PATH": f"{bin_}:/usr/bin:/bin"})
    calls = [line.split()[0] for line in (bin_ / "calls").read_text().splitlines()]

    assert DIGEST in script.read_text()
    assert (done.returncode == 0) == digest_is_right, done.stdout
    assert calls == (["curl", "apt-get", "systemctl", "delphi-agent"] if digest_is_right else ["curl"])


PACKER = PACKAGING / "packer/delphi-agent.pkr.hcl"
# What Debian's Packer, 1.6.6, does not know yet.
NEWER = re.compile(r"^  # Packer 1\.7 and later.*?^  # Packer 1\.7: end\.\n", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_packer_takes_the_template(tmp_path: Path) -> None:
    packer = tools.debian("packer") / "usr/bin/packer"
    text, cut = NEWER.subn("", PACKER.read_text())
    asked = re.findall(r'variable "([a-z_]+)" {\n(?:(?!  default|}).*\n)*}', text)
    values = [f"-var={name}={PACKER if name == 'agent_package' else 'x'}" for name in asked]
    environment = {"HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"}

    def validate(template: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "template"
        folder.mkdir(exist_ok=True)
        (folder / PACKER.name).write_text(template)
        return tools.run(packer, "validate", *values, folder, env=environment)

    good, wrong = validate(text), validate(text.replace("ami_name ", "amy_name "))
    form = tools.run(packer, "fmt", "-check", "-diff", PACKER.parent, env=environment)

    assert cut == 1
    assert (good.returncode, good.stdout) == (0, ""), good.stdout
    assert wrong.returncode == 1
    assert (form.returncode, form.stdout) == (0, ""), form.stdout


def test_the_last_thing_of_the_image_build_is_to_clean_it() -> None:
    text = PACKER.read_text()

    assert text.index("systemctl enable delphi-agent") < text.index("delphi-agent bake --role")
    assert text.rstrip().endswith('inline          = ["delphi-agent clean --for-image --yes"]\n  }\n}')


SSM = PACKAGING / "ssm/delphi-agent-rerun.yaml"
PARAMETERS: dict[str, Any] = yaml.safe_load(SSM.read_text())["parameters"]
(STEP,) = yaml.safe_load(SSM.read_text())["mainSteps"]
FREE = [name for name, one in PARAMETERS.items() if "allowedPattern" in one]
HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "x; touch pwned",
    "x'; touch pwned; '",
    'x"; touch pwned; "',
    "x\ntouch pwned",
    "|touch pwned",
    "--help",
    "x y",
    "*",
    "{{ Action }}",
    "\\",
]


def rerun(folder: Path, script: str, **env: str) -> list[str]:
    """The words that the agent is called with, in the end."""
    bin_ = folder / "bin"
    bin_.mkdir(exist_ok=True)
    (bin_ / "delphi-agent").write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    (bin_ / "delphi-agent").chmod(0o755)
    done = tools.run("sh", "-c", script, cwd=folder, env={"PATH": f"{bin_}:/usr/bin:/bin", **env})
    assert done.returncode == 0, done.stdout
    return done.stdout.split("\0")[:-1]


def filled_in(**values: str) -> str:
    """The script as an SSM agent makes it that knows no environment variables."""
    (script,) = STEP["inputs"]["runCommand"]
    for name, one in PARAMETERS.items():
        script = script.replace(f"{{{{ {name} }}}}", values.get(name, one["default"]))
    return str(script)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", FREE)
def test_a_hostile_parameter_is_refused_by_ssm_and_would_not_be_run(name: str, value: str, tmp_path: Path) -> None:
    (script,) = STEP["inputs"]["runCommand"]
    option = {"EcrTag": "--ecr-tag", "ConfigRef": "--config-ref"}[name]
    environment = {f"SSM_{one}": "" for one in FREE} | {"SSM_Action": "update", f"SSM_{name}": value}

    assert not re.fullmatch(PARAMETERS[name]["allowedPattern"], value)
    assert rerun(tmp_path, script, **environment) == ["update", "--yes", "--lock-wait", "300", f"{option}={value}"]
    assert not (tmp_path / "pwned").exists()


@settings(max_examples=15, deadline=None)
@given(
    tag=st.from_regex(PARAMETERS["EcrTag"]["allowedPattern"]),
    ref=st.from_regex(PARAMETERS["ConfigRef"]["allowedPattern"]),
)
def test_an_allowed_parameter_arrives_as_it_is_with_an_old_ssm_agent_too(
    tag: str, ref: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = filled_in(Action="update", EcrTag=tag, ConfigRef=ref)

    words = rerun(tmp_path_factory.mktemp("ssm"), script)

    given_ = ([f"--ecr-tag={tag}"] if tag else []) + ([f"--config-ref={ref}"] if ref else [])
    assert words == ["update", "--yes", "--lock-wait", "300", *given_]


def test_without_parameters_the_rerun_is_a_plain_init(tmp_path: Path) -> None:
    assert rerun(tmp_path, filled_in()) == ["init"]
    assert PARAMETERS["Action"]["allowedValues"] == ["init", "update"]
    assert all(one["interpolationType"] == "ENV_VAR" for one in PARAMETERS.values())


def aws_lines() -> dict[str, dict[str, Any]]:
    """The two commands of the document's comment, as the AWS CLI would send them: operation -> parameters."""
    comment = "".join(line.lstrip("#") for line in SSM.read_text().splitlines(keepends=True) if line.startswith("#"))
    commands = re.findall(r"^   (aws .*)$", comment.replace("\\\n", " "), re.MULTILINE)
    found = {}
    for _, service, operation, *words in map(shlex.split, commands):
        assert service == "ssm"
        pairs = dict(zip(words[::2], words[1::2], strict=True))
        found[operation] = {
            "".join(part.capitalize() for part in option.removeprefix("--").split("-")): value
            for option, value in pairs.items()
        }
    return found


def fields(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(","))


def test_the_commands_that_make_and_send_it_are_what_aws_takes() -> None:
    lines = aws_lines()
    create, send = lines["create-document"], lines["send-command"]
    assert create["Content"] == f"file://{SSM.relative_to(CHECKOUT)}"
    create["Content"] = SSM.read_text()
    target = fields(send["Targets"])
    send["Targets"] = [{"Key": target["Key"], "Values": [target["Values"]]}]
    send["Parameters"] = {name: [value] for name, value in fields(send["Parameters"]).items()}
    send["TimeoutSeconds"] = int(send["TimeoutSeconds"])
    model = botocore.session.Session().get_service_model("ssm")

    for operation, parameters in (("CreateDocument", create), ("SendCommand", send)):
        shape = model.operation_model(operation).input_shape
        assert shape is not None
        report = ParamValidator().validate(parameters, shape)
        assert not report.has_errors(), report.generate_report()
    # Of these the validator does not look at the form.
    assert re.fullmatch("[1-9][0-9]?%|100%|[1-9][0-9]*", send["MaxConcurrency"])
    assert re.fullmatch("[1-9][0-9]?%|0|[1-9][0-9]*", send["MaxErrors"])
    for name, (value,) in send["Parameters"].items():
        one = PARAMETERS[name]
        assert value in one["allowedValues"] if "allowedValues" in one else re.fullmatch(one["allowedPattern"], value)


@mock_aws
def test_ssm_takes_the_document() -> None:
    client = boto3.client("ssm", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    create = {**aws_lines()["create-document"], "Content": SSM.read_text()}

    made = client.create_document(**create)["DocumentDescription"]

    assert {one["Name"] for one in made["Parameters"]} == set(PARAMETERS)
    assert (made["SchemaVersion"], made["DocumentType"], made["Status"]) == ("2.2", "Command", "Active")


KINDS = {".yaml", ".yml", ".hcl", ".tf", ".tftpl"}


def test_templates_name_packages_as_they_are_built() -> None:
    scripts = "".join(path.read_text() for path in PACKAGING.glob("*/build.sh"))
    built = set(re.findall(r"delphi-agent[_-]\$\{?version[\w.}-]+\.(?:deb|rpm)", scripts))
    texts = [path.read_text() for path in PACKAGING.glob("*/**/*") if path.suffix in KINDS]
    found = {name for text in texts for name in re.findall(r"delphi-agent[_-]\d[\w.-]*\.(?:deb|rpm)\b", text)}

    made = {re.sub(r"\$\{?version\}?", "1.0.0", name) for name in built}

    assert made == {"delphi-agent_1.0.0_all.deb", "delphi-agent-1.0.0-1.noarch.rpm"}
    assert found
    assert {re.sub(r"\d+\.\d+\.\d+", "1.0.0", name) for name in found} <= made


def test_templates_call_the_agent_only_by_commands_and_options_that_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    def helped(*words: str) -> str:
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        return capsys.readouterr().out

    offered = set(re.findall(r"^    ([a-z-]+) ", helped(), re.MULTILINE))
    texts = [path.read_text() for path in PACKAGING.glob("*/**/*") if path.suffix in KINDS]
    found = {line for text in texts for line in re.findall(r"\bdelphi-agent(?:,? )([a-z][^`\"\n]*)", text)}
    used = {line.split()[0].strip(".,]"): set(re.findall(r"--[a-z-]+", line)) for line in found}

    assert {"bake", "clean", "init", "update"} <= set(used) <= offered
    for command, options in used.items():
        assert options <= set(re.findall(r"--[a-z-]+", helped(command)))
