"""Giving a name of a shell file another value, with every other byte of the file as it is."""

from __future__ import annotations

import bisect
import codecs
import re
from collections.abc import Mapping

from agent.shell import file as shell_file

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+-]+")


class RewriteError(Exception):
    """The file cannot be rewritten without changing something else; the text says what."""


def rewrite(data: bytes, changes: Mapping[str, str]) -> bytes:
    """`data` with the value of each name in `changes` replaced where it is set last.

    What bash reads from the result is what it read before, but for these names: that is seen, by reading the result,
    before it is returned. Raises `RewriteError` when a name is not set in the file, or another name draws on it.
    """
    before = shell_file.parse(data, "file")
    last = {assignment.name: assignment for assignment in before.assignments}
    pieces: list[tuple[int, int, bytes]] = []
    for name, value in changes.items():
        if name not in last:
            raise RewriteError(f"the file does not set {name}")
        if last[name].value != value:
            start, end = (_offset(data, position) for position in last[name].span)
            pieces.append((start, end, _spelled(value).encode()))
    for start, end, text in sorted(pieces, reverse=True):
        data = data[:start] + text + data[end:]
    after = shell_file.parse(data, "file").values()
    wanted = {**before.values(), **changes}
    touched = sorted(name for name in wanted.keys() | after.keys() if wanted.get(name) != after.get(name))
    if touched:
        raise RewriteError(f"{', '.join(touched)} would change with it")
    return data


def _spelled(value: str) -> str:
    """The value in the shell's spelling; quotes only where they are needed."""
    if _PLAIN.fullmatch(value):
        return value
    return "'" + value.replace("'", "'\\''") + "'"


def _offset(data: bytes, position: int) -> int:
    """Where character `position` of the text as read is in the bytes: a mark and CRs were taken off for reading."""
    mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    body = data[mark:]
    text = body.replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")
    read = len(text[:position].encode("utf-8", "surrogateescape"))
    ends = [match.start() - count for count, match in enumerate(re.finditer(b"\r\n", body))]
    return mark + read + bisect.bisect_left(ends, read)
