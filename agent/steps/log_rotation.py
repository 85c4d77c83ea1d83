"""Docker's log rotation: json-file logs without a size limit fill the disk of every host in the end."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import HostError
from agent.host import files, processes
from agent.host.paths import Paths

MAX_SIZE = "10m"
MAX_FILE = "3"

# What of the engine's command line settles the logs; the engine does not start when daemon.json says it too.
_LOG_FLAGS = frozenset({"--log-driver", "--log-opt"})
_FILE_FLAG = "--config-file"


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What was found or done; `pending`: the engine that runs was started before it, and does not know of it."""

    changed: bool = False
    pending: bool = False
    text: str


@dataclass(frozen=True)
class _Config:
    """daemon.json as it is. `twice` are the keys that stand in one object more than once."""

    values: dict[str, Any]
    twice: tuple[str, ...] = ()
    indent: str = "  "


def ensure(paths: Paths, address: str) -> Rotation:
    """Set `max-size` (and `max-file`) in daemon.json where the logs are json-file ones without a limit.

    All other keys stay, in their order (contract section 1); so do mode and owner, and a link stays a link. What
    settles the logs elsewhere is left alone: another log driver, the command line of the engine, an engine (at
    `address`) that is not on this host. A daemon.json that the engine could not read is a `HostError` and is never
    replaced.
    """
    if not address.startswith("unix://"):
        return Rotation(text=f"left alone: the engine is at {address}, its settings are not on this host")
    path = paths.daemon_json
    elsewhere = _settled_by(_flags(paths), paths.shown(path))
    if elsewhere:
        return Rotation(text=f"left alone: {elsewhere}")
    config = _read(path)
    driver = _of_kind(config, path, "log-driver", str) or "json-file"
    options = _of_kind(config, path, "log-opts", dict) or {}
    if driver != "json-file":
        return Rotation(text=f"log driver {driver}")
    for name, value in options.items():
        if not isinstance(value, str):
            raise _invalid(path, f"log-opts.{name} is no string")
    if options.get("max-size"):
        return Rotation(pending=_is_pending(paths), text=f"max-size {options['max-size']}")
    if config.twice:
        raise _invalid(path, f"{', '.join(config.twice)} is there twice, and which one is meant nobody can say")
    _note_pending(paths)
    limits = {"max-size": MAX_SIZE, "max-file": options.get("max-file") or MAX_FILE}
    _replace(path, {**config.values, "log-driver": driver, "log-opts": {**options, **limits}}, config.indent)
    return Rotation(changed=True, pending=True, text=f"max-size set to {MAX_SIZE}")


def _of_kind(config: _Config, path: Path, name: str, kind: type) -> Any:  # noqa: ANN401 - the caller names the kind
    """The value, None when there is none (null counts as none, for the engine too)."""
    value = config.values.get(name)
    if value is not None and not isinstance(value, kind):
        raise _invalid(path, f"{name} is no JSON {'object' if kind is dict else 'string'}")
    return value


def _invalid(path: Path, cause: str) -> HostError:
    return HostError(f"reading {path}", cause, "repair the file, then run it again")


def _read(path: Path) -> _Config:
    with files.naming(f"reading {path}"):
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return _Config({})
    twice: list[str] = []

    def collect(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice.extend(name for name in dict.fromkeys(names) if names.count(name) > 1)
        return dict(pairs)

    try:
        # The engine takes a byte order mark, and a file with nothing in it.
        text = raw.decode("utf-8-sig")
        values = json.loads(
            text if text.strip() else "{}", object_pairs_hook=collect, parse_float=_finite, parse_constant=_finite
        )
    except ValueError as error:
        raise HostError(
            f"reading {path}",
            f"invalid JSON: {error}",
            "repair the file (the Docker engine does not start with it either), then run it again",
        ) from error
    if not isinstance(values, dict):
        raise _invalid(path, "it holds no JSON object")
    indent = re.search(r'\n([ \t]+)"', text)
    return _Config(values, tuple(twice), indent[1] if indent else "  ")


def _finite(text: str) -> float:
    """JSON has no other numbers; Python reads them."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number


def _replace(path: Path, values: dict[str, Any], indent: str) -> None:
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


def _engine(paths: Paths) -> tuple[int, int] | None:
    """The engine's process, so that it can be told from the next one; None when it does not say which it is."""
    try:
        pid = int(paths.docker_pid.read_text())
    except (OSError, ValueError):
        return None
    started = processes.start_time(pid)
    return (pid, started) if started is not None else None


def _flags(paths: Paths) -> tuple[str, ...]:
    """The command line of the engine that runs; empty when it does not say which process it is."""
    engine = _engine(paths)
    try:
        raw = Path(f"/proc/{engine[0]}/cmdline").read_bytes() if engine else b""
    except OSError:
        return ()
    return tuple(raw.decode("utf-8", "replace").split("\0"))


def _settled_by(flags: Sequence[str], own: str) -> str:
    """Why it is not for daemon.json to say how the engine logs; empty when it is."""
    for flag, following in zip(flags, [*flags[1:], ""], strict=False):
        name, equals, value = flag.partition("=")
        if name in _LOG_FLAGS:
            return f"the engine was started with {name}"
        if name == _FILE_FLAG and (value if equals else following) != own:
            return f"the engine reads {value if equals else following} instead"
    return ""


def _note_pending(paths: Paths) -> None:
    """Before the file changes: what is noted for nothing costs a restart where no container runs, no more."""
    engine = _engine(paths)
    if engine is not None:
        files.make_folder(paths.run, 0o755)
        files.write_json(paths.engine_restart, engine, 0o644, durable=False)


def _is_pending(paths: Paths) -> bool:
    """Whether the engine that runs is the one that ran when an earlier run changed its settings."""
    engine = _engine(paths)
    try:
        noted = json.loads(paths.engine_restart.read_bytes())
    except (OSError, ValueError):
        return False
    return engine is not None and noted == list(engine)
