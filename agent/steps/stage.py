"""Putting the new bundle together beside the live folders: nothing live changes here.

A file is fetched unless the host already has its content: the bucket's ETag is the recorded one, and the live file's
sha256 is what was recorded with it. Size and time are never trusted (`aws s3 sync` misses a change of equal size).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.dataclass import dataclass
from agent.host import files
from agent.host.clock import Deadline
from agent.host.paths import Paths
from agent.steps import caps, live
from agent.steps.bundle import COMMON, Listing
from agent.steps.download import Downloader, fetch_all
from agent.steps.records import BundleFile


@dataclass(frozen=True, kw_only=True)
class Staged:
    """The whole bundle below `folder`, in the same shape as below /opt/services, and how it differs from what is live.

    Where nothing differs, `folder` is /opt/services itself: what is there is the bundle. `added` are files in whose
    place nothing is. `folders` are empty folders that the bundle asks for and the host lacks. `fetched` counts the
    objects that were downloaded, `received` their bytes.
    """

    folder: Path
    files: Mapping[str, BundleFile]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    fetched: int
    received: int
    folders: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """True when applying would change something live."""
        return bool(self.added or self.changed or self.removed or self.folders)


def stage(
    listing: Listing,
    bucket: Downloader,
    paths: Paths,
    *,
    applied: Mapping[str, BundleFile],
    deadline: Deadline,
    tell: Callable[[int, int], None],
) -> Staged:
    """Build the staged tree; `tell(done, all)` hears of every file that is at hand.

    `HostError` before the first download when the disk has no room. `BundleMoved` when an object is no longer what the
    listing said: list again and call it again.
    """
    discard(paths)
    files.make_folder(paths.services, 0o755)
    every = len(listing.entries)
    known = {entry.path: live.unchanged(entry, applied, paths.services) for entry in listing.entries}
    wanted = [entry for entry in listing.entries if known[entry.path] is None]
    tops = {listing.role, COMMON}
    # Not the files of another role that this host had before: its containers may still run on them.
    removed = tuple(sorted(path for path in set(applied) - set(known) if path.partition("/")[0] in tops))
    # A link to a folder elsewhere is what an operator made of it.
    folders = tuple(sorted(path for path in listing.folders if not (paths.services / path).is_dir()))
    if not (wanted or removed or folders):
        return _as_it_is(paths, known)
    files.make_folder(paths.staging, 0o700)
    caps.refuse_without_room(paths.staging, [entry.source.size for entry in wanted])
    at_hand = {path: file for path, file in known.items() if file is not None}
    for path in at_hand:
        live.link(paths.services / path, paths.staging / path)
    tell(len(at_hand), every)
    fetched = fetch_all(wanted, bucket, paths.staging, deadline, lambda done: tell(len(at_hand) + done, every))
    live.link_host_files(listing.role, paths, applied)
    _make_folders(listing.folders, paths.staging)
    there = {path for path in fetched if os.path.lexists(paths.services / path)}
    return Staged(
        folder=paths.staging,
        files=at_hand | fetched,
        added=tuple(sorted(set(fetched) - there)),
        changed=tuple(sorted(there)),
        removed=removed,
        fetched=len(fetched),
        received=sum(file.size for file in fetched.values()),
        folders=folders,
    )


def _as_it_is(paths: Paths, known: Mapping[str, BundleFile | None]) -> Staged:
    """Nothing differs: a tree of links to thousands of live files would be made to be thrown away."""
    every = {path: file for path, file in known.items() if file is not None}
    return Staged(folder=paths.services, files=every, added=(), changed=(), removed=(), fetched=0, received=0)


def discard(paths: Paths) -> None:
    """Remove a staged tree, if there is one. Its files are other names of live ones: unlinked, never overwritten."""
    with files.naming(f"removing {paths.staging}"):
        if paths.staging.is_dir():
            shutil.rmtree(paths.staging)


def _make_folders(folders: tuple[str, ...], staging: Path) -> None:
    """Make the empty folders that the host does not have either."""
    for path in folders:
        with files.naming(f"making the folder {staging / path}"):
            if not os.path.lexists(staging / path):
                (staging / path).mkdir(parents=True)


def digest_of(bundle: Mapping[str, BundleFile]) -> str:
    """One digest for a whole bundle: paths, contents and modes."""
    total = hashlib.sha256()
    for path, file in sorted(bundle.items()):
        total.update(f"{path}\0{file.sha256}\0{file.mode:o}\n".encode())
    return total.hexdigest()
