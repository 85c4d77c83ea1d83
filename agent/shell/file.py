"""Reads a file of `NAME=value` lines exactly as bash reads it after `set -a; source FILE`, or refuses it.

Contract section 2 is the grammar. Nothing is ever run. Read as bash does: comments, `export`, single and double quotes,
`$'..'`, backslashes, pieces side by side, quotes over several lines, several assignments on a line, and `$NAME` or
`${NAME}` of a name set above. Refused, each with its line and column: command and process substitution, arithmetic,
other `${...}` forms, names that no line above sets, `~` where it means a home directory, braces after `export`, arrays,
`+=`, `;` and other operators, commands, and names that bash itself owns (`UID`, `RANDOM`, ...). Windows line ends and a
byte-order mark are taken off with a warning, which bash would not do. Bytes that are no UTF-8 are kept (PEP 383).

No fault or warning ever holds a value, or a word that might be a part of one.
"""

from __future__ import annotations

import bisect
import codecs
import re
from dataclasses import field

from agent.dataclass import dataclass
from agent.shell.word import BLANKS, NAME, SkipLineError, UnclosedError, ValueReader

# Bash refuses to set these, sets them by itself, or hands a child something else than what was assigned (tested
# against bash). POSIXLY_CORRECT changes how bash reads the lines below it.
BASH_OWNS = frozenset(
    "_ BASHOPTS BASHPID BASH_ALIASES BASH_ARGC BASH_ARGV BASH_ARGV0 BASH_CMDS BASH_COMMAND BASH_LINENO "
    "BASH_MONOSECONDS BASH_SOURCE BASH_SUBSHELL BASH_TRAPSIG BASH_VERSINFO COMP_WORDBREAKS DIRSTACK EPOCHREALTIME "
    "EPOCHSECONDS EUID FUNCNAME GROUPS HISTCMD LINENO OPTIND PIPESTATUS POSIXLY_CORRECT PPID RANDOM SECONDS SHELLOPTS "
    "SHLVL SRANDOM UID".split()
)

NUL_FAULT = "a NUL byte; remove it"
COMMAND_FAULT = "this is a command, not NAME=value; put a value that holds blanks in quotes, and no blanks around `=`"
APPEND_FAULT = "`+=` is not read; write NAME=value"
ELEMENT_FAULT = "array elements are not read; write NAME=value"
OWNED_FAULT = "bash owns this name and would use another value; choose another name, or remove the line"
EXPORT_FAULT = "`export` takes NAME=value or NAME here, without options and without quotes around the name"

_ASSIGNMENT = re.compile(rf"({NAME.pattern})=")
_EXPORT = re.compile(r"export(?=[ \t])")
_BARE_NAME = re.compile(rf"({NAME.pattern})(?=[ \t\n]|\Z)")
_APPEND = re.compile(rf"{NAME.pattern}\+=")
_ELEMENT = re.compile(rf"{NAME.pattern}\[")


@dataclass(frozen=True)
class Assignment:
    """`NAME=value` at a line (1-based); `span` is where the value is spelled, in characters of the text as read."""

    name: str
    value: str = field(repr=False)
    line: int
    span: tuple[int, int] = field(default=(0, 0), compare=False)


@dataclass(frozen=True, kw_only=True)
class ShellFile:
    """What the file sets, in order; with faults, only what could be read.

    `faults` are "NAME:LINE:COL: what; what to write instead". `seen` are the names that have a line of their own, be
    it faulty; `complete` is false when an unclosed quote hid the rest of the file.
    """

    assignments: tuple[Assignment, ...]
    faults: tuple[str, ...]
    warnings: tuple[str, ...]
    seen: frozenset[str]
    complete: bool

    def values(self) -> dict[str, str]:
        """Each name with its last value."""
        return {assignment.name: assignment.value for assignment in self.assignments}


def parse(data: bytes, name: str) -> ShellFile:
    """Read `data`; `name` is what faults and warnings call the file. Never raises."""
    warnings: list[str] = []
    if data.startswith(codecs.BOM_UTF8):
        data = data.removeprefix(codecs.BOM_UTF8)
        warnings.append(f"{name}:1:1: a byte-order mark is ignored; bash would not ignore it")
    if b"\r\n" in data:
        warnings.append(f"{name}: lines end in CRLF, read as LF; bash would take each CR for a part of the value")
        data = data.replace(b"\r\n", b"\n")
    if b"\r" in data:
        line = data[: data.index(b"\r")].count(b"\n") + 1
        warnings.append(f"{name}:{line}: a carriage return that ends no line is a part of the value")
    reader = _FileReader(data.decode("utf-8", "surrogateescape"), name)
    reader.read()
    return ShellFile(
        assignments=tuple(reader.assignments),
        faults=tuple(f"{name}:{line}:{column}: {fault}" for line, column, fault in sorted(reader.faults)),
        warnings=(*warnings, *reader.warnings),
        seen=frozenset(reader.seen),
        complete=reader.complete,
    )


