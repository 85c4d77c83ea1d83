"""Which files of a role Compose itself reads. Imported where that is asked: it loads a dozen modules."""

from __future__ import annotations

import os
from pathlib import Path

from agent.compose_file import project_file
from agent.steps import project


def read_by_compose(top: Path, role: str) -> set[str]:
    """The paths below `top` (/opt/services, or the staged tree) of the role's compose files and their env files.

    Whether they are there or not: Compose looks for each of the names that it knows.
    """
    read = project_file.read(project.find(top / role, role))
    used = [item.path for service in read.services for item in service.env_file if item.path is not None]
    names = {f"{role}/{name}" for name in (*project.FILE_NAMES, *project.OVERRIDE_NAMES)}
    return names | {os.path.relpath(path, top) for path in (*read.files, *used)}
