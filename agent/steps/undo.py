"""Going the way back that a journal keeps open: every file that was replaced is put back in its place."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

from agent.dataclass import dataclass
from agent.errors import HostError
from agent.host import files
from agent.steps.journal import Edit, copy, folder, free_name
from agent.steps.records import BundleFile, Original
from agent.steps.state import State


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What an undo came to. `edits` were made since and are kept; of `lost` the former content is not kept any more."""

    state: State
    edits: tuple[Edit, ...] = ()
    lost: tuple[str, ...] = ()


def undo(state: State, services: Path, state_folder: Path) -> Undone:
    """Put everything back that the open journal names; done again after a crash, it goes on where it was.

    The state that it returns has no journal; to save it is the caller's part.
    """
    journal = state.journal
    if journal is None:
        return Undone(state=state)
    store, applied = folder(state_folder, journal.release), dict(state.applied)
    edits, lost = [], []
    for path, original in journal.originals.items():
        now = state.applied.get(path)
        with contextlib.suppress(HostError):
            if edit := _keep_edit(services, path, store.with_name("edits") / path, original, now):
                edits.append(Edit(path, edit))
    added = [path for path, original in journal.originals.items() if not original.stored]
    files.remove_below(services, added, journal.folders)
    for path, original in journal.originals.items():
        if original.stored and not _is_put_back(store / path, services, path, original):
            lost.append(path)
        elif original.was is None:
            applied.pop(path, None)
        else:
            applied[path] = original.was
    for parent in sorted({(services / path).parent for path in journal.originals}):
        if parent.is_dir():
            with files.naming(f"writing {parent}"):
                files.sync_folder(parent)
    folders = state.folders - {path for path in journal.folders if not (services / path).is_dir()}
    made = state.made if journal.made is None else journal.made
    done = replace(state, applied=applied, journal=None, folders=folders, made=made)
    return Undone(state=done, edits=tuple(edits), lost=tuple(lost))


def _keep_edit(services: Path, path: str, kept: Path, original: Original, now: BundleFile | None) -> Path | None:
    """Keep what somebody made of a file since it was replaced; None when it is what this or the former release has."""
    live = services / path
    with files.naming(f"keeping {live}"):
        if original.made or live.is_symlink() or not live.is_file() or files.behind_a_link(services, path):
            return None
        known = {original.sha256, now.sha256 if now else ""}
        if files.sha256(live) in known:
            return None
        free = free_name(kept)
        files.make_folder(free.parent, 0o700)
        copy(live, free)
        return free


def _is_put_back(kept: Path, services: Path, path: str, original: Original) -> bool:
    """As `_put_back`; one file that cannot be put back does not keep the others from it."""
    try:
        return _put_back(kept, services, path, original)
    except HostError:
        return False


def _put_back(kept: Path, services: Path, path: str, original: Original) -> bool:
    """Whether the former content is in its place now."""
    live = services / path
    if files.behind_a_link(services, path):
        return False
    with files.naming(f"putting {live} back"):
        there = live.is_file() and not live.is_symlink() and files.sha256(live) == original.sha256
        if there and live.stat().st_mode & 0o7777 == original.mode:
            return True  # never replaced, or put back already by a run that did not live to say so
        if not os.path.lexists(kept):
            if there:
                live.chmod(original.mode)
            # Of one that is made from a variable nothing is known: a run put it back that did not live to say so.
            return there or (not original.sha256 and (original.made or live.is_symlink()))
        for parent in files.parents_below(services, path):
            files.make_folder(parent, 0o755)
        if live.is_dir() and not live.is_symlink():
            live.rename(free_name(live))  # something has put files of its own where the former file was
        try:
            kept.replace(live)
        except OSError:
            _copy_back(kept, live)
        if not live.is_symlink():
            live.chmod(original.mode)
    return True


def _copy_back(kept: Path, live: Path) -> None:
    beside = live.with_name(".delphi-agent-undo")
    beside.unlink(missing_ok=True)
    try:
        copy(kept, beside)
        beside.replace(live)
    finally:
        beside.unlink(missing_ok=True)
    kept.unlink()
