"""What AWS is asked for: everything that can matter, in as few calls as the APIs allow, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from agent.errors import AccessDenied, AwsError, BootstrapError
from agent.host.clock import Deadline, SystemClock
from agent.steps.bootstrap import Bootstrap
from agent.variables.lookup import Lookups, look_up
from agent.variables.manifest import Manifest, parse
from tests.unit.fakes_aws import (
    FakeSecretsManager,
    FakeSsm,
    Meta,
    all_calls,
    arn_of,
    denied,
    parameters_of,
    refusal,
    secrets_of,
)

ARN = arn_of("rds/master")
REMOTE = "service: api\nvariables:\n- {name: A}\n"
EXTERNAL = (
    "service: api\nvariables:\n- {name: DB_MASTER_SECRET_ARN, source: local}\n"
    "- {name: A, secret: {arn_from: DB_MASTER_SECRET_ARN, type: json, key: a}}\n"
    "- {name: B, secret: {arn_from: DB_MASTER_SECRET_ARN, type: json, key: b}}\n"
)


def manifest_of(text: str) -> Manifest:
    return parse(text.encode(), "vars.yaml")


def bootstrap_of(variables: Mapping[str, str] | None = None) -> Bootstrap:
    given = {"NAMESPACE": "delphi/prod", "AWS_REGION": "eu-central-1", **(variables or {})}
    return Bootstrap(path=Path("/opt/deployment/.env"), variables=given, warnings=())


def looked_up(
    text: str, ssm: FakeSsm, *managers: FakeSecretsManager, bootstrap: Mapping[str, str] | None = None
) -> Lookups:
    return look_up(
        manifest_of(text),
        bootstrap_of(bootstrap),
        parameters=parameters_of(ssm),
        secrets=secrets_of(*managers),
        deadline=Deadline.after(SystemClock(), 20),
    )


def texts(lookups: Lookups) -> dict[str, str | None]:
    answers = (*lookups.secrets, *lookups.externals.values())
    return {answer.asked: answer.text.reveal() if answer.text else None for answer in answers}


def test_nothing_is_asked_when_every_variable_is_local() -> None:
    def never(*_: object) -> NoReturn:
        raise AssertionError("asked")

    lookups = look_up(
        manifest_of("service: api\nvariables:\n- {name: A, source: local}\n"),
        bootstrap_of(),
        parameters=never,
        secrets=never,
        deadline=Deadline.after(SystemClock(), 20),
    )

    assert not lookups.asked
    assert lookups.text == "nothing to ask: every variable is local"


def test_parameters_and_secrets_of_the_service_are_read() -> None:
    ssm = FakeSsm({"/delphi/prod/api/A": "1", "/delphi/prod/web/A": "2"})
    manager = FakeSecretsManager({"delphi/prod/api/secrets": "{}", "delphi/prod/api/more": "[]", "delphi/prod/x": ""})

    lookups = looked_up(REMOTE, ssm, manager)

    assert [parameter.name for parameter in lookups.parameters] == ["/delphi/prod/api/A"]
    assert texts(lookups) == {"delphi/prod/api/secrets": "{}", "delphi/prod/api/more": "[]"}
    assert lookups.text == "parameters: 1, secrets: 2, external secrets: 0"


def test_the_usual_secret_is_asked_for_although_the_list_does_not_show_it_yet() -> None:
    manager = FakeSecretsManager({"delphi/prod/api/secrets": "{}"}, hidden=frozenset({"delphi/prod/api/secrets"}))

    lookups = looked_up(REMOTE, FakeSsm(), manager)

    assert texts(lookups) == {"delphi/prod/api/secrets": "{}"}
    assert all_calls([manager], FakeSsm()) == ["BatchGetSecretValue(1)", "ListSecrets"]


def test_no_usual_secret_is_no_error() -> None:
    assert texts(looked_up(REMOTE, FakeSsm(), FakeSecretsManager())) == {"delphi/prod/api/secrets": None}


def test_an_external_secret_is_asked_for_once_together_with_the_usual_one() -> None:
    manager = FakeSecretsManager({"rds/master": "{}"})
    ssm = FakeSsm()

    lookups = looked_up(EXTERNAL, ssm, manager, bootstrap={"DB_MASTER_SECRET_ARN": ARN, "OTHER_ARN": arn_of("other")})

    assert set(lookups.externals) == {ARN}
    assert all_calls([manager], ssm) == ["BatchGetSecretValue(2)", "GetParametersByPath", "ListSecrets"]


def test_an_arn_that_is_not_set_is_not_asked_for() -> None:
    assert looked_up(EXTERNAL, FakeSsm(), FakeSecretsManager()).externals == {}


def test_an_arn_of_another_region_is_asked_for_there() -> None:
    home, away = FakeSecretsManager(), FakeSecretsManager({"rds/master": "x"}, meta=Meta("eu-west-1"))
    arn = arn_of("rds/master", "eu-west-1")

    lookups = looked_up(EXTERNAL, FakeSsm(), home, away, bootstrap={"DB_MASTER_SECRET_ARN": arn})

    assert texts(lookups)[arn] == "x"
    assert away.calls == ["BatchGetSecretValue(1)"]


def test_an_arn_that_is_itself_a_value_from_aws_is_asked_for_after_it() -> None:
    text = "service: api\nvariables:\n- {name: ARN}\n- {name: A, secret: {arn_from: ARN}}\n"
    manager = FakeSecretsManager({"rds/master": "x"})

    lookups = looked_up(text, FakeSsm({"/delphi/prod/api/ARN": ARN}), manager)

    assert texts(lookups)[ARN] == "x"


def test_many_secrets_come_in_batches_of_twenty() -> None:
    names = [f"delphi/prod/api/s{number:02}" for number in range(45)]
    manager = FakeSecretsManager(dict.fromkeys(names, "{}"), page=100)

    lookups = looked_up(REMOTE, FakeSsm(), manager)

    assert set(texts(lookups)) == {*names, "delphi/prod/api/secrets"}
    assert sorted(manager.calls) == [
        "BatchGetSecretValue(20)",
        "BatchGetSecretValue(20)",
        "BatchGetSecretValue(6)",
        "ListSecrets",
    ]


def test_when_batches_are_denied_each_secret_is_read_by_itself() -> None:
    names = [f"delphi/prod/api/s{number:02}" for number in range(25)]
    manager = FakeSecretsManager(dict.fromkeys(names, "{}"), refuses=frozenset({"BatchGetSecretValue"}), page=100)

    lookups = looked_up(REMOTE, FakeSsm(), manager)

    assert [text for name, text in texts(lookups).items() if name in names] == ["{}"] * 25
    assert len([call for call in manager.calls if call.startswith("GetSecretValue")]) == 26


def test_when_the_list_is_denied_the_usual_secret_is_read_and_the_denial_noted() -> None:
    manager = FakeSecretsManager({"delphi/prod/api/secrets": "{}"}, refuses=frozenset({"ListSecrets"}))

    lookups = looked_up(REMOTE, FakeSsm(), manager)

    assert texts(lookups) == {"delphi/prod/api/secrets": "{}"}
    assert lookups.list_denied is not None


def test_denied_parameters_and_values_are_noted_and_not_raised() -> None:
    ssm = FakeSsm(fails=denied("GetParametersByPath", "ssm:GetParametersByPath"))
    manager = FakeSecretsManager({"rds/master": "x"}, refuses=frozenset({ARN}))

    lookups = looked_up(EXTERNAL, ssm, manager, bootstrap={"DB_MASTER_SECRET_ARN": ARN})

    assert lookups.parameters_denied is not None
    assert lookups.externals[ARN].denied is not None


@pytest.mark.parametrize("beside", [frozenset[str](), frozenset({"BatchGetSecretValue"})], ids=["batch", "one-by-one"])
def test_a_usual_secret_that_the_list_does_not_show_and_that_is_denied_counts_as_not_there(
    beside: frozenset[str],
) -> None:
    usual = "delphi/prod/api/secrets"
    manager = FakeSecretsManager({"delphi/prod/api/db": "{}"}, refuses=frozenset({usual}) | beside)

    lookups = looked_up(REMOTE, FakeSsm(), manager)

    assert texts(lookups) == {"delphi/prod/api/db": "{}", usual: None}
    assert [answer.denied for answer in lookups.secrets] == [None, None]
    assert [answer.asked for answer in lookups.secrets if answer.unlisted] == [usual]


@pytest.mark.parametrize(
    "manager",
    [
        FakeSecretsManager({"delphi/prod/api/secrets": "{}"}, refuses=frozenset({"delphi/prod/api/secrets"})),
        FakeSecretsManager({}, refuses=frozenset({"ListSecrets", "delphi/prod/api/secrets"})),
    ],
    ids=["listed", "no list"],
)
def test_a_usual_secret_that_may_be_there_stays_denied(manager: FakeSecretsManager) -> None:
    (answer,) = looked_up(REMOTE, FakeSsm(), manager).secrets

    assert answer.denied is not None
    assert answer.unlisted is None


def test_a_secret_that_a_variable_names_stays_denied_also_when_it_is_the_usual_one() -> None:
    usual = "delphi/prod/api/secrets"
    manager = FakeSecretsManager({}, refuses=frozenset({usual}))

    lookups = looked_up(EXTERNAL, FakeSsm(), manager, bootstrap={"DB_MASTER_SECRET_ARN": usual})

    assert lookups.externals[usual].denied is not None


def test_arns_of_the_bootstrap_file_without_a_region_are_told_at_once_and_nothing_is_asked() -> None:
    text = (
        "service: api\nvariables:\n- {name: A, secret: {arn_from: X_ARN}}\n- {name: B, secret: {arn_from: Y_ARN}}\n"
        "- {name: C, secret: {arn_from: Z_ARN}}\n"
    )
    ssm, manager = FakeSsm(), FakeSecretsManager()
    bad, good = "arn:aws:secretsmanager:<c4nary>:123456789012:secret:x", arn_of("x")

    with pytest.raises(BootstrapError) as caught:
        looked_up(text, ssm, manager, bootstrap={"X_ARN": bad, "Y_ARN": good, "Z_ARN": bad})

    rule = "must hold an ARN with a region such as eu-central-1"
    assert caught.value.details == (f"/opt/deployment/.env: X_ARN {rule}", f"/opt/deployment/.env: Z_ARN {rule}")
    assert all_calls([manager], ssm) == []


def test_an_arn_from_aws_without_a_region_is_not_asked_for() -> None:
    text = "service: api\nvariables:\n- {name: ARN}\n- {name: A, secret: {arn_from: ARN}}\n"
    ssm = FakeSsm({"/delphi/prod/api/ARN": "arn:aws:secretsmanager:eu_central_1:123456789012:secret:x"})

    assert looked_up(text, ssm, FakeSecretsManager()).externals == {}


def test_other_failures_are_all_raised() -> None:
    ssm = FakeSsm(fails=refusal("GetParametersByPath", "InternalServerError", status=500))

    with pytest.raises(AwsError, match="InternalServerError"):
        looked_up(REMOTE, ssm, FakeSecretsManager())


def test_credentials_that_aws_does_not_know_end_the_run() -> None:
    manager = FakeSecretsManager({}, refuses=frozenset({"BatchGetSecretValue", "delphi/prod/api/secrets"}))
    manager.code = "UnrecognizedClientException"

    with pytest.raises(AccessDenied, match="UnrecognizedClientException"):
        looked_up(REMOTE, FakeSsm(), manager)


def test_five_hundred_variables_cost_the_pages_of_ssm_one_list_and_two_batches() -> None:
    ssm = FakeSsm({f"/delphi/prod/api/V{number:03}": "x" for number in range(400)})
    manager = FakeSecretsManager({f"delphi/prod/api/s{number:02}": "{}" for number in range(30)}, page=100)
    text = "service: api\nvariables:\n" + "".join(f"- {{name: V{number:03}}}\n" for number in range(500))

    looked_up(text, ssm, manager)

    assert len(ssm.calls) == 40
    assert len(manager.calls) == 3


def test_lookups_do_not_show_values() -> None:
    lookups = looked_up(
        REMOTE,
        FakeSsm({"/delphi/prod/api/A": "c4nary"}),
        FakeSecretsManager({"delphi/prod/api/secrets": '{"A": "c4nary"}'}),
    )

    assert "c4nary" not in repr(replace(lookups))
