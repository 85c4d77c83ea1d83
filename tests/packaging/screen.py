"""Just enough of a terminal to see what a run has drawn: lines, colours, and the codes that the console uses."""

from __future__ import annotations

import dataclasses
import re

_CODE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")


@dataclasses.dataclass(frozen=True)
class Piece:
    """Text of one style; `styles` are the numbers of the colour codes, none for plain text."""

    text: str
    styles: tuple[int, ...] = ()


class Screen:
    """What is on the screen after `feed`; it only ever draws at the beginning of a line, or on from there."""

    def __init__(self) -> None:
        self.lines: list[list[Piece]] = [[]]
        self._row = 0
        self._styles: tuple[int, ...] = ()

    def feed(self, text: str) -> None:
        """Draw `text`. ValueError for a code that the console is not known to use."""
        position = 0
        for code in _CODE.finditer(text):
            self._write(text[position : code.start()])
            self._control(code.group(1), code.group(2))
            position = code.end()
        self._write(text[position:])

    def text(self) -> list[str]:
        """The lines without their styles, and without empty ones at the end."""
        lines = ["".join(piece.text for piece in line) for line in self.lines]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def _write(self, text: str) -> None:
        for part in re.split(r"(\n)", text.replace("\r", "")):
            if part == "\n":
                self._row += 1
                if self._row == len(self.lines):
                    self.lines.append([])
            elif part:
                self.lines[self._row].append(Piece(part, self._styles))

    def _control(self, argument: str, kind: str) -> None:
        match kind:
            case "A":
                self._row -= int(argument or "1")
            case "J" if not argument:
                del self.lines[self._row + 1 :]
                self.lines[self._row] = []
            case "m":
                numbers = tuple(int(number) for number in argument.split(";") if number not in {"", "0"})
                self._styles = (*self._styles, *numbers) if numbers else ()
            case _:
                raise ValueError(f"the code {argument}{kind} is not known here")
