"""The way back: what a transaction replaces is kept first, under its own name below `releases/N/replaced`.

A link where that is possible: keeping costs no bytes, and the content cannot change any more once the live name is
another file's. The first that was kept wins: after several failed attempts the way still leads to the verified release.
"""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from agent.dataclass import dataclass
from agent.host import files
from agent.steps.records import BundleFile, Journal, Original
from agent.steps.state import State


def folder(state_folder: Path, release: int) -> Path:
    """Where the files lie that were replaced after release `release`."""
    return state_folder / "releases" / str(release) / "replaced"


@dataclass(frozen=True)
class Edit:
    """A bundle's file (or a file in its place) that somebody changed on this host, and where its content is kept."""

    path: str
    kept: Path


def begin(
    state: State, paths: Iterable[str], services: Path, state_folder: Path, *, made: bool = False
) -> tuple[Journal, tuple[Edit, ...]]:
    """Keep what is now in the place of each of `paths`; the journal to record before the first of them changes.

    `made` says that the new files are made from variables.

    The edits are those files whose content no bundle brought. Continues the journal that is open, if there is one.
    """
    opened = state.journal
    release = opened.release if opened else state.current.number if state.current else 0
    originals = dict(opened.originals) if opened else {}
    store = folder(state_folder, release)
    edits: list[Edit] = []
    touched: set[Path] = set()
    for path in paths:
        was = state.applied.get(path)
        with files.naming(f"keeping {services}/{path}"):
            if path not in originals and _is_absent(f"{services}/{path}"):
                originals[path] = Original(stored=False, mode=0, was=was, made=made)
                continue
            live = services / path
            present = live.is_symlink() or live.is_file()
            edited = present and not _is_as_recorded(live, was)
            if path in originals and not edited and not _lost(originals[path], store / path):
                continue
            if not present:
                originals.setdefault(path, Original(stored=False, mode=0, was=was, made=made))
                continue
            first = path not in originals or _lost(originals[path], store / path)
            kept = store / path if first else free_name(store / path)
            _keep(live, kept)
            touched.add(kept.parent)
            if first:
                digest = "" if made or live.is_symlink() else files.sha256(live)
                mode = live.lstat().st_mode & 0o7777
                originals[path] = Original(stored=True, mode=mode, was=was, sha256=digest, made=made)
        if edited:
            edits.append(Edit(path, kept))
    for parent in sorted(touched):
        with files.naming(f"writing {parent}"):
            files.sync_folder(parent)
    folders, former = (opened.folders, opened.made) if opened else ((), None)
    journal = Journal(release=release, applying=True, originals=originals, folders=folders, made=former)
    return journal, tuple(edits)


def _is_absent(name: str) -> bool:
    """Whether nothing is there: what cannot be looked at is an `OSError`, it might be what has to be kept."""
    try:
        os.lstat(name)
    except (FileNotFoundError, NotADirectoryError):
        return True
    return False


def _lost(original: Original, kept: Path) -> bool:
    """Whether the way back ends here: a content was kept, and is gone."""
    return original.stored and not os.path.lexists(kept)


def _is_as_recorded(live: Path, was: BundleFile | None) -> bool:
    return was is not None and not live.is_symlink() and files.sha256(live) == was.sha256


def _keep(live: Path, kept: Path) -> None:
    files.make_folder(kept.parent, 0o700)
    if os.path.lexists(kept):
        if _same(kept, live):
            return  # a run was killed before it could record that it kept it
        kept.replace(free_name(kept))
    try:
        os.link(live, kept, follow_symlinks=False)
    except OSError:
        copy(live, kept)  # another file system, or one without links


def copy(source: Path, target: Path) -> None:
    """A file with its content, owner, mode, times and extended attributes, at a free name; durable."""
    status = source.lstat()
    if stat.S_ISLNK(status.st_mode):
        target.symlink_to(source.readlink())
    else:
        # For nobody else until it has its mode: it may hold a key.
        new = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(new, "wb") as write, source.open("rb") as read:
            shutil.copyfileobj(read, write)
    # The owner first: to change it takes set-id bits and capabilities away.
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    shutil.copystat(source, target, follow_symlinks=False)
    if not target.is_symlink():
        files.sync_file(target)


def _same(kept: Path, live: Path) -> bool:
    if os.path.samestat(kept.lstat(), live.lstat()):
        return True
    plain = not kept.is_symlink() and not live.is_symlink()
    return plain and kept.stat().st_size == live.stat().st_size and files.sha256(kept) == files.sha256(live)


def free_name(path: Path) -> Path:
    """`file.~1~`, `file.~2~`, ... as GNU tools number backups."""
    names = (path.with_name(f"{path.name}.~{number}~") for number in itertools.count(1))
    return next(name for name in names if not os.path.lexists(name))


def seal(journal: Journal, state_folder: Path) -> None:
    """What was kept is now only a content to go back to: for root alone, as containers use other files now."""
    store = folder(state_folder, journal.release)
    for path, original in journal.originals.items():
        kept = store / path
        if original.stored and kept.is_file() and not kept.is_symlink():
            with files.naming(f"changing the mode of {kept}"):
                kept.chmod(0o600)


def contents(state_folder: Path, path: str) -> Iterator[Path]:
    """Every content of `path` that is kept, whichever release it belongs to."""
    releases = state_folder / "releases"
    if releases.is_dir():
        for release in sorted(releases.iterdir()):
            kept = release / "replaced" / path
            if kept.is_file() and not kept.is_symlink():
                yield kept


def forget(state_folder: Path, needed: Collection[int]) -> None:
    """Remove what is kept for releases that are not needed any more."""
    releases = state_folder / "releases"
    if not releases.is_dir():
        return
    for release in releases.iterdir():
        if release.name.isdecimal() and int(release.name) not in needed:
            with files.naming(f"removing {release}"):
                shutil.rmtree(release)
