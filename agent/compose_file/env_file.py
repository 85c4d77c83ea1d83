"""The names in an `env_file` of a service: which ones it sets, which variables it takes from outside."""

from __future__ import annotations

import re
from pathlib import Path

from agent.compose_file import interpolation
from agent.compose_file.files import Files
from agent.compose_file.interpolation import Reference
from agent.dataclass import dataclass

_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?:([=:])(.*))?")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class EnvNames:
    """Names only; the values stay in the file."""

    sets: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()


def read(path: Path, files: Files) -> EnvNames:
    """The names of a file; none for one that cannot be read. Compose fills in `${NAME}` in it, not in single quotes."""
    try:
        text = files.read(path)[:_MOST_BYTES].decode("utf-8", "replace")
    except OSError:
        return EnvNames()
    sets: set[str] = set()
    takes: set[str] = set()
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if not match:
            continue
        name, assigned, value = match.groups()
        sets.add(name)
        if not assigned:
            takes.add(name)
        elif not value.lstrip().startswith("'"):
            parts = interpolation.references(interpolation.parse(value))
            takes |= {part.name for part in parts if isinstance(part, Reference)}
    return EnvNames(frozenset(sets), frozenset(takes))
