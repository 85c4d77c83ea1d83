"""Values and sources that are not as one would wish: each arrives exactly, or is refused with its place; throttling."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.lab.aws import Fault
from tests.lab.aws_model import Json
from tests.lab.lab import Lab
from tests.lab.world import NAMESPACE, ROLE, canaries
from tests.lab_tests import reports
from tests.lab_tests.resolution_worlds import ask, resolved, write_files

BELOW = f"{NAMESPACE}/{ROLE}"
CANARY = "CANARYnobodyMaySeeThis7Kq2"


def manifest(*entries: str) -> str:
    return f"service: {ROLE}\nvariables:\n" + "".join(f"  - {entry}\n" for entry in entries)


def refused(lab: Lab, *entries: str, code: int = 66) -> list[str]:
    """The rows of the table of faults that `env` ends with; no value in anything that was said."""
    write_files(lab, manifest(*entries))
    done = ask(lab)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert [name for name, value in {**canaries(), "canary": CANARY}.items() if value in done.stderr] == []
    return [line for error in reports.errors(done.stderr) for line in error["details"]]


def secret_in(lab: Lab, name: str, **content: Json) -> None:
    lab.aws.client("secretsmanager").create_secret(Name=name, **content)


def test_two_parameters_of_one_name_on_different_pages_are_refused_with_both_places(instance: Lab) -> None:
    for number in range(20):
        instance.world.put_parameter(f"OTHER{number:02}", "x")
    instance.world.put_parameter(f"/{BELOW}/AA_FIRST", CANARY)
    instance.world.put_parameter(f"/{BELOW}/zz/deep/AA_FIRST", f"{CANARY}2")

    [row] = refused(instance, "{name: AA_FIRST}")

    assert len(instance.aws.calls("ssm:GetParametersByPath")) >= 3
    assert f"given more than once: SSM /{BELOW}/AA_FIRST and SSM /{BELOW}/zz/deep/AA_FIRST" in row


def test_two_secrets_that_give_one_key_are_refused_with_both_names(instance: Lab) -> None:
    instance.world.put_secret(f"{BELOW}/more", {"JWT_SIGNING_KEY": CANARY})

    [row] = refused(instance, "{name: JWT_SIGNING_KEY, required: true}")

    assert f"Secrets Manager {BELOW}/more" in row
    assert f"Secrets Manager {BELOW}/secrets" in row


@pytest.mark.parametrize("text", [CANARY, f'["{CANARY}"]', f'{{"A": "{CANARY}"', f'"{CANARY}"', ""])
def test_a_secret_that_is_not_a_json_object_is_refused_by_its_name(instance: Lab, text: str) -> None:
    secret_in(instance, f"{BELOW}/broken", **({"SecretString": text} if text else {"SecretBinary": b"\xff\x00"}))

    [row] = refused(instance, "{name: A}")

    assert row == f"Secrets Manager {BELOW}/broken is not a JSON object"


def test_every_kind_of_value_arrives_exactly(instance: Lab) -> None:
    longest = "x$'\"\\\n" * 682 + "wxyz"
    assert len(longest) == 4096
    world = instance.world
    world.put_parameter("LIST", "a,b c,$d", "StringList")
    world.put_parameter("LONGEST", longest)
    world.put_parameter(f"/{BELOW}/deep/er/DEEP", "deep")
    world.put_parameter("BEATEN_BY_NULL", "from SSM")
    world.put_parameter("BEATEN_BY_EMPTY", "from SSM")
    content = {
        "NESTED": {"b": [1, "é\n", None, True, {}], "a": []},
        "TRUE": True,
        "NUMBER": 42,
        "NULL": None,
        "EMPTY": "",
        "BEATEN_BY_NULL": None,
        "BEATEN_BY_EMPTY": "",
        "TRAILING": "two newlines\n\n",
        "TEXT_NULL": "null",
    }
    secret_in(instance, f"{BELOW}/binary", SecretBinary=json.dumps(content).encode())
    secret_in(instance, "raw", SecretBinary="größer\n".encode())
    raw = instance.aws.client("secretsmanager").describe_secret(SecretId="raw")["ARN"]
    names = ["LIST", "LONGEST", "DEEP", *content]
    entries = [*(f"{{name: '{name}'}}" for name in names), f"{{name: RAW_ARN, default: '{raw}'}}"]
    write_files(instance, manifest(*entries, "{name: RAW, secret: {arn_from: RAW_ARN}}"))

    environment, _ = resolved(instance)

    expected = {
        "LIST": "a,b c,$d",
        "LONGEST": longest,
        "DEEP": "deep",
        "NESTED": '{\n  "b": [\n    1,\n    "é\\n",\n    null,\n    true,\n    {}\n  ],\n  "a": []\n}',
        "TRUE": "true",
        "NUMBER": "42",
        "BEATEN_BY_NULL": "from SSM",
        "BEATEN_BY_EMPTY": "from SSM",
        "TRAILING": "two newlines\n\n",
        "TEXT_NULL": "null",
        "RAW": "größer\n",
    }
    assert {name: environment[name] for name in [*names, "RAW"] if name in environment} == expected


def test_a_required_value_that_is_null_or_empty_is_missing_and_told_so(instance: Lab) -> None:
    instance.world.put_secret(f"{BELOW}/more", '{"A": null, "B": ""}')

    rows = refused(instance, "{name: A, required: true}", "{name: B, required: true}")

    assert [f"{BELOW}/more: {found}" in row for row, found in zip(rows, ("null", "empty"), strict=True)] == [True, True]


def test_a_deleted_secret_is_one_that_is_not_there(instance: Lab) -> None:
    client = instance.aws.client("secretsmanager")
    for name in (f"{BELOW}/secrets", instance.world.license_secret_arn):
        client.delete_secret(SecretId=name)

    rows = refused(
        instance,
        "{name: LOG_LEVEL}",
        "{name: JWT_SIGNING_KEY, required: true}",
        "{name: LICENSE_KEY, required: true, secret: {arn_from: LICENSE_SECRET_ARN}}",
    )

    assert ["JWT_SIGNING_KEY: required" in rows[0], "LICENSE_KEY: required" in rows[1], len(rows)] == [True, True, 2]
    assert "marked for deletion" in rows[1]


def test_a_deleted_secret_that_nothing_needs_is_no_fault_but_is_told(instance: Lab) -> None:
    instance.aws.client("secretsmanager").delete_secret(SecretId=f"{BELOW}/secrets")
    write_files(instance, manifest("{name: LOG_LEVEL}"))

    environment, said = resolved(instance)

    assert environment["LOG_LEVEL"] == "debug"
    assert f"Secrets Manager {BELOW}/secrets: marked for deletion" in said


def test_nothing_at_all_in_aws_is_a_finding_not_an_error(instance: Lab) -> None:
    write_files(
        instance,
        manifest("{name: A, default: a}"),
        "".join(
            f"{name}={value}\n" for name, value in instance.world.bootstrap_env(NAMESPACE="delphi/nothing").items()
        ),
    )

    environment, said = resolved(instance)

    assert environment["A"] == "a"
    assert f"0 parameters under /delphi/nothing/{ROLE}/" in said


THROTTLED = ("ssm:GetParametersByPath", "secretsmanager:ListSecrets", "secretsmanager:BatchGetSecretValue")


def test_throttling_of_each_call_only_costs_time(instance: Lab) -> None:
    for number in range(15):
        instance.world.put_parameter(f"OTHER{number:02}", "x")
    instance.world.put_secret(f"{BELOW}/more", {"A": CANARY})
    for call in THROTTLED:
        instance.aws.add_fault(Fault(call, code="ThrottlingException", times=2))
    write_files(instance, manifest("{name: A, required: true}", "{name: OTHER14, required: true}"))

    environment, said = resolved(instance)

    assert (environment["A"], environment["OTHER14"]) == (CANARY, "x")
    failed = Counter(call.name for call in instance.aws.calls() if call.status != 200)
    assert failed == dict.fromkeys(THROTTLED, 2)
    assert (reports.finished(said)["retries"], reports.finished(said)["throttled"]) == (6, 6)


def test_throttling_of_a_later_page_and_of_single_secrets_only_costs_time(instance: Lab) -> None:
    for number in range(15):
        instance.world.put_parameter(f"OTHER{number:02}", "x")
    instance.aws.add_fault(Fault("ssm:GetParametersByPath", code="ThrottlingException", times=2, skip=1))
    instance.aws.add_fault(Fault("secretsmanager:Batch", code="AccessDeniedException", times=None))
    instance.aws.add_fault(Fault("secretsmanager:GetSecretValue", code="ThrottlingException", times=2))
    write_files(instance, manifest("{name: JWT_SIGNING_KEY, required: true}", "{name: OTHER14, required: true}"))

    environment, _ = resolved(instance)

    assert environment["JWT_SIGNING_KEY"] == canaries()["JWT_SIGNING_KEY"]
    failed = Counter(call.name for call in instance.aws.calls() if call.status != 200)
    assert failed["ssm:GetParametersByPath"] == failed["secretsmanager:GetSecretValue"] == 2
