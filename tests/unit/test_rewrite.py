"""Rewriting a bootstrap file: one value changes, every other byte stays, and bash reads the rest as before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.shell import file as shell_file
from agent.shell.rewrite import RewriteError, rewrite

FILE = b"""# Written by cloud-init.
export ENVIRONMENT="prod"   # do not touch
ECR_TAG=1.0 A=1 B='two words'
CONFIG_REF='v1'\t# the ref

P=$'a\\'b'
"""


def test_only_the_value_changes_and_all_other_bytes_stay() -> None:
    assert rewrite(FILE, {"ECR_TAG": "2.0", "CONFIG_REF": "v2"}) == FILE.replace(b"=1.0 ", b"=2.0 ").replace(
        b"'v1'", b"v2"
    )


def test_the_same_value_changes_no_byte_not_even_its_quotes() -> None:
    assert rewrite(FILE, {"CONFIG_REF": "v1"}) == FILE


@pytest.mark.parametrize("name", ["ECR_TAG", "CONFIG_REF"])
def test_of_several_lines_with_the_name_the_last_one_is_rewritten(name: str) -> None:
    data = f"{name}=a\n{name}=b\n".encode()
    assert rewrite(data, {name: "c"}) == f"{name}=a\n{name}=c\n".encode()


def test_windows_line_ends_and_the_mark_stay() -> None:
    data = b"\xef\xbb\xbfA=\xc3\xa4\r\nECR_TAG=1\r\nB=2\r\n"
    assert rewrite(data, {"ECR_TAG": "22"}) == b"\xef\xbb\xbfA=\xc3\xa4\r\nECR_TAG=22\r\nB=2\r\n"


def test_a_value_with_blanks_or_quotes_is_spelled_in_quotes() -> None:
    data = rewrite(b"CONFIG_REF=a\n", {"CONFIG_REF": "it's $x"})
    assert shell_file.parse(data, "f").values() == {"CONFIG_REF": "it's $x"}


def test_a_value_over_two_lines_is_replaced_whole() -> None:
    assert rewrite(b"ECR_TAG=1.\\\n5 A=1\n", {"ECR_TAG": "2"}) == b"ECR_TAG=2 A=1\n"


def test_a_name_that_the_file_does_not_set_is_refused() -> None:
    with pytest.raises(RewriteError, match="does not set ECR_TAG"):
        rewrite(b"A=1\n", {"ECR_TAG": "2"})


def test_a_file_in_which_another_name_draws_on_it_is_refused_with_that_name() -> None:
    with pytest.raises(RewriteError, match="IMAGE would change"):
        rewrite(b"ECR_TAG=1\nIMAGE=api:$ECR_TAG\n", {"ECR_TAG": "2"})


NAMES = st.sampled_from(["A", "B", "ECR_TAG", "CONFIG_REF"])
WORDS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=6)
ENDS = st.sampled_from(["\n", "\r\n", " ", "\n\n# a comment ü\n"])


def quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


@given(st.lists(st.tuples(NAMES, WORDS, ENDS), max_size=8), WORDS, st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_whatever_the_file_the_other_names_keep_their_values(
    lines: list[tuple[str, str, str]], value: str, mark: bytes
) -> None:
    text = "".join(f"{name}={quoted(word)}{end}" for name, word, end in lines) + "ECR_TAG=0\n"
    data = mark + text.encode()
    # A CR before an LF is taken off inside of quotes as well: as read, not as meant here.
    before = shell_file.parse(data, "f").values()
    value = value.replace("\r\n", "\n")
    after = shell_file.parse(rewrite(data, {"ECR_TAG": value}), "f").values()
    assert after == {**before, "ECR_TAG": value}
