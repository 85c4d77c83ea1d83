"""Writing a verified tag and ref to the bootstrap file: one value each, all other bytes and the mode as they were."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.errors import BootstrapError, UsageError
from agent.host import files
from agent.shell import file as shell_file
from agent.shell.rewrite import RewriteError, rewrite
from agent.steps.bootstrap_shape import faults_of_shape


def check_values(changes: Mapping[str, str]) -> None:
    """Raise `UsageError` when a value cannot be one."""
    faults = [f"{name} must not be empty" for name, value in changes.items() if not value]
    faults += faults_of_shape(changes)
    if faults:
        raise UsageError("reading the command line", "; ".join(faults), "give a value of that form")


def check_file(path: Path, changes: Mapping[str, str]) -> None:
    """Raise before anything is deployed when the file could not be given the values afterwards.

    `BootstrapError` when something else would change with them, `HostError` when its folder takes no new file.
    """
    _rewritten(path, _read(path), changes)
    files.try_beside(path)


def unwritten(path: Path, pending: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """The new values of names for which the file still says the old one."""
    now = shell_file.parse(_read(path), str(path)).values()
    return {name: new for name, (old, new) in pending.items() if now.get(name) == old != new}


def persist(path: Path, pending: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Give each name its new value where the file still has the old one; returns what was changed."""
    data = _read(path)
    now = shell_file.parse(data, str(path)).values()
    changes = {name: new for name, (old, new) in pending.items() if now.get(name) == old != new}
    if changes:
        files.rewrite(path, _rewritten(path, data, changes))
    return changes


def _read(path: Path) -> bytes:
    with files.naming(f"reading {path}"):
        return path.read_bytes()


def _rewritten(path: Path, data: bytes, changes: Mapping[str, str]) -> bytes:
    try:
        return rewrite(data, changes)
    except RewriteError as error:
        raise BootstrapError(
            f"changing {', '.join(changes)} in {path}",
            str(error),
            "change the file by hand, then run `delphi-agent init`",
        ) from error
