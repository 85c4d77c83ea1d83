"""Making the staged bundle the live one: in place, one atomic rename per file.

In place, because a service may mount a folder of the bundle or keep data beside it: to swap whole folders would leave a
running container on the old one. Files that the new bundle lacks stay until the release is verified: a running
container may still mount them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from agent.errors import HostError
from agent.host import files
from agent.steps.stage import Staged
from agent.steps.state import BundleFile


def apply(staged: Staged, services: Path, record: Callable[[Mapping[str, BundleFile]], None]) -> None:
    """Move every added or changed file to its place below `services`.

    What is in the way of any of them is a `HostError` before the first move. `record` is called with all files that the
    bundle has, before the first move too: after a crash the next run compares contents with that record and fetches
    what does not match.
    """
    paths = (*staged.added, *staged.changed)
    for path in paths:
        _refuse_obstacles(services, path)
    record(staged.files)
    folders: set[Path] = set()
    for path in paths:
        target = services / path
        for folder in _folders_above(services, path):
            files.make_folder(folder, 0o755)
        with files.naming(f"replacing {target}"):
            (staged.folder / path).replace(target)
        folders.add(target.parent)
    for folder in sorted(folders):
        with files.naming(f"writing {folder}"):
            files.sync_folder(folder)


def _folders_above(services: Path, path: str) -> list[Path]:
    """The folders between `services` and the file, the outermost first."""
    depth = path.count("/")
    return list((services / path).parents[:depth])[::-1]


def _refuse_obstacles(services: Path, path: str) -> None:
    """A link or a file where a folder has to be is an error, never followed; so is a folder in the file's place."""
    for folder in _folders_above(services, path):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise HostError(
                f"making the folder {folder}",
                "a link or a file is in the way" if not folder.is_symlink() else f"it is a link to {folder.readlink()}",
                "remove it, or move what it points to into its place, then run it again",
            )
    target = services / path
    if target.is_dir() and not target.is_symlink():
        raise HostError(
            f"replacing {target}",
            "the bundle brings a file of this name, the host has a folder",
            "move the folder away, then run it again",
        )


def remove(paths: tuple[str, ...], services: Path) -> None:
    """Remove files that a former bundle brought and the new one lacks, and folders that this leaves empty.

    What an operator has removed already, or put a link or a folder in the place of, is left as it is.
    """
    for path in paths:
        target, folders = services / path, _folders_above(services, path)
        if any(folder.is_symlink() or not folder.is_dir() for folder in folders):
            continue
        with files.naming(f"removing {target}"):
            if target.is_symlink() or not target.is_dir():
                target.unlink(missing_ok=True)
            # Not the outermost: the role's own folder and `common` stay.
            for folder in folders[:0:-1]:
                if any(folder.iterdir()):
                    break
                folder.rmdir()
