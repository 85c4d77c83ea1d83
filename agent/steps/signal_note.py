"""What a boot knows of its signals, for whoever tells them when it cannot: `/run/delphi-agent/signal.json`.

Gone with a restart of the machine: then everything is found out again. Only that a stack has had its signal is kept
longer (`signalled.json`): a stack counts the signals of new instances, and every later boot would be one more.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from pathlib import Path

from agent.dataclass import dataclass
from agent.host import files, json_input
from agent.host.paths import Paths


@dataclass(frozen=True, kw_only=True)
class Note:
    """What was told to whom (empty: nothing yet), and until when a failure is held (ISO 8601)."""

    asg: str = ""
    cfn: str = ""
    held_until: str = ""

    def is_held(self, now: dt.datetime) -> bool:
        """Whether a failure is held at this moment."""
        return bool(self.held_until) and now < dt.datetime.fromisoformat(self.held_until)


def load(paths: Paths) -> Note | None:
    """The note of this start of the machine, None when there is none that can be read."""
    try:
        document = json_input.loads(paths.signal.read_bytes())
        note = Note(**document)
        if note.held_until:
            dt.datetime.fromisoformat(note.held_until)
    except (OSError, ValueError, TypeError):
        return None
    return note


def save(paths: Paths, note: Note) -> None:
    """Replace the note."""
    files.make_folder(paths.run, 0o755)
    files.write_json(paths.signal, asdict(note), 0o600, durable=False)


def has_signalled(paths: Paths, instance_id: str, stack: str) -> bool:
    """Whether this stack has had this instance's SUCCESS; an image that was made of it knows another instance."""
    return _read(paths.signalled) == {"instance": instance_id, "stack": stack}


def keep_signalled(paths: Paths, instance_id: str, stack: str) -> None:
    """Remember it."""
    files.make_folder(paths.state, 0o700)
    files.write_json(paths.signalled, {"instance": instance_id, "stack": stack}, 0o600)


def _read(path: Path) -> object:
    try:
        return json_input.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
