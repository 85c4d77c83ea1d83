"""Docker's log rotation: json-file logs without a size limit fill the disk of every host in the end."""

from __future__ import annotations

from collections.abc import Sequence

from agent.dataclass import dataclass
from agent.host.paths import Paths
from agent.steps import daemon_json, engine_process

MAX_SIZE = "10m"
MAX_FILE = "3"

# What of the engine's command line settles the logs; the engine does not start when daemon.json says it too.
_LOG_FLAGS = frozenset({"--log-driver", "--log-opt"})
_FILE_FLAG = "--config-file"
_WHAT = "log-rotation"


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What was found or done; `pending`: the engine that runs was started before it, and does not know of it."""

    changed: bool = False
    pending: bool = False
    text: str


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
    elsewhere = _settled_by(engine_process.flags(paths), paths.shown(path))
    if elsewhere:
        return Rotation(text=f"left alone: {elsewhere}")
    config = daemon_json.read(path)
    driver = config.of_kind("log-driver", str) or "json-file"
    options = config.of_kind("log-opts", dict) or {}
    if driver != "json-file":
        return Rotation(text=f"log driver {driver}")
    for name, value in options.items():
        if not isinstance(value, str):
            raise daemon_json.invalid(path, f"log-opts.{name} is no string")
    if options.get("max-size"):
        return Rotation(pending=engine_process.is_pending(paths, _WHAT), text=f"max-size {options['max-size']}")
    if config.twice:
        raise daemon_json.invalid(
            path, f"{', '.join(config.twice)} is there twice, and which one is meant nobody can say"
        )
    engine_process.note_pending(paths, _WHAT)
    limits = {"max-size": MAX_SIZE, "max-file": options.get("max-file") or MAX_FILE}
    daemon_json.replace(path, {**config.values, "log-driver": driver, "log-opts": {**options, **limits}}, config.indent)
    return Rotation(changed=True, pending=True, text=f"max-size set to {MAX_SIZE}")


def _settled_by(flags: Sequence[str], own: str) -> str:
    """Why it is not for daemon.json to say how the engine logs; empty when it is."""
    for flag, following in zip(flags, [*flags[1:], ""], strict=False):
        name, equals, value = flag.partition("=")
        if name in _LOG_FLAGS:
            return f"the engine was started with {name}"
        if name == _FILE_FLAG and (value if equals else following) != own:
            return f"the engine reads {value if equals else following} instead"
    return ""
