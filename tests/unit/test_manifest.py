"""vars.yaml: every field, every fault with its place, and no input that ends in a traceback."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.errors import ManifestError
from agent.variables.manifest import Manifest, check_against, parse
from agent.variables.manifest_variable import Condition, ExternalField, Variable
from agent.variables.template import Template

CONTRACT = b"""\
service: api                       # with NAMESPACE: the SSM and Secrets Manager paths
variables:
  - {name: ENVIRONMENT, source: local, required: true}
  - {name: REDIS_PORT, default: '6379', containers: [telapi]}
  - {name: AUTH_CLIENT_ID, required_when: AUTH_WITH_MICROSOFT=true}
  - {name: AUTH_WITH_MICROSOFT}
  - {name: DB_MASTER_SECRET_ARN, source: local, required: true}
  - name: DATABASE_PASSWORD
    required: true
    sensitive: true
    containers: [telapi]
    secret: {arn_from: DB_MASTER_SECRET_ARN, type: json, key: password}
  - name: DATABASE_URL
    sensitive: true
    compose: {template: 'postgresql://app:${DATABASE_PASSWORD}@${HOSTNAME}/app'}
"""
CANARY = "c4nary"


def parsed(text: str | bytes) -> Manifest:
    return parse(text.encode() if isinstance(text, str) else text, "vars.yaml")


def variable(fields: str) -> Variable:
    return parsed(f"service: api\nvariables:\n  - {{name: A, {fields}}}\n").variables[0]


def faults(text: str | bytes, known: set[str] | None = None) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        parse(text.encode() if isinstance(text, str) else text, "vars.yaml", known=known)
    assert caught.value.exit_status == 65
    assert CANARY not in str([caught.value, caught.value.details])
    return list(caught.value.details)


def test_the_contract_s_example_is_read_whole() -> None:
    manifest = parse(CONTRACT, "vars.yaml", known={"HOSTNAME"})

    by_name = manifest.by_name()
    assert manifest.service == "api"
    assert manifest.warnings == ()
    assert by_name["ENVIRONMENT"] == Variable(name="ENVIRONMENT", line=3, column=5, required=True, local=True)
    assert by_name["REDIS_PORT"] == Variable(
        name="REDIS_PORT", line=4, column=5, default="6379", containers=("telapi",)
    )
    assert by_name["AUTH_CLIENT_ID"].required_when == Condition("AUTH_WITH_MICROSOFT", "true")
    assert by_name["DATABASE_PASSWORD"] == Variable(
        name="DATABASE_PASSWORD",
        line=8,
        column=5,
        required=True,
        sensitive=True,
        containers=("telapi",),
        secret=ExternalField("DB_MASTER_SECRET_ARN", "password", "json"),
    )
    assert by_name["DATABASE_URL"].template == Template("postgresql://app:${DATABASE_PASSWORD}@${HOSTNAME}/app")
    assert by_name["DATABASE_URL"].place("compose") == (15, 14)


@pytest.mark.parametrize(
    "spelled", ["010", "1e3", "true", "yes", "6379", "0x1F", "1_000", "12:30:45", "2001-01-01", "1.0", "=", ".5", "-0"]
)
def test_scalars_keep_their_spelling(spelled: str) -> None:
    assert variable(f"default: {spelled}").default == spelled


def test_null_is_no_default_and_an_empty_text_is_one() -> None:
    assert [variable(f"default: {text}").default for text in ("", "~", "null", "''", "'null'")] == [
        None,
        None,
        None,
        "",
        "null",
    ]


def test_a_condition_is_split_at_the_first_equals_sign() -> None:
    assert variable("required_when: A=b=c").required_when == Condition("A", "b=c")
    assert variable("required_when: A=").required_when == Condition("A", "")


def test_a_secret_without_a_type_is_the_whole_text() -> None:
    assert variable("secret: {arn_from: B}").secret == ExternalField("B", None, "string")


def test_a_template_may_ask_for_percent_encoding() -> None:
    asked = variable("compose: {template: x, encode: url}")

    assert asked.encode_url
    assert not variable("compose: {template: x}").encode_url


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("- {}", None),
        ("- {required: true}", "3:5: a variable without `name`"),
        ("- x", "3:5: a variable must be a mapping (NAME: value)"),
        ("- {name: 1A}", "3:12: `name` must be letters"),
        ("- {name: [A]}", "3:12: `name` must be plain text"),
        ("- {name: ~}", "3:12: `name` must be letters"),
        ("- {name: DOCKER_HOST}", "3:12: DOCKER_HOST would steer"),
        ("- {name: A, required: maybe}", "3:25: `required` must be true or false"),
        ("- {name: A, required: 'true'}", "3:25: `required` must be true or false"),
        ("- {name: A, sensitive: 1}", "3:26: `sensitive` must be true or false"),
        ("- {name: A, required_when: B}", "3:30: `required_when` must be NAME=value"),
        ("- {name: A, required_when: B = c}", "3:30: `required_when` must be NAME=value"),
        ("- {name: A, required_when: {B: c}}", "3:30: `required_when` must be plain text"),
        ("- {name: A, default: [x]}", "3:24: `default` must be plain text"),
        ('- {name: A, default: "\\0"}', "3:24: `default` holds a character"),
        ("- {name: A, default: !x y}", "3:24: `default`: unknown tag"),
        ("- {name: A, default: !!binary eA==}", "3:24: `default`: unknown tag"),
        ("- {name: A, source: remote}", "3:23: `source` takes only `local`"),
        ("- {name: A, containers: telapi}", "3:27: `containers` must be a list"),
        ("- {name: A, containers: [[x]]}", "3:28: an entry of `containers` must be plain text"),
        ("- {name: A, secret: x}", "3:23: `secret` must be a mapping"),
        ("- {name: A, secret: {key: x}}", "3:23: `secret` needs `arn_from`"),
        ("- {name: A, secret: {arn_from: B, type: yaml}}", "3:23: `type` of `secret`"),
        ("- {name: A, secret: {arn_from: B, type: json}}", "3:23: `secret` takes `type: json` together with `key`"),
        ("- {name: A, secret: {arn_from: B, key: x}}", "3:23: `secret` takes `type: json` together with `key`"),
        ("- {name: A, compose: {}}", "3:24: `compose` needs `template`"),
        ("- {name: A, compose: {template: x, encode: hex}}", "3:24: `encode` of `compose`"),
        ("- {name: A, name: B}", "3:15: `name` is given twice (first on line 3)"),
        ("- {name: A, [x]: B}", "3:15: a key of a variable must be plain text"),
    ],
)
def test_each_fault_has_its_place(entry: str, fault: str | None) -> None:
    text = f"service: api\nvariables:\n  {entry}\n"
    if fault is None:
        assert parsed(text).variables == ()
        return

    told = faults(text)

    assert len([line for line in told if line.startswith(f"vars.yaml:{fault}")]) == 1


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "variables:\n  - {name: A, required: x, sensitive: y}\n  - {name: A}\n  - {nam: B}\nservice: 'a b'\n"

    assert [line.split(": ")[0] for line in faults(text)] == [
        "vars.yaml:2:25",
        "vars.yaml:2:39",
        "vars.yaml:3:12",
        "vars.yaml:4:5",
        "vars.yaml:5:10",
    ]


def test_a_name_declared_twice_names_the_first_line() -> None:
    assert faults("service: a\nvariables:\n- name: A\n- name: A\n") == [
        "vars.yaml:4:9: A is declared twice (first on line 3)"
    ]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "1:1: the manifest is empty"),
        (b"# only a comment\n", "1:1: the manifest is empty"),
        (b"~\n", "1:1: the manifest is empty"),
        (b"- a\n", "1:1: the manifest must be a mapping"),
        (b"variables: []\n", "1:1: `service` is missing"),
        (b"service: \n", "1:9: `service` must be"),
        (b"service: /api/\n", "1:10: `service` must be"),
        (b"service: api\nvariables: x\n", "2:12: `variables` must be a list"),
        (b"service: api\nservice: web\n", "2:1: `service` is given twice (first on line 1)"),
        (b"service: a: b\n", "1:11: invalid YAML: mapping values are not allowed"),
        (b"service: [\n", "2:1: invalid YAML"),
        (b"service: *x\n", "1:10: invalid YAML: found undefined alias"),
        (b"service: api\nvariables:\n\t- {name: A}\n", "3:1: invalid YAML: "),
        (b"service: api\n---\nservice: web\n", "2:1: a second document begins"),
        (b"service: api\n# caf\xe9\n", "2:6: not UTF-8"),
        (b"service: a\x00b\n", "1:11: invalid YAML"),
        (b"\xff\xfes\x00", "1:1: not UTF-8"),
        (b"x: " + b"[" * 100_000, "1:43: nested deeper than 40 levels"),
        (b"x: " + b"- " * 100_000, "1:4: invalid YAML"),
        (b"x: &x [*x]\n", "1:1: `service` is missing"),
        (b"<<: &x {<<: *x}\n", "1:5: `<<` in the manifest takes mappings that have no `<<`"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_manifest_is_refused_with_its_place(data: bytes, fault: str) -> None:
    assert faults(data)[0].startswith(f"vars.yaml:{fault}")


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parsed(b"\xef\xbb\xbfservice: api\n").variables == ()


def test_anchors_and_merge_keys_are_read_as_yaml_says() -> None:
    text = """\
