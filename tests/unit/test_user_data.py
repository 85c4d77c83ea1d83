"""The bootstrap file from user data and tags: what is taken, what is refused, and that bash reads it as meant."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from agent.aws.imds import Imds
from agent.errors import BootstrapError
from agent.shell import file as shell_file
from agent.steps import user_data
from agent.steps.user_data import Found, find, section_of
from tests.lab.loopback import Loopback
from tests.unit.fakes import FakeClock
from tests.unit.test_imds import TREE, Service

VALUES = {
    "ENVIRONMENT": "prod",
    "HOSTNAME": "api-1",
    "SERVER_ROLE": "api",
    "ECR_REGISTRY": "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
    "ECR_TAG": "1.4.2",
    "CONFIG_BUCKET": "delphi-config",
    "CONFIG_REF": "v1",
    "NAMESPACE": "delphi/prod",
    "AWS_REGION": "eu-west-1",
}
PATH = Path("/opt/deployment/.env")
TAGS = "meta-data/tags/instance"


def section(**changes: object) -> str:
    values = {name: value for name, value in {**VALUES, **changes}.items() if value is not None}
    return json.dumps({"delphi": values})


def tagged(**values: str) -> dict[str, str]:
    listing = "\n".join(["Name", *(f"delphi:{name}" for name in values)])
    return {f"{TAGS}/": listing, **{f"{TAGS}/delphi:{name}": value for name, value in values.items()}}


def given(text: str | None = None, tree: dict[str, str] | None = None) -> Found | None:
    world = {**TREE, **(tree or {}), **({} if text is None else {"user-data": text})}
    with Loopback(Service(world)) as server:
        return find(Imds({"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url}), PATH, FakeClock().deadline())


def values_of(found: Found | None) -> dict[str, str]:
    assert found is not None
    return shell_file.parse(found.data, "file").values()


def faults(text: str | None = None, tree: dict[str, str] | None = None) -> BootstrapError:
    with pytest.raises(BootstrapError) as caught:
        given(text, tree)
    assert "c4naryV4lue" not in f"{caught.value} {caught.value.next_step} {caught.value.details}"
    return caught.value


def test_the_section_of_plain_user_data_is_a_bootstrap_file() -> None:
    found = given(section())

    assert values_of(found) == VALUES
    assert found is not None
    assert found.source == "the user data's section `delphi`"


def test_the_section_of_base64_user_data_is_a_bootstrap_file() -> None:
    text = base64.encodebytes(section().encode()).decode()

    assert values_of(given(text)) == VALUES


def test_bash_reads_every_value_as_it_was_meant(tmp_path: Path) -> None:
    awkward = "a b'c\"d$e`f\\g\n#h  ~*{x,y}; é東🚀 "
    found = given(section(X_AWKWARD=awkward, X_EMPTY="", X_TILDE="~/x", X_EQUALS="a=b"))
    assert found is not None
    (tmp_path / "env").write_bytes(found.data)
    script = f'set -a; . {tmp_path}/env; printf "%s" "$X_AWKWARD|$X_EMPTY|$X_TILDE|$X_EQUALS"'

    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={})

    assert done.stdout.decode() == f"{awkward}||~/x|a=b"


def test_tags_are_a_bootstrap_file_too_and_user_data_wins_over_them() -> None:
    from_tags = given(None, tagged(**VALUES))
    both = given(section(ECR_TAG="2.0.0", NAMESPACE=None), tagged(ECR_TAG="1.0.0", NAMESPACE="delphi/tags"))

    assert values_of(from_tags) == VALUES
    assert values_of(both) == {**VALUES, "ECR_TAG": "2.0.0", "NAMESPACE": "delphi/tags"}
    assert both is not None
    assert both.source == "the user data's section `delphi` and the tags `delphi:NAME`"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#!/bin/sh\necho hi\n",
        "#cloud-config\ndelphi: {}\n",
        "[1]",
        '"x"',
        "7",
        '{"other": {}}',
        "ZGVscGhp",
        "[" * 9999,
    ],
)
def test_user_data_that_is_somebody_else_s_says_nothing(text: str) -> None:
    assert section_of(text) is None


def test_an_instance_that_gives_nothing_says_nothing() -> None:
    assert given() is None
    assert given("#!/bin/sh\n", {f"{TAGS}/": "Name"}) is None
    assert given('{"delphi": {}}') is None


@pytest.mark.parametrize("value", [[], "x", None, 7])
def test_a_section_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(BootstrapError) as caught:
        section_of(json.dumps({"delphi": value}))

    assert "must be an object" in caught.value.details[0]


def test_all_faults_are_told_at_once_without_a_value() -> None:
    bad: dict[str, object] = {"A-B": "c4naryV4lue", "A B": "x", "N": 7, "L": ["c4naryV4lue"]}
    error = faults(section(**bad))

    assert error.exit_status == 78
    assert error.cause == "4 faults"
    assert "'A-B' is no name of a variable" in error.details[0]
    assert error.details[2].endswith("N must be a string (in quotes)")


@pytest.mark.parametrize("name", ["UID", "RANDOM"])
def test_a_name_that_bash_owns_is_refused(name: str) -> None:
    assert name in faults(section(**{name: "c4naryV4lue"})).details[0]


@pytest.mark.parametrize("value", ["a\r\nb", "a\x00b", "\ud800"])
def test_a_value_that_a_file_cannot_hold_is_refused(value: str) -> None:
    assert "bash would not read this value or name as it is: X" in faults(section(X=value)).details[0]


def test_what_would_not_load_is_not_written() -> None:
    error = faults(section(CONFIG_BUCKET=None, AWS_REGION="nowhere"))

    assert "CONFIG_BUCKET is not set" in error.details[0]
    assert "AWS_REGION must be a region" in error.details[1]
    assert "user data or tags" in error.next_step


def test_a_secret_in_a_tag_is_refused() -> None:
    error = faults(section(), tagged(AWS_SECRET_ACCESS_KEY="c4naryV4lue"))

    assert "AWS_SECRET_ACCESS_KEY is a secret and does not belong in a tag" in error.details[0]


def test_a_file_does_not_show_its_values() -> None:
    assert "delphi-config" not in repr(given(section()))
    assert user_data.HEAD.startswith("#")
