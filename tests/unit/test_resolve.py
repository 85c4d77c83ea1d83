"""From the manifest and what the sources gave to the environment: who wins, what is missing, what is said."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agent.aws.parameters import Parameter
from agent.aws.secrets import Answer
from agent.errors import AccessDenied, AgentError, ManifestError, SeveralErrors, UnresolvedError
from agent.secret import Secret
from agent.steps.bootstrap import Bootstrap
from agent.variables.lookup import Lookups
from agent.variables.manifest import parse
from agent.variables.resolve import Resolution, Source, resolve

CANARY = "c4naryV4lue"
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds"
DENIED = AccessDenied("reading", "not allowed", "add it", details=['IAM statement: {"Action": "ssm:X"}'])


def world(
    ssm: Mapping[str, str] | None = None,
    secrets: Mapping[str, object] | None = None,
    external: object = None,
    *,
    plain: bool = False,
    ssm_denied: bool = False,
    list_denied: bool = False,
) -> Lookups:
    """What AWS gave: parameters by the end of their name, secrets by the end of theirs (objects become JSON)."""

    def answer(asked: str, value: object) -> Answer:
        if value is DENIED:
            return Answer(asked=asked, denied=DENIED)
        if value is None:
            return Answer(asked=asked)
        return Answer(asked=asked, text=Secret(value if isinstance(value, str) else json.dumps(value)))

    return Lookups(
        asked=True,
        path="/ns/api/",
        prefix="ns/api/",
        parameters=tuple(
            Parameter(name=f"/ns/api/{name}", value=Secret(value), secure=not plain)
            for name, value in (ssm or {}).items()
        ),
        secrets=tuple(answer(f"ns/api/{name}", value) for name, value in (secrets or {"secrets": {}}).items()),
        externals={ARN: answer(ARN, external)},
        parameters_denied=DENIED if ssm_denied else None,
        list_denied=DENIED if list_denied else None,
    )


def settled(
    variables: str,
    found: Lookups | None = None,
    bootstrap: Mapping[str, str] | None = None,
    detected: Mapping[str, str] | None = None,
) -> Resolution:
    manifest = parse(f"service: api\nvariables:\n{variables}".encode(), "vars.yaml")
    given = {"NAMESPACE": "ns", "AWS_REGION": "eu-central-1", "ARN": ARN, **(bootstrap or {})}
    loaded = Bootstrap(path=Path("/opt/deployment/.env"), variables=given, warnings=())
    return resolve(manifest, loaded, world() if found is None else found, detected or {})


def value(resolution: Resolution, name: str = "A") -> tuple[str, str]:
    resolved = resolution.variables[name]
    return resolved.value.reveal(), resolved.source.value


def failed(variables: str, found: Lookups | None = None, bootstrap: Mapping[str, str] | None = None) -> AgentError:
    with pytest.raises(AgentError) as caught:
        settled(variables, found, bootstrap)
    for part in caught.value.parts():
        assert CANARY not in str([part, part.next_step, part.details])
    return caught.value


def rows(variables: str, found: Lookups | None = None, bootstrap: Mapping[str, str] | None = None) -> list[str]:
    error = failed(variables, found, bootstrap)
    assert isinstance(error, UnresolvedError)
    return list(error.details)


EVERYWHERE = "- {name: A, default: d, secret: {arn_from: ARN, type: json, key: k}}\n"


@pytest.mark.parametrize(
    ("boot", "ssm", "secret", "external", "expected"),
    [
        ("b", "s", "m", "e", ("e", "external-secret")),
        ("b", "s", "m", None, ("m", "secrets-manager")),
        ("b", "s", None, None, ("s", "ssm")),
        ("b", None, None, None, ("b", "bootstrap")),
        (None, None, None, None, ("d", "default")),
        (None, "s", None, "e", ("e", "external-secret")),
        ("b", "s", "m", "", ("m", "secrets-manager")),
        ("b", "s", "", "", ("s", "ssm")),
        ("", None, "", None, ("d", "default")),
    ],
)
def test_the_last_source_that_has_a_value_wins(
    boot: str | None, ssm: str | None, secret: str | None, external: str | None, expected: tuple[str, str]
) -> None:
    found = world({} if ssm is None else {"A": ssm}, {"secrets": {"A": secret}}, {"k": external})

    resolution = settled(EVERYWHERE, found, {} if boot is None else {"A": boot})

    assert value(resolution) == expected


def test_what_was_beaten_is_told_by_place_the_nearest_first() -> None:
    resolution = settled(EVERYWHERE, world({"A": "s"}, {"secrets": {"A": "m"}}, {"k": "e"}), {"A": "b"})

    resolved = resolution.variables["A"]
    assert resolved.origin == "external secret of ARN, key k"
    assert resolved.beaten == ("Secrets Manager ns/api/secrets", "SSM /ns/api/A", "bootstrap file")
    assert [look.text for look in resolution.looked["A"]] == [
        "bootstrap file: found",
        "SSM /ns/api/A: found",
        "Secrets Manager ns/api/secrets: found",
        "external secret of ARN, key k: found",
    ]


def test_a_local_variable_comes_from_the_bootstrap_file_only_and_a_remote_value_warns() -> None:
    found = world({"A": CANARY}, {"secrets": {"A": CANARY}})

    resolution = settled("- {name: A, source: local}\n", found, {"A": "b"})

    assert value(resolution) == ("b", "bootstrap")
    assert [warning for warning in resolution.warnings if "pins it" in warning] == [
        "A: `source: local` pins it to the bootstrap file; SSM /ns/api/A is not used",
        "A: `source: local` pins it to the bootstrap file; Secrets Manager ns/api/secrets is not used",
    ]


def test_a_local_variable_without_a_value_does_not_fall_back_on_aws() -> None:
    assert settled("- {name: A, source: local}\n", world({"A": "x"})).variables == {}


def test_an_optional_variable_without_a_value_is_left_out() -> None:
    resolution = settled("- {name: A}\n", bootstrap={"A": ""})

    assert resolution.variables == {}
    assert "A" not in resolution.environment


def test_an_empty_default_is_a_value_but_does_not_satisfy_required() -> None:
    assert value(settled("- {name: A, default: ''}\n")) == ("", "default")
    assert "the default is empty" in rows("- {name: A, default: '', required: true}\n")[0]


def test_a_detected_value_stands_in_only_when_nothing_else_gives_one() -> None:
    detected = {"A": "10.0.0.5"}

    assert value(settled("- {name: A, required: true}\n", detected=detected)) == ("10.0.0.5", "detected")
    assert value(settled("- {name: A, default: d}\n", detected=detected)) == ("d", "default")
    assert value(settled("- {name: A}\n", bootstrap={"A": "b"}, detected=detected)) == ("b", "bootstrap")


def test_a_whole_external_secret_is_its_text() -> None:
    assert value(settled("- {name: A, secret: {arn_from: ARN}}\n", world(external='{"x": 1}'))) == (
        '{"x": 1}',
        "external-secret",
    )


def test_values_of_secrets_arrive_as_jq_prints_them() -> None:
    found = world(None, {"secrets": '{"A": 5432, "B": true, "C": null, "D": {"x": [1]}, "E": "two\\nlines"}'})

    resolution = settled("".join(f"- {{name: {name}}}\n" for name in "ABCDE"), found)

    assert {name: resolved.value.reveal() for name, resolved in resolution.variables.items()} == {
        "A": "5432",
        "B": "true",
        "D": '{\n  "x": [\n    1\n  ]\n}',
        "E": "two\nlines",
    }


def test_the_last_part_of_a_parameter_s_name_counts() -> None:
    assert value(settled("- {name: A}\n", world({"deep/er/A": "x"}))) == ("x", "ssm")


def test_two_parameters_of_one_name_are_an_error_that_names_both_whatever_else_there_is() -> None:
    found = world({"x/A": CANARY, "y/A": CANARY}, {"secrets": {"A": "m"}})

    (row,) = rows("- {name: A}\n", found)

    assert "given more than once: SSM /ns/api/x/A and SSM /ns/api/y/A" in row


def test_two_secrets_that_give_one_key_are_an_error_that_names_both() -> None:
    (row,) = rows("- {name: A}\n", world(None, {"one": {"A": CANARY}, "two": {"A": CANARY}}))

    assert "Secrets Manager ns/api/one and Secrets Manager ns/api/two" in row


def test_a_key_that_is_null_or_empty_in_one_secret_does_not_clash() -> None:
    found = world(None, {"one": {"A": None}, "two": {"A": "x"}, "three": {"A": ""}})

    assert value(settled("- {name: A}\n", found)) == ("x", "secrets-manager")


def test_names_that_nobody_declares_may_be_given_twice() -> None:
    found = world({"x/B": "1", "y/B": "2"}, {"one": {"user": "a"}, "two": {"user": "b"}})

    assert settled("- {name: A, default: d}\n", found).variables["A"].value.reveal() == "d"


def test_a_secret_that_is_no_json_object_is_an_error() -> None:
    assert rows("- {name: A}\n", world(None, {"secrets": CANARY})) == [
        "Secrets Manager ns/api/secrets is not a JSON object"
    ]
    (row,) = rows("- {name: A, secret: {arn_from: ARN, type: json, key: k}}\n", world(external=CANARY))
    assert "external secret of ARN, key k: is not a JSON object" in row


@pytest.mark.parametrize(("json_text", "word"), [('{"A": "x\\u0000y"}', "NUL"), ('{"A": "\\ud800"}', "surrogate")])
def test_a_value_that_no_environment_can_carry_is_an_error(json_text: str, word: str) -> None:
    assert word in rows("- {name: A}\n", world(None, {"secrets": json_text}))[0]


OVER = "é" * 65_536  # 131,072 bytes


@pytest.mark.parametrize(
    ("variables", "found", "bootstrap", "place"),
    [
        ("- {name: A}\n", world({"A": OVER}), {}, "SSM /ns/api/A"),
        ("- {name: A}\n", world(None, {"secrets": {"A": OVER}}), {}, "Secrets Manager ns/api/secrets"),
        ("- {name: A, secret: {arn_from: ARN}}\n", world(external=OVER), {}, "external secret of ARN"),
        ("- {name: A}\n", world(), {"A": OVER}, "bootstrap file"),
        ("- {name: A, source: local}\n", world(), {"A": OVER}, "bootstrap file"),
        (f"- {{name: A, default: {OVER}}}\n", world(), {}, "default in vars.yaml"),
        ("- {name: A, compose: {template: '${B}${B}'}}\n- {name: B}\n", world({"B": OVER[:40_000]}), {}, "template in"),
    ],
    ids=["ssm", "secret", "external", "bootstrap", "local", "default", "template"],
)
def test_a_value_that_is_too_long_for_an_environment_is_refused_whatever_its_source(
    variables: str, found: Lookups, bootstrap: Mapping[str, str], place: str
) -> None:
    (row,) = rows(variables, found, bootstrap)

    assert row.startswith(f"vars.yaml:3:3: A: {place}")
    assert "is too long: " in row
    assert "é" not in row


def test_a_bootstrap_variable_that_nobody_declares_is_measured_too_since_it_is_passed_on() -> None:
    assert rows("- {name: A, default: d}\n", None, {"B": OVER}) == [
        "bootstrap file: B is too long: 131075 bytes with its name, and no environment can carry more than 131072"
    ]


def test_the_longest_value_that_resolves_is_the_longest_that_linux_takes() -> None:
    longest = "x" * (131_072 - len("A=\0"))

    environment = settled("- {name: A}\n", world({"A": longest})).environment

    assert "is too long: 131073 bytes" in rows("- {name: A}\n", world({"A": f"{longest}x"}))[0]
    assert subprocess.run(["/bin/true"], env={"A": environment["A"].reveal()}, check=False).returncode == 0
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["/bin/true"], env={"A": f"{longest}x"}, check=False)


def test_names_from_aws_that_nobody_declares_are_not_exported_and_named() -> None:
    resolution = settled(
        "- {name: A, default: d}\n", world({"B": CANARY, "C": CANARY}, {"secrets": {"D": CANARY, "e\n": CANARY}})
    )

    assert resolution.warnings == (
        "SSM /ns/api/: not declared in vars.yaml, not exported: B, C",
        "Secrets Manager ns/api/: not declared in vars.yaml, not exported: 'e\\n', D",
    )
    assert not {"B", "C", "D"} & set(resolution.environment)


def test_an_empty_path_is_a_finding() -> None:
    assert settled("- {name: A, default: d}\n").warnings == (
        "SSM: 0 parameters under /ns/api/: not seeded, or seeded under another NAMESPACE",
    )


def test_all_required_variables_without_a_value_are_told_in_one_table() -> None:
    found = world({"DATABASE_PASWORD": CANARY, "X": CANARY}, {"secrets": {"A": "", "B": None}}, {"user": CANARY})
    told = rows(
        "- {name: A, required: true}\n"
        "- {name: B, required: true, source: local}\n"
        "- {name: DATABASE_PASSWORD, required: true, secret: {arn_from: ARN, type: json, key: usr}}\n"
        "- {name: C, required: true, secret: {arn_from: D}}\n"
        "- {name: D}\n",
        found,
    )

    assert [tuple(line.split("; ")) for line in told] == [
        (
            "vars.yaml:3:3: A: required",
            "bootstrap file: absent",
            "SSM /ns/api/A: absent",
            "Secrets Manager ns/api/secrets: empty",
            "no default",
        ),
        ("vars.yaml:4:3: B: required", "bootstrap file: absent", "no default"),
        (
            "vars.yaml:5:3: DATABASE_PASSWORD: required",
            "bootstrap file: absent",
            "SSM /ns/api/DATABASE_PASSWORD: absent (there is DATABASE_PASWORD)",
            "Secrets Manager ns/api/*: absent",
            "external secret of ARN, key usr: has no such key (there is user)",
            "no default",
        ),
        (
            "vars.yaml:6:3: C: required",
            "bootstrap file: absent",
            "SSM /ns/api/C: absent",
            "Secrets Manager ns/api/*: absent",
            "external secret of D: not looked for, since D has no value",
            "no default",
        ),
    ]


def test_an_external_secret_that_is_not_there_is_told() -> None:
    variables = "- {name: A, required: true, secret: {arn_from: ARN}}\n"

    assert "external secret of ARN: no such secret" in rows(variables)[0]
    assert "A: external secret of ARN: no such secret" in settled(variables.replace("true", "false")).warnings


def test_required_when_compares_the_resolved_value_exactly_and_says_where_it_is_from() -> None:
    variables = "- {name: A, required_when: B=true}\n- {name: B}\n"

    assert "A: required, since B=true (SSM /ns/api/B); " in rows(variables, world({"B": "true"}, plain=True))[0]
    assert "A" not in settled(variables, world({"B": "TRUE"})).variables
    assert "A" not in settled(variables).variables
    assert value(settled(variables, world({"B": "true", "A": "x"})))[0] == "x"


def test_required_when_may_look_at_the_bootstrap_file_a_default_or_a_template() -> None:
    assert "(bootstrap file)" in rows("- {name: A, required_when: NAMESPACE=ns}\n")[0]
    assert "(default in vars.yaml)" in rows("- {name: A, required_when: B=x}\n- {name: B, default: x}\n")[0]
    templated = "- {name: A, required_when: B=xns}\n- {name: B, compose: {template: 'x${NAMESPACE}'}}\n"
    assert "(template in vars.yaml)" in rows(templated)[0]


def test_required_when_does_not_show_a_sensitive_value() -> None:
    variables = f"- {{name: A, required_when: B={CANARY}}}\n- {{name: B, sensitive: true}}\n"

    assert "since B=[redacted]" in rows(variables, world({"B": CANARY}))[0]


def test_templates_are_built_in_order_from_final_values_and_never_expanded_again() -> None:
    variables = (
        "- {name: A, compose: {template: '<${B}>'}}\n- {name: B, compose: {template: '${C}-${NAMESPACE}-$C'}}\n"
        "- {name: C, default: d}\n"
    )

    resolution = settled(variables, world({"C": "${NAMESPACE}"}))

    assert value(resolution) == ("<${NAMESPACE}-ns-$C>", "template")
    assert list(resolution.variables) == ["A", "B", "C"]


def test_a_template_wins_over_every_source_and_says_so() -> None:
    resolution = settled("- {name: A, default: d, compose: {template: 't'}}\n", world({"A": CANARY}))

    assert value(resolution) == ("t", "template")
    assert resolution.variables["A"].beaten == ("SSM /ns/api/A",)
    assert "A: its template wins over SSM /ns/api/A" in resolution.warnings


def test_a_template_that_lacks_a_part_gives_nothing() -> None:
    variables = "- {name: A, compose: {template: 'x${B}'}}\n- {name: B}\n"

    resolution = settled(variables)

    assert resolution.variables == {}
    assert "A: its template is not used, since B has no value" in resolution.warnings
    assert value(settled(variables, world({"A": "s"}))) == ("s", "ssm")
    required = variables.replace("A,", "A, required: true,")
    assert "its template is not used, since B has no value" in rows(required)[0]


def test_a_template_percent_encodes_when_asked() -> None:
    variables = "- {name: A, compose: {template: 'postgresql://u:${B}@h', encode: url}}\n- {name: B, sensitive: true}\n"

    resolution = settled(variables, world({"B": "p@ss:w/ö"}))

    assert value(resolution)[0] == "postgresql://u:p%40ss%3Aw%2F%C3%B6@h"
    assert not [warning for warning in resolution.warnings if "URL" in warning]


def test_a_raw_sensitive_value_that_would_bend_a_url_warns_without_showing_it() -> None:
    variables = "- {name: A, compose: {template: 'postgresql://u:${B}@h'}}\n- {name: B}\n"

    warnings = settled(variables, world({"B": f"{CANARY}@"})).warnings

    assert any(warning.startswith("A: its template puts B into a URL as it is") for warning in warnings)
    assert CANARY not in str(warnings)
    assert not [text for text in settled(variables, world({"B": "a@"}, plain=True)).warnings if "URL" in text]


@pytest.mark.parametrize(
    ("fields", "found", "sensitive"),
    [
        ("sensitive: true, default: x", world(), True),
        ("default: x", world(), False),
        ("", world({"A": "x"}), True),
        ("", world({"A": "x"}, plain=True), False),
        ("", world(None, {"secrets": {"A": "x"}}), True),
        ("secret: {arn_from: ARN}", world(external="x"), True),
        ("compose: {template: '${S}'}", world({"S": "x"}), True),
        ("compose: {template: '${S}'}", world({"S": "x"}, plain=True), False),
    ],
)
def test_what_is_sensitive_and_spreads_through_templates(fields: str, found: Lookups, sensitive: bool) -> None:  # noqa: FBT001 - a parameter of the test
    resolution = settled(
        f"- {{name: A, {fields}}}\n- {{name: S}}\n- {{name: T, compose: {{template: '${{A}}'}}}}\n", found
    )

    assert resolution.variables["A"].sensitive is sensitive
    assert resolution.variables["T"].sensitive is sensitive
    assert ("x" in [secret.reveal() for secret in resolution.secrets()]) is sensitive


def test_compose_gets_all_bootstrap_variables_but_keys_and_steering_names() -> None:
    bootstrap = {
        "ECR_TAG": "v1",
        "EMPTY": "",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_SESSION_TOKEN": "t",
        "DOCKER_HOST": "x",
        "PATH": "x",
        "COMPOSE_PROFILES": "p",
    }

    resolution = settled("- {name: AWS_ACCESS_KEY_ID, source: local}\n- {name: A}\n", world({"A": "x"}), bootstrap)

    assert {name: secret.reveal() for name, secret in resolution.environment.items()} == {
        "NAMESPACE": "ns",
        "AWS_REGION": "eu-central-1",
        "ARN": ARN,
        "ECR_TAG": "v1",
        "EMPTY": "",
        "COMPOSE_PROFILES": "p",
        "AWS_ACCESS_KEY_ID": "k",
        "A": "x",
    }
    assert resolution.variables["AWS_ACCESS_KEY_ID"].sensitive


def test_names_that_steer_the_host_are_refused_from_aws() -> None:
    variables = "- {name: COMPOSE_PROFILES}\n"

    error = failed(variables, world({"COMPOSE_PROFILES": CANARY}), {"COMPOSE_PROFILES": "b"})

    assert isinstance(error, ManifestError)
    assert error.details == ("COMPOSE_PROFILES: SSM /ns/api/COMPOSE_PROFILES",)
    assert value(settled(variables, None, {"COMPOSE_PROFILES": "b"}), "COMPOSE_PROFILES") == ("b", "bootstrap")


def test_denied_parameters_are_an_error_even_for_an_optional_variable() -> None:
    error = failed("- {name: A, default: d}\n- {name: B, source: local}\n- {name: C}\n", world(ssm_denied=True))

    assert isinstance(error, AccessDenied)
    assert error.exit_status == 77
    assert error.details == (*DENIED.details, "variables that may come from there: A, C")


def test_a_denied_source_does_not_matter_where_a_higher_one_has_the_value() -> None:
    found = world(None, {"secrets": {"A": "x"}}, ssm_denied=True)

    assert value(settled("- {name: A}\n- {name: B, compose: {template: '${A}'}}\n", found), "B") == ("x", "template")


def test_a_denied_secret_is_an_error_although_a_lower_source_has_the_value() -> None:
    error = failed("- {name: A}\n", world({"A": CANARY}, {"secrets": DENIED}))

    assert isinstance(error, AccessDenied)


def test_a_usual_secret_that_only_the_agent_supposes_to_be_there_is_a_warning_when_it_is_denied() -> None:
    found = world({"A": "s"}, {"db": {"C": "m"}})
    guess = Answer(asked="ns/api/secrets", unlisted=DENIED)

    resolution = settled(
        "- {name: A}\n- {name: B, default: d}\n- {name: C}\n", replace(found, secrets=(*found.secrets, guess))
    )

    assert [value(resolution, name)[0] for name in "ABC"] == ["s", "d", "m"]
    (warning,) = resolution.warnings
    assert warning.startswith("Secrets Manager ns/api/secrets: the list does not show it and reading it is denied")
    assert "IAM statement" in warning


def test_a_missing_variable_says_which_secret_nobody_could_look_into() -> None:
    guess = Answer(asked="ns/api/secrets", unlisted=DENIED)

    (row,) = rows("- {name: A, required: true}\n", replace(world(), secrets=(guess,)))

    assert "Secrets Manager ns/api/*: absent (ns/api/secrets: not in the list, and denied)" in row


def test_an_arn_from_aws_that_has_no_region_is_told_with_the_variable_that_holds_it() -> None:
    variables = "- {name: A, required: true, secret: {arn_from: B}}\n- {name: B}\n"

    (row,) = rows(variables, world({"B": f"arn:aws:secretsmanager:<{CANARY}>:123456789012:secret:x"}))

    assert "external secret of B: cannot be asked for: the ARN in B has no region such as eu-central-1" in row


def test_a_denied_external_secret_and_a_missing_variable_are_told_together() -> None:
    error = failed(
        "- {name: A, required: true, secret: {arn_from: ARN}}\n- {name: B, required: true}\n", world(external=DENIED)
    )

    assert isinstance(error, SeveralErrors)
    denied, missing = error.parts()
    assert error.exit_status == 77
    assert denied.details[-1] == "variables that may come from there: A"
    assert [row.split(": ")[1] for row in missing.details] == ["A", "B"]
    assert "external secret of ARN: access denied" in missing.details[0]


def test_a_denied_list_alone_is_a_warning_with_the_statement() -> None:
    resolution = settled("- {name: A}\n", world({"X": "x"}, {"secrets": {"A": "x"}}, list_denied=True))

    assert "ListSecrets is denied" in resolution.warnings[0]
    assert "IAM statement" in resolution.warnings[0]


def test_a_missing_variable_says_when_the_list_was_denied() -> None:
    (row,) = rows("- {name: A, required: true}\n", world(list_denied=True))

    assert "ListSecrets is denied" in row


def test_values_by_source_are_counted() -> None:
    resolution = settled(
        "- {name: A}\n- {name: B, default: x}\n- {name: C}\n- {name: D}\n", world({"A": "1", "C": "2"})
    )

    assert resolution.counts == {Source.SSM.value: 2, Source.DEFAULT.value: 1}


def test_a_resolution_does_not_show_values() -> None:
    resolution = settled("- {name: A}\n", world({"A": CANARY}), {"B": CANARY})

    assert CANARY not in f"{resolution!r}{resolution.looked}"


def test_five_hundred_variables_over_four_hundred_parameters_resolve_in_a_blink() -> None:
    variables = "".join(f"- {{name: VARIABLE_{number:03}}}\n" for number in range(500))
    found = world({f"VARIABLE_{number:03}": "x" for number in range(400)})

    assert len(settled(variables, found).variables) == 400
