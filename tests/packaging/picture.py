"""Takes the picture of the README: a first boot on the lab's instance, as a terminal shows it.

python -m tests.packaging.picture      writes packaging/first-boot.svg; needs root, as the lab does
"""

from __future__ import annotations

import html
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

from tests.lab.lab import Lab
from tests.lab.process import SYSTEM_PATH, enter_command
from tests.packaging.checkout import CHECKOUT
from tests.packaging.screen import Piece, Screen

PICTURE = CHECKOUT / "packaging" / "first-boot.svg"
COLUMNS = 112
_ADVANCE, _LINE, _MARGIN = 8.4, 20, 16
_COLOURS = {31: "#ff7b72", 32: "#56d364", 33: "#e3b341", 2: "#8b949e"}
_BOLD = 1


def capture(lab: Lab, *arguments: str) -> Screen:
    """Run the agent on the instance with a terminal of its own; what is to be seen when it has ended."""
    ours, theirs = pty.openpty()
    argv = [*enter_command(lab.machine.pid), "stty", "cols", str(COLUMNS)]
    terminal = {"PATH": SYSTEM_PATH, "HOME": "/root", "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    subprocess.run(argv, env=terminal, stdin=theirs, check=True)
    process = subprocess.Popen(
        [*enter_command(lab.machine.pid), *lab.agent_command(), *arguments],
        env={**terminal, **lab.agent_env()},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    process.wait()
    screen = Screen()
    screen.feed(output.decode())
    return screen


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: nobody has the other end open any more
        return b""


def svg(screen: Screen, title: str) -> str:
    """The screen as a picture; its text stays text."""
    count = len(screen.text())
    width, height = _MARGIN * 2 + COLUMNS * _ADVANCE, _MARGIN * 2 + count * _LINE
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img"'
        ' font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14">\n'
        f"<title>{html.escape(title)}</title>\n"
        f'<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n'
    )
    lines = [
        piece for row, line in enumerate(screen.lines[:count]) for piece in _line(line, _MARGIN + (row + 0.75) * _LINE)
    ]
    return head + "\n".join(lines) + "\n</svg>\n"


def _line(pieces: list[Piece], y: float) -> Iterator[str]:
    column = 0
    for piece in pieces:
        text = piece.text.rstrip() if piece is pieces[-1] else piece.text
        if text.strip():
            # A length of its own for each piece: columns stay columns whatever the viewer's font is.
            place = f'x="{_MARGIN + column * _ADVANCE:.1f}" y="{y:.0f}" textLength="{len(text) * _ADVANCE:.1f}"'
            colour = next((_COLOURS[style] for style in piece.styles if style in _COLOURS), "#e6edf3")
            weight = ' font-weight="bold"' if _BOLD in piece.styles else ""
            yield f'<text {place} fill="{colour}"{weight} xml:space="preserve">{html.escape(text)}</text>'
        column += len(piece.text)


def main() -> None:
    with Lab() as lab:
        screen = capture(lab, "init")
    if not screen.text()[-1].startswith("verified: "):
        sys.exit("\n".join([*screen.text(), "this is not the run to show"]))
    PICTURE.write_text(svg(screen, "delphi-agent init: a first boot, on a terminal"))
    print("\n".join(screen.text()))


if __name__ == "__main__":
    main()
