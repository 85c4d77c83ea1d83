"""The bootstrap file's grammar against bash itself: what is accepted, bash reads alike; the rest bash never sees."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent.shell import file as shell_file
from agent.shell.file import parse

LONG = os.environ.get("DELPHI_LONG") == "1"
CANARY = "c4nary"


def bash_reads(folder: Path, files: list[bytes]) -> list[dict[bytes, bytes]]:
    """What `set -a; source FILE` puts into the environment of a child, for each file; one bash for all of them.

    A command that a file would run is seen: none is found on the path, and bash says so on stderr.
    """
    for number, data in enumerate(files):
        (folder / str(number)).write_bytes(data)
    # Bash itself exports nothing here and has no variable that a file could export, so the child has only what the file
    # sets (and `_`).
    script = """
        shopt -u checkwinsize
        unset PWD OLDPWD SHLVL
        PATH=/nowhere HOME=/home
        while (($#)); do
            (set -a; source "$1"; exec /usr/bin/env -0)
            printf '\\1\\0'
            shift
        done"""
    run = subprocess.run(
        [
            "/usr/bin/bash",
            "--norc",
            "--noprofile",
            "-c",
            script,
            "bash",
            *(str(folder / str(n)) for n in range(len(files))),
        ],
        env={},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )

    assert run.stderr == b""
    worlds: list[dict[bytes, bytes]] = [{}]
    for entry in run.stdout.split(b"\0")[:-1]:
        key, _, value = entry.partition(b"=")
        if entry == b"\1":
            worlds.append({})
        elif key != b"_":
            worlds[-1][key] = value
    assert len(worlds) == len(files) + 1
    return worlds[:-1]


def values(data: bytes) -> dict[bytes, bytes]:
    read = parse(data, ".env").values()
    return {name.encode(): value.encode("utf-8", "surrogateescape") for name, value in read.items()}


ACCEPTED = {
    "plain": b"A=1\nB=two\n",
    "no newline at the end": b"A=1",
    "the last one wins": b"A=1\nA=2\n",
    "comments and blank lines": b"# one\n\n  \t\n   # two\nA=1 # three\nB=x#y\nC=#z\nD=''#d\n",
    "a comment does not go on after a backslash": b"# one \\\nA=1\n",
    "indented": b" \tA=1\t \n",
    "export": b"export A=1\nexport\tB='x y' C=\"z\"  # all\nexport A\n",
    "export expands before it sets": b"A=1\nexport A=2 B=$A\n",
    "several on a line": b"A=1 B=$A C=${B}x\n",
    "single quotes": b"A='x $y `z` \\ \"q\" # ~'\n",
    "double quotes": b'A="x # \' \\$ \\` \\" \\\\ \\n ! ~ * {a,b} (x) ; & | < >"\n',
    "an escaped newline in double quotes": b'A="x\\\ny"\n',
    "quotes over lines": b"A='x\ny' B=\"z\n\n\" # c\nC=1\n",
    "ansi quotes": rb"""A=$'a\tb\n\e\E\a\b\f\r\v\\\'\"\?'""",
    "ansi quotes, numbers": rb"A=$'\x41\101\1\cA\cz\u41\U00000041\xc3\xa9\xff' B=$'\x\u\q\U'",
    "ansi quotes in double quotes are text": b"A=\"$'x\\n'\"\n",
    "bytes joined across pieces": b"A=$'\\xc3'$'\\xa9'\n",
    "pieces side by side": b"B=1\nA=\"x\"'y'z\\ $B\"${B}\"$'\\n'\n",
    "escapes": b"A=x\\ y\\$z\\'\\\"\\\\\\~\\#\\n\\\nq\n",
    "a continued line": b"A=1 \\\n  B=2\\\n3 \\\n# c\nC=4\\\n#5\n",
    "a backslash at the end of the file": b"A=x\\",
    "a continued line at the end of the file": b"A=x\\\n",
    "empty": b"A=\nB=''\nC=\"\"\nD=$'' E=\n",
    "a dollar that begins nothing": b'A=$ B=x$ C=$%$.$/$=$:$,$]$} D="$" E="x$ $% $.\xc3\xa9$" F=$\xc3\xa9\n',
    "a tilde that is text": b"A=x~ B=\"~\" C='~' D=\\~ E=x=~ F=''~ G=x\\:~ H=\":\"~ I=x~:y~\n",
    "globs are text": b"A=* B=?[a-z]* C=[ D={a,b} E={1..3} F=!x G=^x H=%x I=@ J=+ K=-n L=a=b\n",
    "globs after export": b"export A=* B=?[a-z]*\n",
    "other blanks are text": b"A=x\x0by\x0cz B=\xc2\xa0\n",
    "bytes that are no UTF-8": b"A=\xff\xfe B='\x80' C=\"\xff\\\xfe\" D=\\\xff\n",
    "control characters": b"A=\x01\x7f B='\x01\x7f' C=\"\x01\x7f\\\x01\" D=\\\x01\\\x7f\n",
    "words of the shell as names": b"if=1 time=2\nexport do=3 export=4\nexport=5\n",
    "a lone carriage return": b"A=x\ry\r",
    "names that bash reads too": b"IFS=x TZ=y LC_ALL=C HISTSIZE=z HOSTNAME=h USER=u PS1=p OPTARG=o REPLY=r TMOUT=5\n",
    "a name set by the line itself before": b"A=1\nA=$A$A\n",
    "JSON": b'A=\'{"a": [1, 2]}\' B={"a":1}\n',
}


def test_what_is_accepted_is_what_bash_reads(tmp_path: Path) -> None:
    for data in ACCEPTED.values():
        assert parse(data, ".env").faults == ()

    read = bash_reads(tmp_path, list(ACCEPTED.values()))

    for (title, data), expected in zip(ACCEPTED.items(), read, strict=True):
        assert (title, expected) == (title, values(data))


REFUSED = {
    b"A=$(id)\n": "1:3",
    b'A="x$(id)"\n': "1:5",
    b"A=`id`\n": "1:3",
    b'A="`id`"\n': "1:4",
    b"A=$((1+1))\n": "1:3",
    b"A=$[1+1]\n": "1:3",
    b"A=${B:-x}\n": "1:3",
    b"B=1\nA=${#B}\n": "2:3",
    b"B=1\nA=${B}${!B}\n": "2:7",
    b"A=${B\n": "1:3",
    b"A=$B\n": "1:3",
    b"A=$A\n": "1:3",
    b"export B=1 A=$B\n": "1:14",
    b"A=x$1\n": "1:4",
    b'A="$?"\n': "1:4",
    b"A=$$ \n": "1:3",
    b"A=$_\n": "1:3",
    b'A=$"x"\n': "1:3",
    b"A=~\n": "1:3",
    b"A=~root/x\n": "1:3",
    b"A=x:~\n": "1:5",
    b"A=\\\n~\n": "2:1",
    b"export A=~\n": "1:10",
    b"export A={a,b}\n": "1:10",
    b"A=(1 2)\n": "1:3",
    b"A[0]=1\n": "1:1",
    b"A+=1\n": "1:1",
    b"A=<(id)\n": "1:3",
    b"A=x(y)\n": "1:4",
    b"A=1;\n": "1:4",
    b"A=1&\n": "1:4",
    b"A=1|cat\n": "1:4",
    b"A=1>x\n": "1:4",
    b"A=1 id\n": "1:5",
    b"A= id\n": "1:4",
    b"A =1\n": "1:1",
    b"id\n": "1:1",
    b"A\n": "1:1",
    b"A=1 export B=2\n": "1:5",
    b"export\n": "1:1",
    b"export  # c\n": "1:1",
    b"export -p\n": "1:8",
    b"export -n A\n": "1:8",
    b'export "A=1"\n': "1:8",
    b"declare A=1\n": "1:1",
    b"1A=2\n": "1:1",
    b"A-B=2\n": "1:1",
    b"\xc3\x89=2\n": "1:1",
    b"A\\\nB=2\n": "1:1",
    b"B=1\nA=$B\\\nC\n": "2:3",
    b'B=1\nA="$\\\nB"\n': "2:4",
    b"A='x\nB=1\n": "1:3",
    b'A=1\nB="x\n': "2:3",
    b"A=$'x\\'\n": "1:4",
    b"A=$'\\0'\n": "1:5",
    b"A=$'x\\400'\n": "1:6",
    b"A=$'\\u00e9'\n": "1:5",
    b"A=$'\\x{41}'\n": "1:5",
    b"A=$'\\c?'\n": "1:5",
    b"A=1\0\n": "1:4",
    b"if true; then\n": "1:1",
    b"set -a\n": "1:1",
    b"source x\n": "1:1",
    b"unset A\n": "1:1",
    b"UID=5\n": "1:1",
    b"RANDOM=5\n": "1:1",
    b"export SHELLOPTS=x\n": "1:8",
    b"POSIXLY_CORRECT=1\n": "1:1",
}


@pytest.mark.parametrize("data", REFUSED, ids=repr)
def test_what_bash_would_expand_or_run_is_refused_with_its_place(data: bytes) -> None:
    faults = parse(data, ".env").faults

    assert len(faults) == 1
    assert faults[0].startswith(f".env:{REFUSED[data]}: ")


def test_every_name_that_bash_owns_is_refused_and_every_other_one_reads_alike(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["/usr/bin/bash", "--norc", "--noprofile", "-c", "compgen -v"], env={}, capture_output=True, check=True
    )
    names = sorted({*listed.stdout.decode().split(), "IFS", "PS4", "ENV", "LANG", "MAIL", "CDPATH", "HISTFILE"})
    open_names = [name for name in names if name not in shell_file.BASH_OWNS]
    files = [f"{name}={value}\nZ=${name}".encode() for name in open_names for value in ("7", "x", "010", "''")]

    read = bash_reads(tmp_path, files)

    assert read == [values(data) for data in files]
    assert all(parse(f"{name}=1".encode(), ".env").faults for name in shell_file.BASH_OWNS)


def test_all_faults_are_told_at_once_and_reading_goes_on_after_each() -> None:
    data = b"A=$(x)\nB=1\nC=~\nD=`y`\nE=${A}$B\nrm -rf /\n"

    read = parse(data, ".env")

    assert [fault.split(": ")[0] for fault in read.faults] == [".env:1:3", ".env:3:3", ".env:4:3", ".env:6:1"]
    assert list(read.values()) == ["B", "E"]
    assert read.seen == {"A", "B", "C", "D", "E"}


def test_a_fault_never_shows_a_piece_of_a_value() -> None:
    for data in REFUSED:
        text = data.replace(b"id", CANARY.encode()).replace(b"x", CANARY.encode()).replace(b"$B", b"$c4nary")
        assert not [fault for fault in parse(text, ".env").faults if CANARY in fault]


def test_an_unclosed_quote_says_that_the_rest_was_not_read() -> None:
    read = parse(b"A=1\nB='x\nC=2\n", ".env")

    assert not read.complete
    assert list(read.values()) == ["A"]


def test_windows_line_ends_and_a_byte_order_mark_are_taken_off_with_a_warning() -> None:
    read = parse(b"\xef\xbb\xbfA=1\r\nB='x\r\ny'\r\n", ".env")

    assert read.values() == {"A": "1", "B": "x\ny"}
    assert len(read.warnings) == 2
    assert not read.faults


def test_a_lone_carriage_return_stays_with_a_warning_that_names_the_line() -> None:
    read = parse(b"A=1\nB=x\ry\n", ".env")

    assert read.values()["B"] == "x\ry"
    assert read.warnings[0].startswith(".env:2: ")


def test_export_of_a_name_without_a_value_warns() -> None:
    read = parse(b"export A\n", ".env")

    assert read.values() == {}
    assert read.warnings[0].startswith(".env:1:8: ")


def test_an_assignment_does_not_show_its_value() -> None:
    assert CANARY not in repr(parse(f"A={CANARY}".encode(), ".env"))


PIECES = st.one_of(
    st.sampled_from(
        r"""A B C= = \ ' " $ $A ${B} ${ } { # ~ :
        $' \x41 \n \' \0 \c \u4 ! * [ ] ? , .. - % ^ @ é =' x 1 ( ) ; & | < > ` +=""".split()
    ),
    st.sampled_from([" ", "\t", "\n", "\\\n", "export ", "export A", "\nA=", "\nB=", "\nexport B=", " A=", ' B="']),
    st.sampled_from(["\x01", "\x7f", "\udcff", "\r", "\v"]),
    st.text(st.characters(min_codepoint=1, max_codepoint=0x2FF), min_size=1, max_size=3),
)
QUOTED = st.text(st.sampled_from("ab $\\`\"~#\n{},'x1"), max_size=6)
WORDS = st.one_of(
    QUOTED.map(lambda text: "'" + text.replace("'", "") + "'"),
    QUOTED.map(lambda text: '"' + text.replace('"', "").replace("`", "").rstrip("\\") + '"'),
    QUOTED.map(lambda text: "$'" + text.replace("'", "").rstrip("\\") + "'"),
    st.sampled_from(["$A", "${A}", "x", "\\ ", "~", ":", "=", "{a,b}", "\\\n", "#", "*", "$", '"$A"', '"${A}"', "é"]),
)
LINES = st.builds(
    lambda start, name, words, end: f"{start}{name}={''.join(words)}{end}",
    st.sampled_from(["", " ", "export ", "B=1 ", "export C=$A "]),
    st.sampled_from(["A", "B", "C"]),
    st.lists(WORDS, max_size=5),
    st.sampled_from(["\n", " # c\n", " B=$A\n", "", "\\\n", "\r\n"]),
)
FILES = st.one_of(
    st.lists(PIECES, max_size=14).map("".join),
    st.lists(LINES, max_size=5).map("".join).map(lambda text: "A=0\n" + text),
)


@settings(
    max_examples=1500 if LONG else 40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@example(["n=1", "export n"])
@given(st.lists(FILES, min_size=30, max_size=40))
@pytest.mark.slow
def test_generated_files_read_as_bash_reads_them_and_run_nothing(tmp_path: Path, texts: list[str]) -> None:
    # CRLF is one of the two things that are read differently on purpose: bash gets the file without any.
    files = [re.sub(rb"\r+\n", b"\n", text.encode("utf-8", "surrogateescape")) for text in texts]
    accepted = [data for data in files if not parse(data, ".env").faults] or [b""]

    read = bash_reads(tmp_path, accepted)

    for data, expected in zip(accepted, read, strict=True):
        assert (data, expected) == (data, values(data))
