"""A check that a bundle declares, and what can be said of it without a network: `check` reads it anywhere."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Literal
from urllib.parse import urlsplit

from agent.dataclass import dataclass

MOST_PORT = 65_535

_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")

Kind = Literal["http", "tcp", "command", "service"]
WELL = (range(200, 300),)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One entry of the manifest's `checks`. `target` is as it is written, `line` and `column` (from 1) where.

    `target` is the URL, `host:port`, or service; `argv` the command. `within` is None for a service that has until the
    run's deadline.
    """

    name: str
    kind: Kind
    target: str = ""
    argv: tuple[str, ...] = ()
    status: tuple[range, ...] = WELL
    within: float | None = None
    stable: float | None = None
    line: int = field(default=1, compare=False)
    column: int = field(default=1, compare=False)

    @property
    def asks(self) -> str:
        """What it asks, as the manifest has it."""
        return " ".join(self.argv) if self.kind == "command" else f"{self.kind} {self.target}"


def is_url(text: str) -> bool:
    """Whether this can be asked: `http://` or `https://`, a host, no user or password, nothing to be encoded."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text and text.startswith(("http://", "https://"))
    return plain and bool(url.hostname) and "@" not in url.netloc and port != 0


def is_address(text: str) -> bool:
    """Whether this is `HOST:PORT`, an IPv6 address in brackets."""
    match = _ADDRESS.fullmatch(text)
    return match is not None and 0 < int(match[1]) <= MOST_PORT
