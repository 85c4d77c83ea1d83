"""Bring the machine's files back to how they were, without restarting it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from tests.lab.machine import Machine

# The engine's own, which lives on between tests.
_KEPT_IN_RUN = "docker docker.sock docker.pid containerd netns mount lock xtables.lock".split()


@dataclasses.dataclass(frozen=True)
class _Entry:
    """What tells one state of a written file (or folder) from another, and what it takes to bring it back."""

    inode: int
    mode: int
    size: int
    changed: int
    content: bytes = dataclasses.field(compare=False, repr=False)


class Snapshot:
    """What the machine had written when take() was called; restore() undoes what was written since.

    Covers the root file system, /run and /dev/shm. Python's byte code is left alone, and so is the engine's data.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._taken: dict[str, _Entry] = {}

    def take(self) -> None:
        self._taken = dict(self._written())

    def restore(self) -> None:
        now = dict(self._written())
        # Deepest first: what is in a folder goes before the folder.
        for name in sorted(now.keys() - self._taken.keys(), reverse=True):
            self._undo(name)
        changed = sorted(name for name, entry in self._taken.items() if now.get(name) != entry)
        for name in changed:
            self._bring_back(name, self._taken[name])
        if changed:
            self.take()
        for folder, kept in (("/run", _KEPT_IN_RUN), ("/dev/shm", [])):
            for path in self._machine.path(folder).iterdir():
                if path.name not in kept:
                    _remove(path)

    def _written(self) -> Iterator[tuple[str, _Entry]]:
        """Everything in the upper layer of the overlay, by its name in the machine."""
        top = self._machine.path("/.lab/upper")
        for folder, folders, files in os.walk(top):
            if "__pycache__" in folders:
                folders.remove("__pycache__")
            for name in [*folders, *files]:
                path = Path(folder) / name
                # What runc needs for a health check is gone in a moment.
                with contextlib.suppress(FileNotFoundError):
                    yield f"/{path.relative_to(top)}", _entry_of(path)

    def _undo(self, name: str) -> None:
        """Remove what is new; give back what the host's own layer has."""
        ours, below = self._machine.path(name), Path(name)
        if below.is_dir() and not below.is_symlink():
            ours.mkdir(exist_ok=True)
            return
        _remove(ours)
        if os.path.lexists(below):
            shutil.copy2(below, ours, follow_symlinks=False)

    def _bring_back(self, name: str, entry: _Entry) -> None:
        """Give back what the machine itself had written, or had removed (a device is the overlay's mark of that)."""
        path = self._machine.path(name)
        if stat.S_ISREG(entry.mode):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(entry.content)
            path.chmod(stat.S_IMODE(entry.mode))
        elif stat.S_ISDIR(entry.mode):
            path.mkdir(exist_ok=True)
        elif stat.S_ISCHR(entry.mode):
            _remove(path)


def _entry_of(path: Path) -> _Entry:
    found = path.lstat()
    is_file = stat.S_ISREG(found.st_mode)
    # Of a folder only its being there counts: its entries are looked at on their own.
    changing = (found.st_size, found.st_mtime_ns) if not stat.S_ISDIR(found.st_mode) else (0, 0)
    return _Entry(found.st_ino, found.st_mode, *changing, path.read_bytes() if is_file else b"")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
