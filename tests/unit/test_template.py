"""Templates: `${NAME}` and nothing else, in order, without a second look at what was put in."""

from __future__ import annotations

import itertools
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.variables.template import Template, find_cycle, order

VALUES = {"A": "1", "B_2": "two", "LOOP": "${A}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("${A}", "1"),
        ("x${A}y${B_2}z${A}", "x1ytwoz1"),
        ("$A $$ $ ${ ${} ${A ${A:-x} ${1A} ${A-B} $(id)", "$A $$ $ ${ ${} ${A ${A:-x} ${1A} ${A-B} $(id)"),
        ("$${A}", "$1"),
        ("${${A}}", "${1}"),
        ("\\${A}", "\\1"),
    ],
)
def test_only_a_name_in_braces_is_replaced(text: str, expected: str) -> None:
    assert Template(text).render(VALUES.__getitem__) == expected


def test_what_was_put_in_is_not_looked_at_again() -> None:
    assert Template("${LOOP}").render(VALUES.__getitem__) == "${A}"


def test_names_are_listed_once_in_the_order_of_their_use() -> None:
    assert Template("${B}${A}${B}").names == ("B", "A")


def test_a_form_that_a_shell_would_expand_is_noticed() -> None:
    assert Template("${A:-x}").has_unread_form
    assert not Template("${A} $B $$").has_unread_form


@given(st.text(st.characters(codec="utf-8")))
def test_an_encoded_value_survives_the_trip_through_a_url(value: str) -> None:
    written = Template("${A}", encode_url=True).render(lambda _: value)

    assert urllib.parse.unquote(written) == value
    assert not set(written) & set(":/@?#[] ")


def test_bytes_that_are_no_utf8_are_encoded_too() -> None:
    assert Template("${A}", encode_url=True).render(lambda _: "\udcff") == "%FF"


def test_a_value_changes_a_url_only_raw_in_a_url_and_with_a_character_that_counts_there() -> None:
    for character in ":/@?#[]% ":
        assert Template("postgresql://u:${A}@h/db").changes_url(f"x{character}")
        assert not Template("${A}").changes_url(f"x{character}")
        assert not Template("postgresql://u:${A}@h/db", encode_url=True).changes_url(f"x{character}")
    assert not Template("postgresql://u:${A}@h/db").changes_url("a-Z0_.~")


def test_templates_come_after_those_that_they_draw_on() -> None:
    templates = {"A": Template("${B}${X}"), "B": Template("${C}"), "C": Template("c"), "D": Template("${A}${C}")}

    result = order(templates)

    assert sorted(result) == ["A", "B", "C", "D"]
    assert [result.index(name) for name in "CBAD"] == sorted(result.index(name) for name in "CBAD")


def test_a_cycle_is_given_as_a_path_that_ends_where_it_began() -> None:
    templates = {"A": Template("${B}"), "B": Template("${C}"), "C": Template("${A}"), "D": Template("${A}")}

    cycle = find_cycle(templates)

    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"A", "B", "C"}
    for name, used in itertools.pairwise(cycle):
        assert used in templates[name].names


def test_a_template_over_itself_is_a_cycle() -> None:
    assert find_cycle({"A": Template("x${A}")}) == ("A", "A")


def test_no_cycle_is_empty_and_long_chains_are_fine() -> None:
    templates = {f"V{number}": Template(f"${{V{number + 1}}}") for number in range(5000)}

    assert find_cycle(templates) == ()
    assert order(templates)[0] == "V4999"


def test_a_template_does_not_show_its_text() -> None:
    assert "c4nary" not in repr(Template("c4nary"))
