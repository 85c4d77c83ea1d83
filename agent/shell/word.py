"""One value of the bootstrap file: what is between `NAME=` and the next blank, as bash reads it (contract section 2).

A value is read or refused. What bash would look up or run (the list is in `shell_file`) becomes a fault; reading goes
on where that is safe, so that one look at the file tells all its faults.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from agent.dataclass import dataclass
from agent.shell import escapes as shell_escapes
from agent.shell.escapes import Report

BLANKS = " \t"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_ESCAPED_IN_DOUBLE_QUOTES = '$`"\\'
_SPECIAL_PARAMETERS = "@*#?-$!0123456789"

UNSET_FAULT = "`$` names what no line above sets; set it above, or write `\\$` for a dollar sign (or use single quotes)"
SPECIAL_FAULT = "`$` asks for a parameter of the shell; write `\\$` for a dollar sign (or use single quotes)"
FORM_FAULT = "only $NAME and ${NAME} are read; write the value out"
BROKEN_NAME_FAULT = "a line that ends in `\\` must not break what follows `$`; write it on one line"
COMMAND_FAULT = "a command would be run here (`$(...)` or backticks); write its output, or use single quotes"
ARITHMETIC_FAULT = "arithmetic (`$[...]`, `$((...))`) is not read; write the result, or use single quotes"
TRANSLATED_FAULT = '`$"..."` is translated by the locale; write "..." without the dollar sign'
TILDE_FAULT = "`~` here means a home directory; write the path out, or put the value in quotes"
BRACE_FAULT = "`export` expands braces; put the value in quotes, or write NAME=value without `export`"
ARRAY_FAULT = "arrays are not read; write one value, in quotes if it holds parentheses"
OPERATOR_FAULT = "this character ends or redirects a command; put the value in quotes"
UNCLOSED_FAULT = "this quote is never closed; close it"


class SkipLineError(Exception):
    """The rest of the line means nothing any more; its fault has been reported."""


class UnclosedError(Exception):
    """The rest of the file means nothing any more; its fault has been reported."""


@dataclass
class ValueReader:
    """Reads the value that starts at `position` of `text`; afterwards `position` is where it ends.

    `known` holds the values that lines above set. `exported` says that the value is an argument of `export`.
    """

    text: str
    position: int
    known: Mapping[str, str]
    exported: bool
    report: Report

    def read(self) -> str:
        """The value. Raises `SkipLineError` or `UnclosedError` when it cannot be followed to its end."""
        out: list[str] = []
        # The unquoted character before this one; a tilde counts after `=` (nothing yet) and after a bare colon.
        before = "="
        while self.position < len(self.text) and self.text[self.position] not in BLANKS + "\n":
            if self._continued():
                self.position += 2
                continue
            here = self.text[self.position]
            if here == "~" and before in ("=", ":"):
                self.report(self.position, TILDE_FAULT)
            if here == "(" and before == "=":
                self._refuse(ARRAY_FAULT)
            out.append(self._piece(here))
            before = here if here == ":" else "x"
        # Bytes that no UTF-8 sequence held may form one now that the pieces stand together.
        return "".join(out).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")

    def _continued(self) -> bool:
        return self.text.startswith("\\\n", self.position)

    def _refuse(self, fault: str, at: int | None = None) -> NoReturn:
        self.report(self.position if at is None else at, fault)
        raise SkipLineError

    def _piece(self, here: str) -> str:
        if here == "'":
            return self._single_quoted()
        if here == '"':
            return self._double_quoted()
        if here == "$":
            return self._dollar(quoted=False)
        if here == "`":
            self._refuse(COMMAND_FAULT)
        if here in ";&|<>()":
            self._refuse(OPERATOR_FAULT)
        if here == "{" and self.exported:
            self.report(self.position, BRACE_FAULT)
        if here == "\\":
            # Bash keeps a backslash that is the last byte of the file.
            piece = self.text[self.position + 1 : self.position + 2] or "\\"
            self.position += 2
            return piece
        self.position += 1
        return here

    def _single_quoted(self) -> str:
        opened = self.position
        end = self.text.find("'", opened + 1)
        if end < 0:
            self._unclosed(opened)
        self.position = end + 1
        return self.text[opened + 1 : end]

    def _unclosed(self, opened: int) -> NoReturn:
        self.report(opened, UNCLOSED_FAULT)
        raise UnclosedError

    def _double_quoted(self) -> str:
        opened = self.position
        self.position += 1
        out: list[str] = []
        while not self.text.startswith('"', self.position):
            if self.position >= len(self.text):
                self._unclosed(opened)
            if self._continued():
                self.position += 2
                continue
            out.append(self._quoted_piece(self.text[self.position]))
        self.position += 1
        return "".join(out)

    def _quoted_piece(self, here: str) -> str:
        if here == "$":
            return self._dollar(quoted=True)
        if here == "`":
            self._refuse(COMMAND_FAULT)
        if here == "\\":
            after = self.text[self.position + 1 : self.position + 2]
            self.position += 1 + len(after)
            return after if after and after in _ESCAPED_IN_DOUBLE_QUOTES else here + after
        self.position += 1
        return here

    def _dollar(self, *, quoted: bool) -> str:
        at = self.position
        self.position += 1
        after = self.text[self.position : self.position + 1]
        if self._continued():
            self.report(at, BROKEN_NAME_FAULT)
        elif after == "'" and not quoted:
            return self._ansi_quoted()
        elif after == '"' and not quoted:
            self.report(at, TRANSLATED_FAULT)
        elif after == "(":
            self._refuse(ARITHMETIC_FAULT if self.text.startswith("((", self.position) else COMMAND_FAULT, at)
        elif after == "[":
            self._refuse(ARITHMETIC_FAULT, at)
        elif after == "{":
            return self._braced(at)
        elif name := NAME.match(self.text, self.position):
            self.position = name.end()
            if self._continued():
                self.report(at, BROKEN_NAME_FAULT)
            return self._value_of(name[0], at)
        elif after and after in _SPECIAL_PARAMETERS:
            self.report(at, SPECIAL_FAULT)
        return "$"

    def _braced(self, at: int) -> str:
        name = NAME.match(self.text, self.position + 1)
        if not name or not self.text.startswith("}", name.end()):
            self._refuse(FORM_FAULT, at)
        self.position = name.end() + 1
        return self._value_of(name[0], at)

    def _value_of(self, name: str, at: int) -> str:
        # The name is not shown: in `PASSWORD=ab$cd` it is a part of the password.
        if name not in self.known:
            self.report(at, UNSET_FAULT)
        return self.known.get(name, "")

    def _ansi_quoted(self) -> str:
        opened = self.position
        self.position += 1
        while not self.text.startswith("'", self.position):
            if self.position >= len(self.text):
                self._unclosed(opened)
            self.position += 2 if self.text[self.position] == "\\" else 1
        body = self.text[opened + 1 : self.position]
        self.position += 1
        return shell_escapes.decode(body, opened + 1, self.report)
