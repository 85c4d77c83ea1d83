"""`/run/delphi-agent/status.json` as it is read: what the run is doing or did, for `delphi-agent status` and programs.

Schema 1 (README, "Files on the host"). Who asks for the status may ask often: this loads little.
"""

from __future__ import annotations

from agent.errors import HostError
from agent.host import json_input, plain, processes

TYPE_CHECKING = False  # as that of `typing`, which takes 2 ms to load
if TYPE_CHECKING:
    from os import PathLike
    from typing import Any

SCHEMA = 1


def read(path: str | PathLike[str]) -> dict[str, Any] | None:
    """The document, or None when no run has written one since the host started.

    A run whose process is gone is shown with the outcome `died`. Raises `HostError` when there is a file that cannot
    be read as a status.
    """
    try:
        document = json_input.loads(plain.read(path))
        run = document["run"]
        pid, pid_started, outcome = run["pid"], run["pid_started"], document["outcome"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(f"reading {path}", f"{error}", "run `delphi-agent init` again: it writes a new one") from error
    now = processes.start_time(pid)
    if outcome == "running" and (now is None or now != pid_started):
        document |= {"outcome": "died", "text": f"the run's process {pid} ended without a verdict", "ready": False}
    return dict(document)
