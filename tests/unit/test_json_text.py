"""JSON values as `jq -r` prints them: against jq itself where it is installed, and by example everywhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.variables.json_text import parse_object, printed

JQ = shutil.which("jq")


def shown(json_value: str) -> str | None:
    parsed = parse_object(f'{{"a": {json_value}}}')
    assert parsed is not None
    return printed(parsed["a"])


EXAMPLES = {
    '"text"': "text",
    '"two\\nlines\\n"': "two\nlines\n",
    '"\\u00e9 \\ud83d\\ude00 \\/"': "é 😀 /",
    '""': "",
    "true": "true",
    "false": "false",
    "5432": "5432",
    "-7": "-7",
    "-0": "-0",
    "0.5": "0.5",
    "-12.25": "-12.25",
    "1.0": "1",
    "1.10": "1.1",
    "1e3": "1000",
    "1E-7": "1e-07",
    "0.0001": "0.0001",
    "1e17": "1e+17",
    "1e400": "1.7976931348623157e+308",
    "[]": "[]",
    "{}": "{}",
    '[1, "x", null, {"b": [true], "a": {}}]': (
        '[\n  1,\n  "x",\n  null,\n  {\n    "b": [\n      true\n    ],\n    "a": {}\n  }\n]'
    ),
    '{"k": "\\u0001\\t\\u007f\\"<>&\\\\\\/é"}': '{\n  "k": "\\u0001\\t\\u007f\\"<>&\\\\/é"\n}',
}


@pytest.mark.parametrize("value", EXAMPLES)
def test_each_kind_of_value_is_printed_as_jq_prints_it(value: str) -> None:
    assert shown(value) == EXAMPLES[value]


def test_null_is_nothing() -> None:
    assert shown("null") is None


def test_an_integer_is_printed_as_written_however_long() -> None:
    assert shown("12345678901234567890123") == "12345678901234567890123"
    assert shown("1" * 10000) == "1" * 10000


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert parse_object('{"a": 1, "a": 2}') == {"a": "2"}


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", '"x"', "1", "null", '{"a": NaN}', '{"a": 1} {"b": 2}', '{"a": "\t"}', "{'a': 1}", "[" * 9999],
)
def test_what_is_no_json_object_is_none(text: str) -> None:
    assert parse_object(text) is None


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_object('\ufeff{"a": true}') == {"a": True}


def _jq(documents: list[str]) -> list[str]:
    assert JQ
    script = '.a, "\\u0001"'
    run = subprocess.run([JQ, "-r", script], input="\n".join(documents).encode(), capture_output=True, check=True)
    return run.stdout.decode().removesuffix("\n\x01\n").split("\n\x01\n")


def _version() -> tuple[int, ...]:
    said = subprocess.run([JQ or "", "--version"], capture_output=True, check=True).stdout.decode()
    return tuple(map(int, re.findall(r"\d+", said)[:2]))


# DEL is left out inside arrays and objects: versions of jq differ there.
STRINGS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\x01\x7f"), max_size=8)
INTEGERS = st.integers(-(2**53), 2**53).map(str)
FRACTIONS = st.decimals(allow_nan=False, allow_infinity=False, places=5).map(lambda number: f"{number:f}")
FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(repr)
SCALARS = st.one_of(STRINGS.map(json.dumps), INTEGERS, st.sampled_from(["true", "false"]))
OLD_NUMBERS = st.one_of(
    FRACTIONS, FLOATS, st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?[eE][+-]?[0-9]{1,3}", fullmatch=True)
)
NESTED = st.recursive(
    st.one_of(SCALARS, st.just("null")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.dictionaries(STRINGS.map(json.dumps), inner, max_size=3).map(
            lambda items: "{" + ",".join(f"{key}:{value}" for key, value in items.items()) + "}"
        ),
    ),
    max_leaves=8,
)


@pytest.mark.skipif(JQ is None, reason="jq is not installed")
@settings(max_examples=25, deadline=None)
@given(st.lists(NESTED, min_size=20, max_size=40))
@pytest.mark.slow
def test_generated_values_print_as_jq_prints_them(values: list[str]) -> None:
    values = [value for value in values if value != "null"] or ["1"]

    assert [shown(value) for value in values] == _jq([f'{{"a": {value}}}' for value in values])


@pytest.mark.skipif(JQ is None or _version() >= (1, 7), reason="jq 1.7 and later keep the spelling of these")
@settings(max_examples=25, deadline=None)
@given(st.lists(OLD_NUMBERS, min_size=20, max_size=40))
def test_numbers_with_a_fraction_or_an_exponent_print_as_jq_1_6_prints_them(values: list[str]) -> None:
    assert [shown(value) for value in values] == _jq([f'{{"a": {value}}}' for value in values])
