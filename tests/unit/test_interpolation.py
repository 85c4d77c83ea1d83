"""References in a compose file, found as Compose finds them: against written cases, and against Compose itself."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent.compose_file.filling import UNKNOWN, fill
from agent.compose_file.interpolation import MOST_LEVELS, Literal, Reference, parse, references

COMPOSE = Path(os.environ.get("DELPHI_LAB_CACHE", "/var/cache/delphi-agent-lab")) / "docker-compose"
ENVIRONMENT = {"A": "aa", "B": ""}

PIECES = [
    "$",
    "${",
    "}",
    "{",
    "A",
    "B",
    "C_1",
    "${A}",
    "${B",
    "${C",
    ":-",
    "-",
    ":?",
    "?",
    ":+",
    "+",
    " ",
    "x",
    "1",
    "$$",
]
TEXTS = st.lists(
    st.sampled_from([*PIECES, "\n", ":", '"', "é", "\u017f", "${A:-", "${B:-", "${C-", "${B:+"]), max_size=12
).map("".join)


def names(text: str) -> list[str]:
    return [part.name if isinstance(part, Reference) else "!" for part in references(parse(text))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("$", []),
        ("$1 $. $", []),
        ("$A$B", ["A", "B"]),
        ("$A_1x-y", ["A_1x"]),
        ("${A}", ["A"]),
        ("$$A $${A} $$$A", ["A"]),
        ("${A:-x} b ${B}", ["A", "B"]),
        ("${A:-${B-${C:?$D}}} $E", ["A", "B", "C", "D", "E"]),
        ("${A:+${B}}", ["A", "B"]),
        ("${A:-$$B}", ["A"]),
        ("${A:-{x}}", ["A"]),
        ("${A:-}}", ["A"]),
        ("${", ["!"]),
        ("${}", ["!"]),
        ("${1A}", ["!"]),
        ("${A", ["!"]),
        ("${A:x}", ["!"]),
        ("${A B}", ["!"]),
        ("${A:-x\ny}", ["!"]),
        ("${A:-${B}", ["A", "!"]),
        ("${ $A", ["!", "A"]),
    ],
)
def test_the_references_of_a_text(text: str, found: list[str]) -> None:
    assert names(text) == found


# The table of the Compose specification (12-interpolation.md), for a value, an empty one, and none at all.
@pytest.mark.parametrize(
    ("form", "full", "empty", "absent"),
    [
        ("$V", "v", "", ""),
        ("${V}", "v", "", ""),
        ("${V:-d}", "v", "d", "d"),
        ("${V-d}", "v", "", "d"),
        ("${V:?e}", "v", None, None),
        ("${V?e}", "v", "", None),
        ("${V:+r}", "r", "", ""),
        ("${V+r}", "r", "r", ""),
        ("${V:-${W-d}}", "v", "d", "d"),
        ("${V:+${W:-r}}", "r", "", ""),
        ("${V:+a}${V:-b}", "av", "b", "b"),
        ("$$V $${V:-d}", "$V ${V:-d}", "$V ${V:-d}", "$V ${V:-d}"),
        ("${V:+$$}", "$", "", ""),
        ("${V!}", None, None, None),
    ],
)
def test_each_operator_does_what_the_specification_says(
    form: str, full: str | None, empty: str | None, absent: str | None
) -> None:
    assert [fill(parse(form), values) for values in ({"V": "v"}, {"V": ""}, {})] == [full, empty, absent]


@pytest.mark.parametrize(
    ("form", "made"),
    [
        ("a:${V}", f"a:{UNKNOWN}"),
        ("a:${V:-1}", f"a:{UNKNOWN}"),
        ("${V:?e}/a", f"{UNKNOWN}/a"),
        ("a${V:+-slim}", f"a{UNKNOWN}"),
        ("a${V:+}", "a"),
        ("${W:-${V}}", UNKNOWN),
        ("${W:+${V}}a", "a"),
        ("${V:-${", None),
    ],
)
def test_what_is_not_known_stays_unknown_unless_no_value_of_it_matters(form: str, made: str | None) -> None:
    assert fill(parse(form), {"V": None}) == made


def test_a_default_is_empty_only_when_nothing_is_there() -> None:
    assert [part.argument for part in parse("${A:-}${A-}") if isinstance(part, Reference)] == [(), ()]
    assert parse("${A:-$$}") == (Reference("A", ":-", (Literal("$"),), "${A"),)


def test_no_nesting_is_too_deep() -> None:
    deep = "${A:-" * 5000 + "}" * 5000

    assert names(deep)[: MOST_LEVELS + 1] == ["A"] * MOST_LEVELS + ["!"]


@given(TEXTS)
@settings(max_examples=500, deadline=None)
def test_every_character_without_a_dollar_sign_or_a_brace_is_kept(text: str) -> None:
    plain = text.replace("$", "").replace("{", "")

    assert parse(plain) == ((Literal(plain),) if plain else ())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compose")


def by_compose(folder: Path, texts: list[str]) -> list[str] | None:
    """What Compose makes of the texts; None when it refuses the file."""
    labels = {f"l{number}": text for number, text in enumerate(texts)}
    file = folder / "compose.yaml"
    file.write_text(json.dumps({"services": {"a": {"image": "x", "labels": labels}}}))
    done = subprocess.run(
        [COMPOSE, "-f", file, "config", "--format", "json"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **ENVIRONMENT},
        capture_output=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        return None
    made = json.loads(done.stdout)["services"]["a"].get("labels", {})
    return [made[name].replace("$$", "$") for name in labels]


@pytest.mark.skipif(not os.access(COMPOSE, os.X_OK), reason="the lab's Compose is not installed")
@given(st.lists(TEXTS, min_size=1, max_size=60))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(["${C:-${B:-$A}}", "${C:-${A}", "$$${A}", "${A:-x} b ${A}", "${B:-{}} ${A}", '${B:-{"x"}} ${A}', "${\u017f}"])
@example(["${B:-$${A}}", "${B:+${A}}${A:+y}", "${B-x:-y}", "${B:-x?y}", "${A}}", "${C?${B:-x}}", "${A?${C?no}}"])
@pytest.mark.slow
def test_compose_reads_every_text_in_the_same_way(folder: Path, texts: list[str]) -> None:
    taken: dict[str, str] = {}
    refused: list[str] = []
    for text in texts:
        made = fill(parse(text), ENVIRONMENT)
        if made is None:
            refused.append(text)
        else:
            taken[text] = made

    assert by_compose(folder, list(taken)) == list(taken.values())
    for text in refused[:3]:
        assert by_compose(folder, [text]) is None, text
