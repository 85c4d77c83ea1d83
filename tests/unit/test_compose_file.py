"""Compose files read offline: services, every use of a variable with its place, and what Compose would refuse."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import compose_file
from agent.compose_file import ComposeFile, Service


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))


def read(folder: Path, text: str, *overrides: str, **files: str) -> ComposeFile:
    names = ["compose.yaml", *(f"override{number}.yaml" for number, _ in enumerate(overrides))]
    write(folder, {**dict(zip(names, (text, *overrides), strict=True)), **files})
    return compose_file.read([folder / name for name in names], lambda path: str(path.relative_to(folder)))


def uses(made: ComposeFile) -> list[str]:
    return [f"{use.line}:{use.column} {use.name} {use.form}" for use in made.uses]


def faults(made: ComposeFile) -> list[str]:
    return [f"{finding.place}: {finding.code}" for finding in made.findings]


def only(made: ComposeFile) -> Service:
    assert made.findings == ()
    (service,) = made.services
    return service


def test_every_value_is_looked_into_and_no_key_and_no_comment(tmp_path: Path) -> None:
    made = read(
        tmp_path,
        """\
        # ${COMMENT}
        name: $PROJECT
        x-anything: ["${EXTENSION}"]
        services:
          a:
            image: "r/app:${TAG:-${BASE}}"  # ${COMMENT}
            labels: {$KEY: '${VALUE?say ${WHY}}', plain: $$NOT}
            command: |  # ${COMMENT}
              run $ONE
              ${TWO:-} ${TWO-}
            entrypoint: "\\x24{ESCAPED}"
        """,
    )

    assert made.findings == ()
    assert uses(made) == [
        "2:7 PROJECT $NAME",
        "3:15 EXTENSION ${NAME}",
        "6:19 TAG :-",
        "6:26 BASE ${NAME}",
        "7:21 VALUE ?",
        "7:33 WHY ${NAME}",
        "9:11 ONE $NAME",
        "10:7 TWO :-",
        "10:16 TWO -",
        "11:17 ESCAPED ${NAME}",
    ]
    assert [use.name for use in made.uses if use.default_is_empty] == ["TWO", "TWO"]


def test_a_name_without_a_value_is_taken_from_the_environment(tmp_path: Path) -> None:
    made = read(
        tmp_path,
        """\
        x-common: &common {SHARED: , SET: 1}
        services:
          a:
            build: {context: ., args: [ARG, SET=1]}
            environment: [LISTED, SET=$OTHER, "${DYNAMIC}"]
          b:
            image: x:1
            environment: {<<: *common, OWN: ~, EMPTY: ""}
            secrets: [key, {source: other}]
        secrets:
          key: {environment: KEY_TEXT}
          other: {file: ./x}
        """,
    )

    passed = [use.name for use in made.uses if use.form == "environment"]
    assert sorted(passed) == ["ARG", "KEY_TEXT", "LISTED", "OWN", "SHARED"]
    a, b = made.services
    assert a.environment == {"LISTED", "SET"}
    assert a.takes == {"ARG", "LISTED", "OTHER", "DYNAMIC"}
    assert b.environment == {"SHARED", "SET", "OWN", "EMPTY"}
    assert b.takes == {"SHARED", "OWN", "KEY_TEXT"}


def test_files_are_laid_over_each_other(tmp_path: Path) -> None:
    service = only(
        read(
            tmp_path,
            "services: {a: {image: x:1, environment: {A: 1}, profiles: [p], container_name: one}}\n",
            "services: {a: {image: x:2, environment: [B], profiles: [p, q], env_file: e.env}}\n",
            **{"e.env": "# c\nexport C=${D}\nE\nF='${NOT}'\n"},
        )
    )

    assert (service.image, service.container_name, service.profiles) == ("x:2", "one", ("p", "q"))
    assert service.environment == {"A", "B", "C", "E", "F"}
    assert service.takes == {"B", "D", "E"}
    assert (service.place.file, service.image_place and service.image_place.file) == ("compose.yaml", "override0.yaml")


def test_what_an_override_takes_away_or_replaces_is_not_there(tmp_path: Path) -> None:
    made = read(
        tmp_path,
        """\
        services:
          a:
            image: one
            container_name: x
            env_file: [{path: e1, required: false}]
            environment: {A: "1", B: "2"}
            profiles: [p]
          b: {image: two}
          c: {image: three, container_name: y}
          d: {image: four, build: .}
        """,
        """\
        services:
          a:
            container_name: !reset null
            env_file: !override [{path: e2, required: false}]
            environment: {A: !reset null}
            profiles: !reset []
          b: !reset null
          c: !override {image: drei}
          d: {image: !reset null}
        """,
        """\
        services:
          d: {environment: !override [C=3]}
        """,
    )

    assert made.findings == ()
    a, c, d = made.services
    assert (a.image, a.container_name, a.environment, a.profiles) == ("one", None, frozenset("B"), ())
    assert [item.path and item.path.name for item in a.env_file] == ["e2"]
    assert (c.name, c.image, c.container_name) == ("c", "drei", None)
    assert (d.name, d.image, d.builds, d.environment) == ("d", None, True, frozenset("C"))


def test_what_a_service_extends_and_a_file_includes_counts(tmp_path: Path) -> None:
    made = read(
        tmp_path,
        """\
        include: [more.yaml, {path: [sub/other.yaml]}, "${ELSEWHERE}"]
        services:
          a: {extends: {service: base, file: base.yaml}, environment: [OWN]}
          b: {extends: a}
        """,
        **{
            "base.yaml": "services: {base: {image: b:1, environment: [BASE]}}\n",
            "more.yaml": "services: {m: {image: '$M'}}\n",
            "sub/other.yaml": "services: {o: {image: o:1, env_file: [o.env]}}\n",
            "sub/o.env": "O\n",
        },
    )

    by_name = {service.name: service for service in made.services}
    assert made.findings == ()
    assert by_name["b"].takes == {"OWN", "BASE"}
    assert by_name["b"].image == "b:1"
    assert by_name["o"].takes == {"O"}
    assert {use.name for use in made.uses} == {"ELSEWHERE", "OWN", "BASE", "M"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("services: {a: {image: x\n", "compose.yaml:2:1: compose-file-invalid"),
        ("", "compose.yaml:1:1: compose-file-invalid"),
        ("- a\n", "compose.yaml:1:1: compose-file-invalid"),
        ("services: {}\n", "compose.yaml:1:1: compose-file-invalid"),
        ("services:\n  a: {image: x}\n  a: {image: y}\n", "compose.yaml:3:3: compose-file-invalid"),
        ("services:\n  a: {command: x}\n", "compose.yaml:2:3: service-without-image"),
        ("services:\n  a: {image: 'x${'}\n", "compose.yaml:2:16: interpolation-invalid"),
        ("services:\n  a: {extends: b}\n", "compose.yaml:2:16: compose-file-invalid"),
        ("services:\n  a: {extends: a}\n", "compose.yaml:2:16: compose-file-invalid"),
        ("include: [no.yaml]\nservices: {a: {image: x}}\n", "compose.yaml:1:11: compose-file-invalid"),
        ("services:\n  a: {extends: {file: no.yaml, service: b}}\n", "compose.yaml:2:23: compose-file-invalid"),
        ("services: " + "[" * 50 + "]" * 50, "compose.yaml:1:50: compose-file-invalid"),
    ],
)
def test_what_compose_refuses_is_a_finding_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    assert told in faults(read(tmp_path, text))


def test_no_message_quotes_the_file(tmp_path: Path) -> None:
    made = read(tmp_path, "services: {a: {image: x, environment: {PASSWORD: *c4nary}}}\n")

    assert made.findings
    assert not made.whole
    assert "c4nary" not in str(made.findings)


def test_several_documents_are_one_project_and_crlf_and_a_bom_are_nothing_special(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(
        b"\xef\xbb\xbfservices: {a: {image: x}}\r\n---\r\nservices:\r\n  b: {image: $B}\r\n"
    )

    made = compose_file.read([tmp_path / "c.yaml"], lambda path: path.name)

    assert [service.name for service in made.services] == ["a", "b"]
    assert uses(made) == ["4:14 B $NAME"]


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    made = compose_file.read([tmp_path / "none.yaml"], lambda path: path.name)

    assert [(finding.code, finding.exit_code) for finding in made.findings] == [("unreadable", 74)]


def test_aliases_are_never_multiplied(tmp_path: Path) -> None:
    levels = "".join(
        f"x-{n}: &a{n} {{<<: [*a{n - 1}, *b{n - 1}]}}\nx-b{n}: &b{n} {{<<: [*a{n - 1}, *b{n - 1}]}}\n"
        for n in range(1, 60)
    )
    head = "x-0: &a0 {K: $V}\nx-b0: &b0 {L: 1}\n"

    made = read(tmp_path, f"{head}{levels}services: {{a: {{image: x, environment: {{<<: *a59}}}}}}\n")

    assert only(made).environment == {"K", "L"}
    assert only(made).takes == {"V"}


SCALARS = st.sampled_from(["x", "$A", "${B:-}", "${", "a", "~", "", "1", "base.yaml", "compose.yaml", "A=b", "no"])
KEYS = st.sampled_from(
    "services include extends file service image environment env_file secrets build args a b <<".split()
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


@given(st.one_of(TREES.map(str), st.text(max_size=60), st.binary(max_size=60)))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.slow
def test_no_file_ends_in_a_traceback(tmp_path: Path, text: str | bytes) -> None:
    (tmp_path / "compose.yaml").write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))

    made = compose_file.read([tmp_path / "compose.yaml"], lambda path: path.name)

    for use in made.uses:
        assert use.line >= 1
        assert use.column >= 1
