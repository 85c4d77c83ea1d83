"""JSON values as the text that `jq -r` prints for them, without the newline at its end.

Strings are printed raw, `true` and `false` as words, objects and arrays as jq lays them out (two blanks per level, keys
in their order). Numbers: an integer is printed as it is written, as jq 1.7 and later do (jq 1.6 rounds one beyond
2^53); any other number as jq 1.6 prints the double that it means: `1.0` -> `1`, `1e3` -> `1000`, `1E-7` -> `1e-07` (jq
1.7 and later keep the digits: `1.0`, `1E+3`). Whoever needs a spelling kept puts the number in quotes.
"""

from __future__ import annotations

import json
from typing import NoReturn

from agent.host import json_input

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\b": "\\b",
    "\f": "\\f",
    "\x7f": "\\u007f",
}
# The largest double: what jq prints for all that lies beyond.
_LARGEST = 1.7976931348623157e308
_FIRST_PRINTED = " "


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def parse_object(text: str) -> dict[str, object] | None:
    """The JSON object that `text` is, None when it is anything else. Of a key given twice the last counts, as in jq."""
    try:
        value = json_input.loads(
            text.removeprefix("\ufeff"), parse_int=_Number, parse_float=_decimal, parse_constant=_refuse_constant
        )
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def printed(value: object) -> str | None:
    """What `jq -r` prints for a value of `parse_object`; None for null."""
    if value is None:
        return None
    return str(value) if isinstance(value, str) else _laid_out(value, "\n")


def _laid_out(value: object, newline: str) -> str:
    if isinstance(value, dict):
        parts = [f"{_quoted(key)}: {_laid_out(item, newline + '  ')}" for key, item in value.items()]
        return _joined("{", parts, "}", newline)
    if isinstance(value, list):
        return _joined("[", [_laid_out(item, newline + "  ") for item in value], "]", newline)
    if isinstance(value, str) and not isinstance(value, _Number):
        return _quoted(value)
    return json.dumps(value) if not isinstance(value, str) else str(value)


def _joined(start: str, parts: list[str], end: str, newline: str) -> str:
    if not parts:
        return start + end
    inside = newline + "  "
    return f"{start}{inside}{f',{inside}'.join(parts)}{newline}{end}"


def _quoted(text: str) -> str:
    return f'"{"".join(_escaped(character) for character in text)}"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return f"\\u{ord(character):04x}" if character < _FIRST_PRINTED else character


def _decimal(written: str) -> _Number:
    """A number with a fraction or an exponent, as jq 1.6 prints the double nearest to it."""
    double = max(-_LARGEST, min(_LARGEST, float(written)))
    mantissa, _, exponent = f"{double!r}".replace("-", "", 1 if written.startswith("-") else 0).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0") or "0"
    sign = "-" if written.startswith("-") else ""
    return _Number(sign + _positioned(digits, point if digits != "0" else 1))


def _positioned(digits: str, point: int) -> str:
    """`digits` with the decimal point after the first `point` of them, in the notation that jq chooses."""
    count = len(digits)
    if point <= -4 or point > count + 15:  # noqa: PLR2004 - where jq (David Gay's g_fmt) changes to exponents
        rest = f".{digits[1:]}" if count > 1 else ""
        return f"{digits[0]}{rest}e{'-' if point < 1 else '+'}{abs(point - 1):02d}"
    if point <= 0:
        return f"0.{'0' * -point}{digits}"
    if point >= count:
        return digits + "0" * (point - count)
    return f"{digits[:point]}.{digits[point:]}"
