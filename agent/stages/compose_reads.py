"""Which files of a role Compose itself reads. Imported where that is asked: it loads a dozen modules."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from agent.compose_file import project_file
from agent.compose_file.project_file import ComposeFile
from agent.steps import project


def read_by_compose(top: Path, role: str) -> set[str]:
    """The paths below `top` (/opt/services, or the staged tree) of the role's compose files and their env files.

    Whether they are there or not: Compose looks for each of the names that it knows.
    """
    read = _read(top, role)
    used = [item.path for service in read.services for item in service.env_file if item.path is not None]
    names = {f"{role}/{name}" for name in (*project.FILE_NAMES, *project.OVERRIDE_NAMES)}
    return names | {os.path.relpath(path, top) for path in (*read.files, *used)}


def named_by_compose(top: Path, role: str, paths: Collection[str]) -> set[str]:
    """Those of `paths` whose file the role's compose files name anywhere, as an env file, an include, or otherwise."""
    texts = []
    for path in _read(top, role).files:
        with contextlib.suppress(OSError):
            texts.append(path.read_bytes())
    return {path for path in paths if any(os.fsencode(path.rpartition("/")[2]) in text for text in texts)}


def _read(top: Path, role: str) -> ComposeFile:
    return project_file.read(project.find(top / role, role))
