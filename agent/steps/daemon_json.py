"""daemon.json, the Docker engine's settings: read as the engine reads it, and replaced with all else as it was."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from agent.dataclass import dataclass
from agent.errors import HostError
from agent.host import files, json_input

T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """daemon.json as it is. `twice` are the keys that stand in one object more than once."""

    path: Path
    values: dict[str, Any]
    twice: tuple[str, ...] = ()
    indent: str = "  "

    def of_kind(self, name: str, kind: type[T]) -> T | None:
        """The value, None when there is none (null counts as none, for the engine too)."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, kind):
            raise invalid(self.path, f"{name} is no JSON {'object' if kind is dict else 'string'}")
        return value


def invalid(path: Path, cause: str) -> HostError:
    """A file that the engine could not use."""
    return HostError(f"reading {path}", cause, "repair the file, then run it again")


def read(path: Path) -> Config:
    """The settings; without a file there are none. One that the engine could not read is a `HostError`."""
    with files.naming(f"reading {path}"):
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return Config(path, {})
    twice: list[str] = []

    def collect(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice.extend(name for name in dict.fromkeys(names) if names.count(name) > 1)
        return dict(pairs)

    try:
        # The engine takes a byte order mark, and a file with nothing in it.
        text = raw.decode("utf-8-sig")
        values = json_input.loads(
            text if text.strip() else "{}", object_pairs_hook=collect, parse_float=_finite, parse_constant=_finite
        )
    except ValueError as error:
        raise HostError(
            f"reading {path}",
            f"invalid JSON: {error}",
            "repair the file (the Docker engine does not start with it either), then run it again",
        ) from error
    if not isinstance(values, dict):
        raise invalid(path, "it holds no JSON object")
    indent = re.search(r'\n([ \t]+)"', text)
    return Config(path, values, tuple(twice), indent[1] if indent else "  ")


def _finite(text: str) -> float:
    """JSON has no other numbers; Python reads them."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number


def replace(path: Path, values: dict[str, Any], indent: str) -> None:
    """Write through links, for who put the link there looks for the settings at its target."""
    with files.naming(f"writing {path}"):
        target = path.resolve()
        before = target.stat() if target.exists() else None
    if not target.parent.exists():
        files.make_folder(target.parent, 0o755)
    mode = stat.S_IMODE(before.st_mode) if before else 0o644
    files.write(target, json.dumps(values, indent=indent).encode() + b"\n", mode)
    if before and (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        with files.naming(f"giving {path} back to its owner"):
            os.chown(target, before.st_uid, before.st_gid)
