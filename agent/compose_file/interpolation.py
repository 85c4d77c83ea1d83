"""`$NAME`, `${NAME}` and their forms in a text, found as Compose finds them.

The grammar is that of compose-go's `template` package (https://github.com/compose-spec/compose-go), with its corners: a
`$` before anything but a name, `{` or `$` is text; a form with an operator ends at the brace that balances its first
one, or, when none does, at the line's last brace; it never goes over the end of a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field

from agent.dataclass import dataclass

MOST_LEVELS = 40

# Go matches names without regard to case, by which the long s and the Kelvin sign are letters, too.
_NAME = "[_a-zA-Z\u017f\u212a][_a-zA-Z0-9\u017f\u212a]*"
_HEAD = re.compile(rf"\$(?:(\$)|({_NAME})|\{{(?:({_NAME})(?:(\}})|(:?[-+?])))?)")


@dataclass(frozen=True)
class Literal:
    """Text that stands for itself; `$$` is already one `$`."""

    text: str = field(repr=False)


@dataclass(frozen=True)
class Reference:
    """A use of a variable. `operator` is empty, or one of `:-`, `-`, `:?`, `?`, `:+`, `+`; `argument` is what follows.

    `head` is how it begins in the text (`$NAME`, `${NAME`).
    """

    name: str
    operator: str
    argument: tuple[Part, ...]
    head: str

    @property
    def braced(self) -> bool:
        """Whether it is written with braces."""
        return self.head.startswith("${")


@dataclass(frozen=True)
class Malformed:
    """A `${` that Compose refuses."""

    head: str = "${"


Part = Literal | Reference | Malformed


def parse(text: str, level: int = 0) -> tuple[Part, ...]:
    """The parts of `text`, in order. Never raises; forms nested deeper than `MOST_LEVELS` are malformed."""
    return tuple(_parts(text, level))


def references(parts: tuple[Part, ...]) -> Iterator[Reference | Malformed]:
    """Every reference and malformed form, outer ones before those in their arguments: in the order of the text."""
    for part in parts:
        if isinstance(part, Malformed):
            yield part
        elif isinstance(part, Reference):
            yield part
            yield from references(part.argument)


def _parts(text: str, level: int) -> Iterator[Part]:
    position = 0
    while match := _HEAD.search(text, position):
        if match.start() > position:
            yield Literal(text[position : match.start()])
        position = match.end()
        escaped, plain, braced, closed, operator = match.groups()
        if escaped:
            yield Literal("$")
        elif plain:
            yield Reference(plain, "", (), f"${plain}")
        elif closed:
            yield Reference(braced, "", (), f"${{{braced}")
        elif operator and level < MOST_LEVELS and (end := _end(text, match.start())) >= 0:
            yield Reference(braced, operator, parse(text[position:end], level + 1), f"${{{braced}")
            position = end + 1
        else:
            position = match.start() + 2
            yield Malformed()
    if position < len(text):
        yield Literal(text[position:])


def _end(text: str, start: int) -> int:
    """Where the form that begins at `start` has its closing brace; -1 when its line has none."""
    line_end = text.find("\n", start)
    last = text.rfind("}", start, len(text) if line_end < 0 else line_end)
    depth, position = 0, start
    while position <= last:
        if text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        elif text[position] == "{":
            depth += 1
            position += 1  # as compose-go: what follows a brace is not looked at
        position += 1
    return last
