"""Docker's log rotation: json-file logs without a size limit fill the disk of every host in the end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import HostError
from agent.host import files

MAX_SIZE = "10m"
MAX_FILE = "3"


@dataclass(frozen=True)
class Rotation:
    """What was found or done; `changed` means that the engine has to be restarted for it to hold."""

    changed: bool
    text: str


def ensure(path: Path) -> Rotation:
    """Set `max-size` (and `max-file`) in daemon.json where the logs are json-file ones without a limit.

    All other keys stay (contract section 1). Another log driver is left alone. A daemon.json that is no JSON object is
    a `HostError` and is never replaced.
    """
    config = _read(path)
    driver = config.get("log-driver", "json-file")
    options = config.get("log-opts", {})
    if driver != "json-file":
        return Rotation(changed=False, text=f"log driver {driver}")
    if not isinstance(options, dict):
        raise HostError(f"reading {path}", "log-opts is no JSON object", "repair the file, then run it again")
    if "max-size" in options:
        return Rotation(changed=False, text=f"max-size {options['max-size']}")
    config["log-driver"] = "json-file"
    config["log-opts"] = {"max-size": MAX_SIZE, "max-file": MAX_FILE, **options}
    mode = path.stat().st_mode & 0o7777 if path.exists() else 0o644
    if not path.parent.exists():
        files.make_folder(path.parent, 0o755)
    files.write(path, json.dumps(config, indent=2).encode() + b"\n", mode)
    return Rotation(changed=True, text=f"max-size set to {MAX_SIZE}")


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise HostError(f"reading {path}", error.strerror or str(error), "make it readable for root") from error
    try:
        config = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise HostError(
            f"reading {path}",
            f"invalid JSON: {error}",
            "repair the file (the Docker engine does not start with it either), then run it again",
        ) from error
    if not isinstance(config, dict):
        raise HostError(f"reading {path}", "it holds no JSON object", "repair the file, then run it again")
    return config
