"""The resolved environment as text."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import UsageError
from agent.secret import Secret
from agent.variables import formats
from agent.variables.resolution import Resolution

LONG = bool(os.environ.get("DELPHI_LONG"))
SHELLS = [command for command in (["bash", "--norc"], ["dash"], ["busybox", "sh"]) if shutil.which(command[0])]
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40) | st.text(
    "'\"\\$`!\n\t #;&|<>(){}[]*?~=%\r", max_size=20
)


def resolution(values: dict[str, str]) -> Resolution:
    return Resolution(variables={}, environment={name: Secret(text) for name, text in values.items()}, warnings=())


def evaluated(shell: list[str], script: bytes, names: list[str]) -> dict[str, bytes]:
    """What `eval` of the text leaves in the environment of a child of the shell."""
    done = subprocess.run(
        [*shell, "-c", 'eval "$(cat)"; env -0'],
        input=script,
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    entries = dict(entry.split(b"=", 1) for entry in done.stdout.split(b"\0") if entry)
    return {name: entries[name.encode()] for name in names}


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@settings(max_examples=400 if LONG else 40, deadline=None)
@given(values=st.lists(VALUES, min_size=1, max_size=30))
def test_export_lines_survive_eval_in_every_shell(shell: list[str], values: list[str]) -> None:
    named = {f"V_{number}": value for number, value in enumerate(values)}

    text = formats.render(resolution(named), "export")

    assert evaluated(shell, text, list(named)) == {name: value.encode() for name, value in named.items()}


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_bytes_that_are_no_utf8_survive_eval(shell: list[str]) -> None:
    every_byte = bytes(range(1, 256))

    text = formats.render(resolution({"V": every_byte.decode("utf-8", "surrogateescape")}), "export")

    assert evaluated(shell, text, ["V"]) == {"V": every_byte}


def test_file_lines_hold_the_value_as_it_is() -> None:
    text = formats.render(resolution({"B": "x y $z 'q' #", "A": ""}), "file")

    assert text == b"A=\nB=x y $z 'q' #\n"


def test_a_line_break_has_no_spelling_in_a_file_and_the_message_names_only_the_variable() -> None:
    with pytest.raises(UsageError) as caught:
        formats.render(resolution({"PEM": "CANARYfirst\nCANARYsecond", "A": "1"}), "file")

    assert "PEM" in str(caught.value)
    assert "CANARY" not in str(caught.value)


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), VALUES, max_size=5))
def test_json_holds_every_value(values: dict[str, str]) -> None:
    assert json.loads(formats.render(resolution(values), "json")) == {"schema": 1, "variables": values}


def test_a_table_shows_names_and_sources_but_no_value() -> None:
    text = formats.render(resolution({"TOKEN": "CANARYvalue"}), "table").decode()

    assert "TOKEN" in text
    assert "bootstrap file" in text
    assert "CANARY" not in text
