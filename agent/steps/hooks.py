"""The bundle's own programs: `hooks/pre-up.d/` before the project is started, `hooks/post-up.d/` after it is well."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.errors import AgentError, HostError
from agent.host import files
from agent.host.clock import Deadline
from agent.host.command import Command, Commands
from agent.steps.project import Project

Moment = Literal["pre-up", "post-up"]
# Each hook has this long, and never more than the run.
SECONDS = 60.0
TAIL_LINES = 20

# As run-parts(8) takes names, and `.sh` beside it: no `10-tls.sh~`, no `10-tls.dpkg-old`.
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.sh)?")


@dataclass(frozen=True)
class Found:
    """The hooks to run, in their order, and the names that are passed over with the reason."""

    hooks: tuple[Path, ...]
    skipped: tuple[str, ...] = field(default=())


def find(folder: Path, moment: Moment, gone: Collection[str] = ()) -> Found:
    """The hooks of one moment in the role's folder, in the order of their names.

    `gone` are paths relative to the folder's parent that a new bundle lacks, and that are still there until it is
    verified. What a name says is no hook (`README`, `x.bak`, `x~`) is passed over in silence; what is one by its name
    and cannot be run is told.
    """
    place = folder / "hooks" / f"{moment}.d"
    hooks: list[Path] = []
    skipped: list[str] = []
    with files.naming(f"looking for hooks in {place}"):
        entries = sorted(place.iterdir(), key=lambda entry: entry.name) if place.is_dir() else []
    for entry in entries:
        if not _NAME.fullmatch(entry.name) or entry.name.startswith("README"):
            continue
        if str(entry.relative_to(folder.parent)) in gone:
            continue
        if entry.is_symlink() or not entry.is_file():
            skipped.append(f"{entry} is no regular file: it is not run")
        elif not os.access(entry, os.X_OK):
            skipped.append(f"{entry} is not executable: it is not run; let it begin with #! or end in .sh")
        else:
            hooks.append(entry)
    return Found(tuple(hooks), tuple(skipped))


def run(hook: Path, opened: Project, commands: Commands, deadline: Deadline, tell: Callable[[str], None]) -> None:
    """Run one hook to its end in the role's folder, with the environment that Compose gets; `tell` hears its lines.

    `HostError` with the last of them when it fails, cannot be started, or is not done in its time; then it and what it
    started is ended.
    """
    name = f"hooks/{hook.parent.name}/{hook.name}"
    doing = f"running the hook {name}"
    last: list[str] = []

    def hear(line: str) -> None:
        last.append(line)
        del last[:-TAIL_LINES]
        tell(line)

    try:
        finished = commands.run(
            Command(argv=(str(hook),), env=opened.env, cwd=opened.folder), deadline.share(SECONDS), on_line=hear
        )
    except HostError as error:
        raise HostError(doing, f"cannot be started: {error.cause}", _FIX) from error
    except AgentError as error:
        raise HostError(doing, error.cause.partition("; last seen")[0], _FIX, details=last) from error
    printed = [line.rstrip() for line in finished.out.decode("utf-8", "replace").splitlines() if line.strip()]
    for line in printed:
        tell(line)
    if not finished.ok:
        how = f"ended with {finished.status}" if finished.status >= 0 else f"was ended by signal {-finished.status}"
        raise HostError(doing, how, _FIX, details=[*printed[-TAIL_LINES:], *last])


_FIX = "see its last lines; correct the hook in the bundle or what it needs on this host, then run it again"