class _FileReader:
    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.position = 0
        self.complete = True
        self.assignments: list[Assignment] = []
        self.faults: list[tuple[int, int, str]] = []
        self.warnings: list[str] = []
        self.seen: set[str] = set()
        self._known: dict[str, str] = {}
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def read(self) -> None:
        for nul in re.finditer("\0", self.text):
            self._report(nul.start(), NUL_FAULT)
        while self.position < len(self.text):
            try:
                self._command()
            except SkipLineError:
                end = self.text.find("\n", self.position)
                self.position = len(self.text) if end < 0 else end
            except UnclosedError:
                self.complete = False
                return
            self.position += 1

    def _report(self, position: int, fault: str) -> None:
        line, column = self._place(position)
        self.faults.append((line, column, fault))

    def _place(self, position: int) -> tuple[int, int]:
        line = bisect.bisect_right(self._line_starts, position)
        return line, position - self._line_starts[line - 1] + 1

    def _command(self) -> None:
        """Read up to the newline that ends a command; `position` is left on it."""
        exporting = False
        # Bash expands all arguments of `export` before it sets the first; plain assignments are done one by one.
        waiting: dict[str, str] = {}
        first = True
        while self._next_word():
            if first and (export := _EXPORT.match(self.text, self.position)):
                exporting = True
                self._after_export(export)
            elif assignment := _ASSIGNMENT.match(self.text, self.position):
                waiting[assignment[1]] = self._assignment(assignment, exported=exporting)
            elif exporting and (bare := _BARE_NAME.match(self.text, self.position)):
                self._bare_export(bare, waiting)
            else:
                self._refuse_word(exporting=exporting)
            if not exporting:
                self._known.update(waiting)
            first = False
        self._known.update(waiting)

    def _after_export(self, export: re.Match[str]) -> None:
        self.position = export.end()
        if not self._next_word():
            self._report(export.start(), EXPORT_FAULT)

    def _next_word(self) -> bool:
        """Skip blanks, continued lines and a comment; whether a word begins here."""
        while self.position < len(self.text):
            if self.text.startswith("\\\n", self.position):
                self.position += 2
            elif self.text[self.position] in BLANKS:
                self.position += 1
            else:
                break
        if self.text.startswith("#", self.position):
            end = self.text.find("\n", self.position)
            self.position = len(self.text) if end < 0 else end
        return self.position < len(self.text) and self.text[self.position] != "\n"

    def _assignment(self, match: re.Match[str], *, exported: bool) -> str:
        start, name = self.position, match[1]
        self.seen.add(name)
        before = len(self.faults)
        if name in BASH_OWNS:
            self._report(start, OWNED_FAULT)
        value = ValueReader(self.text, match.end(), self._known, exported, self._report)
        try:
            text = value.read()
        except SkipLineError:
            # A name with a faulty value counts as set below: one fault, not one per use.
            self._known.setdefault(name, "")
            raise
        finally:
            self.position = value.position
        if len(self.faults) == before:
            span = (match.end(), value.position)
            self.assignments.append(Assignment(name, text, self._place(start)[0], span))
        return text

    def _bare_export(self, match: re.Match[str], waiting: dict[str, str]) -> None:
        if match[1] not in self._known and match[1] not in waiting:
            line, column = self._place(self.position)
            self.warnings.append(
                f"{self.name}:{line}:{column}: `export` of a name that no line above sets does nothing"
            )
        self.position = match.end()

    def _refuse_word(self, *, exporting: bool) -> None:
        # The word itself is not shown: it may be the second half of a value that lacks its quotes.
        fault = EXPORT_FAULT if exporting else COMMAND_FAULT
        if _APPEND.match(self.text, self.position):
            fault = APPEND_FAULT
        elif _ELEMENT.match(self.text, self.position):
            fault = ELEMENT_FAULT
        self._report(self.position, fault)
        raise SkipLineError
