"""SSM through the adapter: pages, kinds, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from agent.aws.parameters import Parameters
from agent.errors import AccessDenied, AwsError
from tests.unit.fakes_aws import FakeSsm, denied, refusal

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


def reader(ssm: FakeSsm) -> Parameters:
    return Parameters(cast("SSMClient", ssm))


def test_all_pages_are_read_in_as_many_calls_as_there_are_pages() -> None:
    ssm = FakeSsm({f"/ns/api/V{number:02}": str(number) for number in range(25)})

    found = reader(ssm).under("/ns/api/")

    assert [parameter.value.reveal() for parameter in found] == [str(number) for number in range(25)]
    assert len(ssm.calls) == 3


def test_deep_names_stay_whole_and_the_kind_is_known() -> None:
    ssm = FakeSsm({"/ns/api/deep/er/A": "x", "/ns/api/B": "y", "/ns/other/C": "z"}, plain=frozenset({"/ns/api/B"}))

    found = reader(ssm).under("/ns/api/")

    assert [(parameter.name, parameter.secure) for parameter in found] == [
        ("/ns/api/B", False),
        ("/ns/api/deep/er/A", True),
    ]


def test_nothing_below_the_path_is_no_error() -> None:
    assert reader(FakeSsm()).under("/ns/api/") == []


def test_a_denial_holds_the_statement_to_add() -> None:
    ssm = FakeSsm(fails=denied("GetParametersByPath", "ssm:GetParametersByPath"))

    with pytest.raises(AccessDenied) as caught:
        reader(ssm).under("/ns/api/")

    assert '"Action": "ssm:GetParametersByPath"' in caught.value.details[0]
    assert '"Resource": "arn:aws:ssm:eu-central-1:*:parameter/ns/api/*"' in caught.value.details[0]


def test_throttling_is_told_as_such() -> None:
    ssm = FakeSsm(fails=refusal("GetParametersByPath", "ThrottlingException", "Rate exceeded"))

    with pytest.raises(AwsError, match="ThrottlingException"):
        reader(ssm).under("/ns/api/")


def test_a_parameter_does_not_show_its_value() -> None:
    assert "c4nary" not in repr(reader(FakeSsm({"/ns/api/A": "c4nary"})).under("/ns/api/"))
