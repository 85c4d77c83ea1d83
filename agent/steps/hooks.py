"""The bundle's own programs: `hooks/pre-up.d/` before the project is started, `hooks/post-up.d/` after it is well."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import field
from pathlib import Path
from typing import Literal

from agent.dataclass import dataclass
from agent.errors import AgentError, HostError
from agent.host import files
from agent.host.clock import Deadline
from agent.host.command import Command, Commands
from agent.report.words import amount
from agent.steps.project import Project

Moment = Literal["pre-up", "post-up"]
# Each hook has this long, and never more than the run.
SECONDS = 60.0
TAIL_LINES = 20
# Of each of its two outputs so many lines are told: what it began with and how it ended.
FIRST_LINES, LAST_LINES = 200, 100
# A line is cut when it has been cleaned, or half of a secret would be left of it.
LONGEST_LINE = 4096

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


class _Teller:
    """Passes on the first lines of an output as they come, the last ones at its end, and how many are between."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._count = 0
        self.last: deque[str] = deque(maxlen=LAST_LINES)

    def hear(self, line: str) -> None:
        self._count += 1
        self.last.append(line)
        if self._count <= FIRST_LINES:
            self._tell(line)

    def end(self) -> None:
        waiting = self._count - FIRST_LINES
        if waiting > LAST_LINES:
            self._tell(f"... {amount(waiting - LAST_LINES, 'line')} left out ...")
        for line in list(self.last)[-waiting:] if waiting > 0 else ():
            self._tell(line)


def run(
    hook: Path,
    opened: Project,
    commands: Commands,
    deadline: Deadline,
    *,
    tell: Callable[[str], None],
    clean: Callable[[str], str],
) -> None:
    """Run one hook to its end in the role's folder, with the environment that Compose gets; `tell` hears its lines.

    Each line is one that `clean` has taken the secrets out of. `HostError` with the last lines when it fails, cannot be
    started, or is not done in its time; then it and what it started is ended.
    """
    name = f"hooks/{hook.parent.name}/{hook.name}"
    doing = f"running the hook {name}"
    errors, output = _Teller(tell), _Teller(tell)
    command = Command(argv=(str(hook),), env=opened.env, cwd=opened.folder)
    try:
        finished = commands.run(command, deadline.share(SECONDS), on_line=lambda line: errors.hear(_cut(clean(line))))
    except HostError as error:
        raise HostError(doing, f"cannot be started: {error.cause}", _FIX) from error
    except AgentError as error:
        raise HostError(doing, error.cause.partition("; last seen")[0], _FIX, details=_tail(errors)) from error
    finally:
        errors.end()
    for line in finished.out.decode("utf-8", "replace").splitlines():
        if line.strip():
            output.hear(_cut(clean(line.rstrip())))
    output.end()
    if not finished.ok:
        how = f"ended with {finished.status}" if finished.status >= 0 else f"was ended by signal {-finished.status}"
        raise HostError(doing, how, _FIX, details=[*_tail(output), *_tail(errors)])


def _tail(teller: _Teller) -> list[str]:
    return list(teller.last)[-TAIL_LINES:]


def _cut(line: str) -> str:
    """The end of a long line: what went wrong is said last."""
    return line if len(line) <= LONGEST_LINE else f"... {line[-LONGEST_LINE:]}"


_FIX = "see its last lines; correct the hook in the bundle or what it needs on this host, then run it again"
