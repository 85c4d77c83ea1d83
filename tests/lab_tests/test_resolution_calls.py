"""What a resolution asks of AWS: the fewest calls that the APIs allow, few of them one after the other."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

from tests.lab.aws import Call, Fault
from tests.lab.lab import Lab
from tests.lab.world import DATABASE_SECRET_NAME, LICENSE_KEY, NAMESPACE, ROLE
from tests.lab_tests import reports
from tests.lab_tests.resolution_worlds import EXTERNALS, PARAMETERS, SECRETS, arranged, resolved, write_files

# The API's own limits.
PAGE, BATCH = 10, 20
DELAY = 0.25  # long enough for a thread to begin its call on a busy machine


def longest_chain(calls: Iterable[Call]) -> int:
    """The most calls of which each began only after the one before had been answered.

    With every call as slow as the next, no more of them can have waited for each other: an upper bound of the
    sequential round trips, whatever the reason for the order.
    """
    length, end = 0, 0.0
    for call in sorted(calls, key=lambda call: call.start + call.ms / 1000):
        if call.start >= end:
            length, end = length + 1, call.start + call.ms / 1000
    return length


def beside_pages(calls: Iterable[Call]) -> list[Call]:
    return [call for call in calls if call.action != "GetParametersByPath"]


def test_a_large_world_costs_the_fewest_calls_in_at_most_four_round_trips_beside_the_pages(instance: Lab) -> None:
    arranged(instance, 7)
    instance.aws.add_fault(Fault("", kind="delay", delay=DELAY, times=None))

    _, said = resolved(instance)

    calls = instance.aws.calls()
    made = Counter(call.name for call in calls)
    pages = made.pop("ssm:GetParametersByPath")
    # moto gives a token with a last page that is full: then there is one more to ask for.
    assert pages in (PARAMETERS // PAGE, PARAMETERS // PAGE + 1)
    batches = math.ceil((SECRETS + EXTERNALS) / BATCH)
    assert made == {"secretsmanager:ListSecrets": 1, "secretsmanager:BatchGetSecretValue": batches}
    assert longest_chain(beside_pages(calls)) <= 4
    assert longest_chain(calls) <= pages + 4
    # Nor is there much between the calls: the wall time is that of the pages.
    [step] = [event for event in reports.events(said) if event.get("step") == "values" and "seconds" in event]
    in_pages = sum(call.ms for call in calls if call.action == "GetParametersByPath") / 1000
    assert in_pages <= step["seconds"] <= in_pages + 4 * DELAY + 1.5
    assert step["calls"] == len(calls)


def test_the_run_says_how_many_variables_and_calls_and_how_long(instance: Lab) -> None:
    done = instance.agent("--log-level", "info", "plan")

    assert done.returncode == 0, done.stderr
    shown = reports.steps(done.stderr)["resolve"]
    asked = [call for call in instance.aws.calls() if call.service in ("ssm", "secretsmanager")]
    assert re.fullmatch(rf"19 variables, {len(asked)} calls, \d+ ms", shown), shown


def test_an_arn_that_is_itself_a_parameter_costs_one_round_trip_more(instance: Lab) -> None:
    world = instance.world
    world.put_parameter("LATE_ARN", world.license_secret_arn)
    variables = "- {name: LATE_ARN}\n- {name: LATE, secret: {arn_from: LATE_ARN}}\n"
    write_files(instance, f"service: {ROLE}\nvariables:\n{variables}")
    instance.aws.add_fault(Fault("", kind="delay", delay=DELAY, times=None))

    environment, _ = resolved(instance)

    assert environment["LATE"] == LICENSE_KEY
    calls = instance.aws.calls()
    assert Counter(call.action for call in calls)["BatchGetSecretValue"] == 2
    # The list, the batch, and the late one; the page of SSM is read beside them.
    assert longest_chain(calls) <= 3


def test_a_manifest_of_local_variables_asks_nobody(instance: Lab) -> None:
    secret = "secret: {arn_from: DB_MASTER_SECRET_ARN, type: json, key: username}"
    variables = f"- {{name: ENVIRONMENT, source: local}}\n- {{name: LOG_LEVEL, source: local, {secret}}}\n"
    write_files(instance, f"service: {ROLE}\nvariables:\n{variables}")

    environment, _ = resolved(instance)

    assert environment["ENVIRONMENT"] == "prod"
    assert "LOG_LEVEL" not in environment
    assert instance.aws.calls() == []
    assert instance.imds.requests() == []


def test_an_external_secret_that_no_variable_takes_from_is_not_asked_for(instance: Lab) -> None:
    write_files(
        instance,
        f"service: {ROLE}\nvariables:\n- {{name: DB_MASTER_SECRET_ARN, source: local}}\n"
        "- {name: HOSTNAME, source: local, secret: {arn_from: DB_MASTER_SECRET_ARN}}\n"
        "- {name: LICENSE_SECRET_ARN}\n- {name: LOG_LEVEL, secret: {arn_from: LICENSE_SECRET_ARN}}\n",
    )

    environment, _ = resolved(instance)

    assert environment["LOG_LEVEL"] == LICENSE_KEY
    [batch] = instance.aws.calls("secretsmanager:BatchGetSecretValue")
    assert batch.resource == f"{NAMESPACE}/{ROLE}/secrets,{instance.world.license_secret_arn}"
    assert not any(DATABASE_SECRET_NAME in call.resource for call in instance.aws.calls())
