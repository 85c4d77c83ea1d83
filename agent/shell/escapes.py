"""What bash makes of the text between `$'` and `'` (bash manual, "ANSI-C Quoting")."""

from __future__ import annotations

import re
from collections.abc import Callable

Report = Callable[[int, str], None]

_SIMPLE = dict(zip("abeEfnrtv\\'\"?", "\a\b\x1b\x1b\f\n\r\t\v\\'\"?", strict=True))
_LAST_ASCII = 0x7F
_NUMBER = re.compile(r"[0-7]{1,3}|x(?P<x>[0-9A-Fa-f]{1,2})|u(?P<u>[0-9A-Fa-f]{1,4})|U(?P<U>[0-9A-Fa-f]{1,8})")
_CONTROL = re.compile(r"c([A-Za-z])")

NUL_FAULT = "this escape makes a NUL byte, which no variable can hold; leave it out"
LOCALE_FAULT = "bash reads \\u and \\U beyond ASCII by the locale it runs in; write the character itself"
CONTROL_FAULT = "\\c is understood only before a letter; write the byte as \\xHH"
BRACE_FAULT = "\\x{...} is not in bash's manual; write the byte as \\xHH"


def decode(body: str, at: int, report: Report) -> str:
    r"""The text that bash reads; `report(position, fault)` is told what cannot be read the same everywhere.

    `at` is the position of `body` in the file. A byte that is no UTF-8 comes as a surrogate (PEP 383), so that the
    caller can join bytes that stand apart here (`\xc3` and `\xa9`).
    """
    out: list[str] = []
    position = 0
    while position < len(body):
        if body[position] != "\\" or position + 1 == len(body):
            out.append(body[position])
            position += 1
            continue
        text, length, fault = _escape(body, position + 1)
        if fault:
            report(at + position, fault)
        out.append(text)
        position += 1 + length
    return "".join(out)


def _escape(body: str, position: int) -> tuple[str, int, str]:
    """What stands for the escape after a backslash, how long it is without the backslash, and what is wrong with it."""
    letter = body[position]
    if letter in _SIMPLE:
        return _SIMPLE[letter], 1, ""
    if body.startswith("x{", position):
        return "", 2, BRACE_FAULT
    if number := _NUMBER.match(body, position):
        return _character(number)
    if letter == "c":
        control = _CONTROL.match(body, position)
        return (chr(ord(control[1].upper()) ^ 0x40), 2, "") if control else ("", 1, CONTROL_FAULT)
    # Bash keeps the backslash of an escape that it does not know.
    return "\\" + letter, 1, ""


def _character(number: re.Match[str]) -> tuple[str, int, str]:
    digits = number["u"] or number["U"]
    length = number.end() - number.start()
    if digits:
        code = int(digits, 16)
        if code > _LAST_ASCII:
            return "", length, LOCALE_FAULT
    else:
        code = (int(number["x"], 16) if number["x"] else int(number[0], 8)) & 0xFF
    if code == 0:
        return "", length, NUL_FAULT
    return bytes([code]).decode("utf-8", "surrogateescape"), length, ""
