"""vars.schema.json against the code: what one refuses the other refuses, too, or warns of.

No text here ends in a line break: Python's `$` matches before one, that of JSON Schema does not.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from agent.errors import ManifestError
from agent.steps import names
from agent.steps.names import ALLOWED_FROM_BOOTSTRAP, steers_the_host
from agent.variables import manifest, manifest_checks
from agent.variables.manifest import parse
from agent.variables.manifest_variable import FIELDS

TEXT = (resources.files("agent.variables") / "vars.schema.json").read_text()
SCHEMA = json.loads(TEXT)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

# What a schema cannot say. Structure is all that it sees of a file.
BEYOND_A_SCHEMA = re.compile(
    r"is declared twice|is given twice|draw on each other in a cycle|holds a character that no environment can carry"
    r"|two checks are called|`http` must be a URL|`tcp` must be HOST:PORT|`command` begins with no program"
)

NAMES = st.sampled_from(["A", "B_1", "_x", "DATABASE_URL", "COMPOSE_PROFILES", "PATH", "LD_PRELOAD", "1A", "a-b", ""])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10_000),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
    st.sampled_from(["", "x", "local", "json", "url", "init", "A=b", "=b", "A =b", "api", "a/b", "/a", "a/", "true"]),
    NAMES,
)
ANYTHING = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(NAMES, SCALARS, max_size=2))


def mapping(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Any choice of the fields, each with what belongs there or with anything; sometimes an unknown field."""
    known = {name: st.one_of(right, ANYTHING) for name, right in fields.items()}
    return st.fixed_dictionaries({}, optional={**known, "unknown": SCALARS})


SECRET = mapping({"arn_from": NAMES, "type": st.sampled_from(["json", None]), "key": SCALARS})
TEMPLATE = mapping({"template": st.sampled_from(["", "${A}", "x"]), "encode": st.sampled_from(["url", None])})
VARIABLE = mapping(
    {
        "name": NAMES,
        "required": st.booleans(),
        "required_when": st.sampled_from(["A=b", "A=", "b"]),
        "default": SCALARS,
        "sensitive": st.booleans(),
        "source": st.just("local"),
        "scope": SCALARS,
        "containers": st.lists(SCALARS, max_size=2),
        "secret": SECRET,
        "compose": TEMPLATE,
    }
).map(lambda fields: {"name": "A", **fields} if len(fields) % 2 else fields)
MANIFEST = mapping({"service": st.sampled_from(["api", "a/b", 7]), "variables": st.lists(VARIABLE, max_size=2)})

# One kind each, with fields that it takes and some that it does not; sometimes another kind beside it.
ASKED: dict[str, list[Any]] = {
    "http": ["http://x/", "https://${A}:1", "${A}/x", "HTTP://x", "x", 7, None],
    "tcp": ["x:1", "${A}:1", "${A}", "x:${A}", "[::1]:1", "x", True, None],
    "command": [["x", 1, None], [], [None], ["", "x"], "x", None],
    "service": ["web", "a b", "", 7, 1.5, True, None],
}
KINDS = [{kind: what} for kind, asked in ASKED.items() for what in asked]
NUMBERS = st.sampled_from([1, 0, 200, 99, 599, 600, 3600, 3601, 30.0, 1.5, "30", True, None])
CHECK = st.builds(
    lambda kind, more: {**more, **kind},
    st.sampled_from(KINDS),
    st.fixed_dictionaries(
        {},
        optional={
            "name": ANYTHING,
            "status": st.one_of(NUMBERS, st.lists(NUMBERS, max_size=2)),
            "within": NUMBERS,
            "stable": NUMBERS,
            "service": st.just("web"),
            "unknown": SCALARS,
        },
    ),
)


def refusals(document: object) -> tuple[list[str], list[str]]:
    """The parser's faults and warnings."""
    try:
        return [], list(parse(yaml.safe_dump(document, allow_unicode=True).encode(), "vars.yaml").warnings)
    except ManifestError as error:
        return list(error.details), []


def has_empty_variable(document: object) -> bool:
    """The parser passes over an entry without any field; for the schema it lacks its `name`."""
    entries = document.get("variables") if isinstance(document, dict) else None
    return isinstance(entries, list) and {} in entries


@given(st.one_of(MANIFEST, MANIFEST.map(lambda fields: {"service": "api", **fields}), ANYTHING))
@settings(max_examples=1500, deadline=None)
@example({"service": "api", "variables": [{"name": "A", "secret": {"arn_from": "A", "key": ""}}]})
@example({"service": "api", "variables": [{"name": "A", "secret": {"arn_from": "A", "type": "json", "key": 0}}]})
@pytest.mark.slow
def test_the_schema_and_the_parser_agree(document: object) -> None:
    assume(not has_empty_variable(document))
    agree(document)


@given(st.one_of(st.lists(st.one_of(CHECK, ANYTHING), max_size=2), ANYTHING), st.one_of(st.booleans(), SCALARS))
@settings(max_examples=1500, deadline=None)
@pytest.mark.slow
def test_the_schema_and_the_parser_agree_about_checks(checks: object, irreversible: object) -> None:
    agree({"service": "api", "checks": checks, "irreversible": irreversible})


def agree(document: object) -> None:
    faults, warnings = refusals(document)
    unknown = [line for line in warnings if "unknown field" in line]
    valid = VALIDATOR.is_valid(document)

    if not faults and not unknown:
        assert valid, [error.message for error in VALIDATOR.iter_errors(document)]
    if not valid:
        assert faults or unknown
    if any(not BEYOND_A_SCHEMA.search(line) for line in faults):
        assert not valid, faults


def test_the_schema_is_one_of_draft_2020_12_and_needs_nothing_from_elsewhere() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    # Editors without 2020-12 read it as draft 7: it holds no keyword that the two take differently.
    jsonschema.Draft7Validator.check_schema(SCHEMA)

    assert set(re.findall(r'"\$ref": "([^"]*)"', TEXT)) <= {f"#/$defs/{name}" for name in SCHEMA["$defs"]}


def test_the_schema_has_exactly_the_parser_s_fields() -> None:
    assert set(SCHEMA["$defs"]["variable"]["properties"]) == set(FIELDS)
    assert set(SCHEMA["properties"]) == set(manifest.FIELDS)
    fields = {field for kind in manifest_checks.FIELDS.values() for field in kind}
    assert set(SCHEMA["$defs"]["check"]["properties"]) == {*manifest_checks.KINDS, *fields}


@pytest.mark.parametrize(
    "name",
    [
        *sorted(names._NAMES),
        *(f"{prefix}X" for prefix in names._PREFIXES),
        *names._PREFIXES,
        *sorted(ALLOWED_FROM_BOOTSTRAP),
        *(f"{name}X" for name in sorted(names._NAMES | ALLOWED_FROM_BOOTSTRAP)),
        "NODE_OPTIONS",
        "HOSTNAME",
    ],
)
def test_the_schema_refuses_the_names_that_steer_the_host(name: str) -> None:
    refused = steers_the_host(name) and name not in ALLOWED_FROM_BOOTSTRAP

    assert VALIDATOR.is_valid({"service": "api", "variables": [{"name": name}]}) == (not refused)


def test_a_manifest_may_name_its_schema_for_editors() -> None:
    data = b"# yaml-language-server: $schema=vars.schema.json\nservice: api\nvariables:\n  - {name: A}\n"

    assert parse(data, "vars.yaml").warnings == ()
    assert VALIDATOR.is_valid(yaml.safe_load(data))