service: api
variables:
  - &base {name: A, required: true, containers: &c [x, y]}
  - {<<: *base, name: B, required: false}
  - {name: C, containers: *c}
"""
    manifest = parsed(text)

    assert [(item.name, item.required, item.containers) for item in manifest.variables] == [
        ("A", True, ("x", "y")),
        ("B", False, ("x", "y")),
        ("C", False, ("x", "y")),
    ]


def test_aliases_are_not_multiplied() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]

    assert len(parsed("service: api\n" + "\n".join(lines)).warnings) == 30


def test_unknown_fields_warn_with_their_place_and_those_of_later_steps_do_not() -> None:
    manifest = parsed(
        "service: api\nfiles: []\nmounts: []\nchecks: []\nirreversible: true\nextra: 1\n"
        "variables:\n- {name: A, requird: true}\n- {name: B, secret: {arn_from: A, typ: x}}\n"
        "- {name: C, scope: int}\n- {name: D, source: local, secret: {arn_from: A}}\n"
        "- {name: E, compose: {template: '${A:-x}'}}\n"
    )

    assert [warning.split(": ")[0].removeprefix("vars.yaml:") for warning in manifest.warnings] == [
        "6:1",
        "8:13",
        "9:35",
        "10:20",
        "11:36",
        "12:22",
    ]
    assert (manifest.files, manifest.mounts) == ((), ())


def test_a_cycle_of_templates_is_shown_as_a_path() -> None:
    text = "service: a\nvariables:\n" + "".join(
        f"- {{name: {name}, compose: {{template: '${{{used}}}'}}}}\n"
        for name, used in [("A", "B"), ("B", "C"), ("C", "A"), ("D", "D"), ("E", "A")]
    )

    told = faults(text)

    assert len(told) == 2
    assert all("in a cycle: " in line for line in told)
    assert any(path in told[0] for path in ("A -> B -> C -> A", "B -> C -> A -> B", "C -> A -> B -> C"))
    assert told[1].endswith("in a cycle: D -> D")


UNKNOWN = (
    "service: a\nvariables:\n- {name: A, compose: {template: '${X}${HOSTNAME}'}}\n- {name: B, required_when: Y=1}\n"
    "- {name: C, secret: {arn_from: Z}}\n"
)


def test_names_that_nobody_sets_are_faults_together_with_the_others() -> None:
    told = faults(UNKNOWN + "- {nam: D}\n", known={"HOSTNAME"})

    assert [line.split(", which")[0] for line in told[:3]] == [
        "vars.yaml:3:22: the template of A names X",
        "vars.yaml:4:28: `required_when` of B names Y",
        "vars.yaml:5:21: `arn_from` of C names Z",
    ]
    assert len(told) == 4


def test_names_are_held_against_the_bootstrap_file_when_it_is_known_later() -> None:
    manifest = parsed(UNKNOWN)

    check_against(manifest, {"X", "Y", "Z", "HOSTNAME"})
    with pytest.raises(ManifestError) as caught:
        check_against(manifest, {"X", "Y"})
    assert len(caught.value.details) == 2


def test_without_a_bootstrap_file_the_documented_names_count_as_set() -> None:
    with pytest.raises(ManifestError) as caught:
        check_against(parsed(UNKNOWN.replace("Z", "DB_MASTER_SECRET_ARN")), None)

    assert len(caught.value.details) == 2


def test_a_default_is_not_shown() -> None:
    assert CANARY not in repr(variable(f"default: {CANARY}, compose: {{template: {CANARY}}}"))


LEAVES = st.one_of(
    st.sampled_from(["A", "B", "A=1", "${A}", "${B}", "local", "json", "true", "010", "~", "", "*a", "&a x", "!t x"]),
    st.text(st.characters(codec="utf-8"), max_size=4),
)
KEYS = st.sampled_from(
    "name required required_when default sensitive source scope containers secret compose template encode arn_from type"
    " key << service variables x".split()
)
FLOW = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(KEYS, inner), max_size=5).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items) + "}"
        ),
    ),
    max_leaves=20,
)


@settings(max_examples=400)
@given(st.one_of(FLOW, FLOW.map(lambda text: f"service: a\nvariables:\n- {text}\n"), st.text(max_size=30)))
@example("- - - - -\n" * 50)
def test_generated_yaml_is_a_manifest_or_a_manifest_error(text: str) -> None:
    with contextlib.suppress(ManifestError):
        parse(text.encode("utf-8", "surrogatepass"), "vars.yaml", known=())
