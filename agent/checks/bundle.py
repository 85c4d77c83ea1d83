"""The files of a bundle: secrets in plain text, files that do not belong there, old scripts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import field
from pathlib import Path

from agent.checks.secrets import lines_of_secrets, scan
from agent.compose_file import Finding, Place
from agent.compose_file.finding import warning
from agent.dataclass import dataclass
from agent.errors import HostError

MOST_FILES = 2000
MOST_BYTES = 1 << 20

# Never a part of a bundle: a repository's own folders, and what a host keeps beside its bundle.
_SKIPPED = frozenset({".git", "node_modules", "__pycache__", ".venv"})
_SETTINGS = frozenset(".yaml .yml .json .toml .ini .conf .cfg .env .properties".split())
_OLD_SCRIPTS = ("init.sh", "update.sh")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """What was learnt from one file. `withheld` are the lines that no message may quote; `words` only of hooks."""

    findings: tuple[Finding, ...] = ()
    withheld: frozenset[tuple[str, int]] = frozenset()
    words: frozenset[str] = field(default=frozenset(), repr=False)


def read(folder: Path, shown: Callable[[Path], str], skip: tuple[str, ...]) -> tuple[BundleFile, ...]:
    """Look into every file of the folder (no links, nothing large, no binary)."""
    return tuple(_look_into(path, folder, shown(path)) for path in _paths(folder, skip))


def findings(files: tuple[BundleFile, ...], folder: Path, shown: Callable[[Path], str]) -> Iterator[Finding]:
    """What was found in the files, and files that should not be there."""
    for file in files:
        yield from file.findings
    if os.path.lexists(folder / ".env"):
        yield warning(
            Place(shown(folder / ".env")),
            "dotenv-file",
            "Compose would read this file by itself; the agent removes it from a host before it starts the project",
            "remove it, and declare its variables in vars.yaml",
        )
    for name in _OLD_SCRIPTS:
        if (folder / name).is_file():
            yield warning(
                Place(shown(folder / name)),
                "old-script",
                f"running {name} on a host bypasses the agent's lock and records",
                "remove it, or let it do no more than call `delphi-agent`",
            )


def _paths(folder: Path, skip: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        top = Path(parent) == folder
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not (top and name in skip))
        found += [Path(parent, name) for name in sorted(names)]
        if len(found) > MOST_FILES:
            break
    return [path for path in found[:MOST_FILES] if path.is_file() and not path.is_symlink()]


def _look_into(path: Path, folder: Path, name: str) -> BundleFile:
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES)
    except OSError as failure:
        why = f"not looked into: {failure.strerror or type(failure).__name__}"
        note = warning(Place(name), "unreadable", why, "make it readable", exit_code=HostError.exit_code)
        return BundleFile(findings=(note,))
    if b"\0" in data:
        return BundleFile()
    text = data.decode("utf-8", "replace")
    # What vars.yaml sets is looked at where it is understood: its `default`s.
    settings = (path.suffix in _SETTINGS or path.name.startswith(".env")) and path != folder / "vars.yaml"
    return BundleFile(
        findings=tuple(_secrets(text, name, settings=settings)),
        withheld=frozenset((name, line) for line in lines_of_secrets(text)) if settings else frozenset(),
        words=frozenset(_WORD.findall(text)) if path.relative_to(folder).parts[0] == "hooks" else frozenset(),
    )


def _secrets(text: str, name: str, *, settings: bool) -> Iterator[Finding]:
    for suspect in scan(text, settings=settings):
        line = text.count("\n", 0, suspect.index) + 1
        column = suspect.index - text.rfind("\n", 0, suspect.index)
        yield warning(
            Place(name, line, column),
            "secret-in-bundle",
            suspect.text,
            "keep it in Secrets Manager and take it from a variable; if it was real, replace it there, too",
        )
