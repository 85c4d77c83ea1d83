"""What cloud-init left behind of this boot, read from its files: whether it ran, on this instance, without errors.

Nothing is run and nothing is asked over the network. What is certain is a cause of something that failed; what is only
likely is a warning.
Source: https://docs.cloud-init.io/en/latest/explanation/return_codes.html and .../reference/base_config_reference.html
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.aws.imds_machine import first_line
from agent.dataclass import dataclass
from agent.host import json_input
from agent.host.paths import Paths

# Between a file's time and a marker's the clock may have been set.
_MARGIN = dt.timedelta(minutes=10)
_EC2_ID = re.compile(r"i-[0-9a-f]+")


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What speaks for itself. `causes` explain a bootstrap file that is absent or wrong; each is one sentence.

    `ran` is None on a host without cloud-init's files; `warnings` are for a boot that goes on.
    """

    ran: bool | None
    causes: tuple[str, ...]
    warnings: tuple[str, ...]


def look(paths: Paths, bootstrap: Path, instance_id: str = "") -> Findings:
    """What cloud-init's files say; `instance_id` is the instance's own (EC2), when it is known."""
    result = _json(paths.at("/run/cloud-init/result.json"))
    status = _json(paths.at("/run/cloud-init/status.json"))
    causes = tuple(_causes(paths, result, status))
    warnings = tuple(_warnings(paths, bootstrap, instance_id))
    known = result is not None or status is not None or paths.at("/var/lib/cloud").is_dir()
    return Findings(ran=(result is not None and not causes) if known else None, causes=causes, warnings=warnings)


def _causes(paths: Paths, result: dict[str, Any] | None, status: dict[str, Any] | None) -> Iterator[str]:
    if result is None:
        if status is not None:
            yield "cloud-init has not finished (`cloud-init status --wait`): there is no /run/cloud-init/result.json"
        elif paths.at("/etc/cloud/cloud-init.disabled").exists():
            yield "cloud-init is turned off on this host: /etc/cloud/cloud-init.disabled exists"
        elif paths.at("/var/lib/cloud").is_dir():
            yield "cloud-init did not run in this boot: /run/cloud-init/result.json does not exist"
        return
    source = result.get("datasource")
    if not source or str(source).split()[0].lower() in {"none", "datasourcenone"}:
        yield (
            "cloud-init found no datasource, so no user data was run"
            " (/run/cloud-init/result.json; see /var/log/cloud-init.log and `cloud-id`)"
        )
    errors = result.get("errors")
    if isinstance(errors, list) and errors:
        # Not the errors themselves: they quote user data, which may hold keys.
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        yield f"cloud-init ended with {count} (`cloud-init status --long`, /var/log/cloud-init-output.log)"


def _warnings(paths: Paths, bootstrap: Path, instance_id: str) -> Iterator[str]:
    seen = first_line(paths.at("/var/lib/cloud/data/instance-id"))
    # Only EC2's ids can be compared: other datasources make up their own.
    if _EC2_ID.fullmatch(seen) and _EC2_ID.fullmatch(instance_id) and seen != instance_id:
        yield (
            f"cloud-init last ran on {seen}, and this instance is {instance_id}: {bootstrap} may have come with the"
            " image (`cloud-init clean` before an image is made of a host)"
        )
    first, written = _first_boot(paths), _time(bootstrap)
    if first is not None and written is not None and written + _MARGIN < first:
        yield (
            f"{bootstrap} was written at {written:%Y-%m-%dT%H:%M:%SZ}, before this instance's first boot at"
            f" {first:%Y-%m-%dT%H:%M:%SZ}: it may have come with the image, and cloud-init did not write it"
        )


def _first_boot(paths: Paths) -> dt.datetime | None:
    """When cloud-init first ran on this instance: the oldest of its once-per-instance marks."""
    folder = paths.at("/var/lib/cloud/instance/sem")
    try:
        marks = [path for path in folder.iterdir() if not path.is_symlink()]
    except OSError:
        return None
    times = [time for time in map(_time, marks) if time is not None]
    return min(times, default=None)


def _time(path: Path) -> dt.datetime | None:
    try:
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
    except OSError:
        return None


def _json(path: Path) -> dict[str, Any] | None:
    """The part `v1` of a file of cloud-init's, None when there is no such file; an unreadable one is empty."""
    try:
        document = json_input.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    part = document.get("v1") if isinstance(document, dict) else None
    return part if isinstance(part, dict) else {}
