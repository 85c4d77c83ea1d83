"""Making the staged bundle the live one: in place, one atomic rename per file.

In place, because a service may mount a folder of the bundle or keep data beside it: to swap whole folders would leave a
running container on the old one. Files that the new bundle lacks stay until the release is verified: a running
container may still mount them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from agent.errors import HostError
from agent.host import files
from agent.steps.stage import Staged

# Up to so many files each is made durable before its rename. For more the disk would be busy for seconds; a power loss
# then may leave an empty file, which the next run finds by its content.
DURABLE_FILES = 256


def in_the_way(staged: Staged) -> tuple[str, ...]:
    """Of the files that the new bundle lacks, those that cannot wait.

    A new file is where their folder is, or a new folder where one of them is.
    """
    new = (*staged.added, *staged.changed)
    folders = {"/".join(parts[:depth]) for path in new if (parts := path.split("/")) for depth in range(1, len(parts))}
    names = set(new)
    return tuple(
        path for path in staged.removed if path in folders or any(str(parent) in names for parent in Path(path).parents)
    )


def check(staged: Staged, services: Path, early: Collection[str]) -> None:
    """Raise `HostError` for what is in the way of the new files and no bundle brought: a link, a file, a folder."""
    cleared = set(early)
    new = (*staged.added, *staged.changed)
    _expect_folders(services, _folders_of(services, new), cleared)
    for path in new:
        _expect_no_folder(services, path, cleared)
    for path in staged.folders:
        _expect_folders(services, [*files.parents_below(services, path), services / path], cleared)


def missing_folders(staged: Staged, services: Path) -> tuple[str, ...]:
    """The folders that have to be made for the new files, relative to `services`."""
    wanted = _folders_of(services, (*staged.added, *(f"{path}/x" for path in staged.folders)))
    return tuple(sorted(str(path.relative_to(services)) for path in wanted if not path.is_dir()))


def apply(staged: Staged, services: Path, early: Collection[str], ours: Collection[str]) -> None:
    """Move every added or changed file to its place below `services`; `check` and a journal come first.

    Of the files that the new bundle lacks, `early` go now; so do folders of `ours` that this leaves empty.
    """
    paths = (*staged.added, *staged.changed)
    files.remove_below(services, early, ours)
    if len(paths) <= DURABLE_FILES:
        for path in paths:
            with files.naming(f"writing {services / path}"):
                files.sync_file(staged.folder / path)
    for path in staged.folders:
        for folder in (*files.parents_below(services, path), services / path):
            files.make_folder(folder, 0o755)
    for folder in _folders_of(services, paths):
        files.make_folder(folder, 0o755)
    for path in paths:
        name = f"{services}/{path}"
        with files.naming(f"replacing {name}"):
            if os.path.lexists(name):
                _make_way(services / path)
            (staged.folder / path).replace(name)
    for folder in sorted({services / path.rpartition("/")[0] for path in paths}):
        with files.naming(f"writing {folder}"):
            files.sync_folder(folder)


def _make_way(target: Path) -> None:
    """Remove a folder in a file's place: `check` saw it empty, nothing is lost."""
    if target.is_dir() and not target.is_symlink():
        target.rmdir()


def _folders_of(services: Path, paths: Iterable[str]) -> list[Path]:
    """The folders that these files are in, each once, those above before those below."""
    nearest = dict.fromkeys(path.rpartition("/")[0] for path in paths)
    return list(dict.fromkeys(folder for name in nearest for folder in files.parents_below(services, f"{name}/x")))


def _expect_folders(services: Path, folders: Iterable[Path], cleared: Collection[str]) -> None:
    """A link or a file where a folder has to be is an error, never followed."""
    for folder in folders:
        if str(folder.relative_to(services)) in cleared and not folder.is_symlink():
            continue
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise HostError(
                f"making the folder {folder}",
                "a link or a file is in the way" if not folder.is_symlink() else f"it is a link to {folder.readlink()}",
                "remove it, or move what it points to into its place, then run it again",
            )


def _expect_no_folder(services: Path, path: str, cleared: Collection[str]) -> None:
    """A folder in a file's place is an error, unless it is empty or all in it goes with the former bundle.

    The engine makes an empty one where a container mounts a file that is missing.
    """
    if not os.path.lexists(f"{services}/{path}"):
        return
    target = services / path
    if not target.is_dir() or target.is_symlink() or not any(target.iterdir()):
        return
    entries = [item for item in target.rglob("*") if item.is_symlink() or not item.is_dir()]
    if not entries or any(str(item.relative_to(services)) not in cleared for item in entries):
        raise HostError(
            f"replacing {target}",
            "the bundle brings a file of this name, the host has a folder",
            "move the folder away, then run it again",
        )
