"""Where a project's files are read from: this host's disk, or whatever has them (`Files`)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """The files that a project is read from."""

    def is_file(self, path: Path) -> bool:
        """Whether there is a file at `path`."""

    def read(self, path: Path) -> bytes:
        """Its content; `OSError` when it cannot be had."""


class Disk:
    """The files of this host."""

    def is_file(self, path: Path) -> bool:
        """Whether there is one."""
        return path.is_file()

    def read(self, path: Path) -> bytes:
        """The whole of it."""
        return path.read_bytes()
