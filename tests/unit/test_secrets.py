"""Secrets Manager through the adapter: names, batches, single secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from agent.aws.secrets import Secrets
from agent.errors import AccessDenied, AwsError
from tests.unit.fakes_aws import FakeSecretsManager, arn_of

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def reader(manager: FakeSecretsManager) -> Secrets:
    return Secrets(cast("SecretsManagerClient", manager))


def test_names_come_from_all_pages_and_only_with_the_exact_prefix() -> None:
    names = [f"ns/api/{letter}" for letter in "abcdefg"]
    manager = FakeSecretsManager(dict.fromkeys([*names, "NS/API/x", "ns/apian", "ns/web/y"], "{}"))

    assert reader(manager).names("ns/api/") == names


def test_a_batch_follows_its_tokens_and_answers_in_the_order_asked() -> None:
    names = [f"s{number}" for number in range(7)]
    manager = FakeSecretsManager({name: f"value of {name}" for name in names})

    answers = reader(manager).batch(names[::-1])

    assert [answer.text.reveal() for answer in answers if answer.text] == [f"value of {name}" for name in names[::-1]]
    assert manager.calls == ["BatchGetSecretValue(7)"] * 3


def test_a_batch_tells_absent_and_denied_ones_apart() -> None:
    manager = FakeSecretsManager({"a": "x", "b": "y"}, refuses=frozenset({"b"}))

    there, denied, absent = reader(manager).batch(["a", "b", "c"])

    assert there.text is not None
    assert denied.denied is not None
    assert '"Action": "secretsmanager:GetSecretValue"' in denied.denied.details[0]
    assert absent.text is None
    assert absent.denied is None


def test_what_a_batch_passes_over_is_asked_for_by_itself() -> None:
    manager = FakeSecretsManager({"a": "x", "b": "y"}, silent=frozenset({"b"}))

    answers = reader(manager).batch(["a", "b"])

    assert [answer.text.reveal() for answer in answers if answer.text] == ["x", "y"]
    assert manager.calls == ["BatchGetSecretValue(2)", "GetSecretValue(b)"]


def test_denied_batches_and_lists_raise() -> None:
    manager = FakeSecretsManager(refuses=frozenset({"BatchGetSecretValue", "ListSecrets"}))

    with pytest.raises(AccessDenied, match="BatchGetSecretValue"):
        reader(manager).batch(["a"])
    with pytest.raises(AccessDenied, match="ListSecrets"):
        reader(manager).names("ns/api/")


def test_one_secret_is_there_absent_or_denied() -> None:
    manager = FakeSecretsManager({"ns/api/a": "x", "ns/api/b": "y"}, refuses=frozenset({"ns/api/b"}))

    there, denied, absent = (reader(manager).one(f"ns/api/{name}") for name in "abc")

    assert there.text is not None
    assert there.text.reveal() == "x"
    assert denied.denied is not None
    assert "arn:aws:secretsmanager:eu-central-1:*:secret:ns/api/*" in denied.denied.details[0]
    assert absent.text is None


def test_other_failures_of_one_secret_raise() -> None:
    manager = FakeSecretsManager({"a": "x"}, refuses=frozenset({"a"}), code="DecryptionFailure")

    with pytest.raises(AwsError, match="DecryptionFailure"):
        reader(manager).one("a")
    with pytest.raises(AwsError, match="DecryptionFailure"):
        reader(manager).batch(["a"])


def test_unknown_credentials_are_not_taken_for_a_denied_secret() -> None:
    manager = FakeSecretsManager({"a": "x"}, refuses=frozenset({"a"}), code="UnrecognizedClientException")

    with pytest.raises(AccessDenied, match="UnrecognizedClientException"):
        reader(manager).one("a")


def test_an_arn_is_answered_under_the_arn_and_bytes_are_read_as_text() -> None:
    manager = FakeSecretsManager({"a": b"\xc3\xa9\xff"})

    (answer,) = reader(manager).batch([arn_of("a")])

    assert answer.asked == arn_of("a")
    assert answer.text is not None
    assert answer.text.reveal() == "é\udcff"


def test_an_answer_does_not_show_its_value() -> None:
    assert "c4nary" not in repr(reader(FakeSecretsManager({"a": "c4nary"})).one("a"))


def test_a_secret_of_a_batch_that_failed_for_a_moment_is_asked_for_by_itself() -> None:
    class Recovering(FakeSecretsManager):
        def batch_get_secret_value(self, *, SecretIdList: list[str], NextToken: str = "0") -> dict[str, object]:  # noqa: N803 - the name is AWS's
            answer = super().batch_get_secret_value(SecretIdList=SecretIdList, NextToken=NextToken)
            self.refuses = frozenset()
            return answer

    manager = Recovering({"ns/a": "1", "ns/b": "2"}, refuses=frozenset({"ns/b"}), code="InternalServiceError")

    answers = reader(manager).batch(["ns/a", "ns/b"])

    assert [answer.text.reveal() for answer in answers if answer.text] == ["1", "2"]
    assert manager.calls == ["BatchGetSecretValue(2)", "GetSecretValue(ns/b)"]
