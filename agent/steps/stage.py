"""Putting the new bundle together beside the live folders: nothing live changes here.

A file is fetched unless the host already has its content: the bucket's ETag is the recorded one, and the live file's
sha256 is what was recorded with it. Size and time are never trusted (`aws s3 sync` misses a change of equal size).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.aws.s3 import RemoteObject
from agent.host import files
from agent.host.clock import Deadline
from agent.host.paths import Paths
from agent.host.side_by_side import SideBySide
from agent.steps.bundle import COMMON, HOST_LOCAL, Entry, Listing
from agent.steps.state import BundleFile

# Requests under way at once; more do not pay on two cores.
DOWNLOADS = 8


class Downloader(Protocol):
    """What is asked of the config bucket."""

    def download(self, item: RemoteObject, path: Path) -> str:
        """Write an object to a new file; returns its sha256."""


@dataclass(frozen=True, kw_only=True)
class Staged:
    """The whole bundle below `folder`, in the same shape as below /opt/services, and how it differs from what is live.

    `fetched` counts the objects that were downloaded, `received` their bytes.
    """

    folder: Path
    files: Mapping[str, BundleFile]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    fetched: int
    received: int

    @property
    def differs(self) -> bool:
        """True when applying would change a live file."""
        return bool(self.added or self.changed or self.removed)


def stage(
    listing: Listing,
    bucket: Downloader,
    paths: Paths,
    *,
    applied: Mapping[str, BundleFile],
    deadline: Deadline,
    tell: Callable[[int, int], None],
) -> Staged:
    """Build the staged tree; `tell(done, all)` hears of every file that is at hand."""
    discard(paths.staging)
    files.make_folder(paths.services, 0o755)
    files.make_folder(paths.staging, 0o700)
    tops = {listing.role, COMMON}
    known = {entry.path: _unchanged(entry, applied, paths.services) for entry in listing.entries}
    at_hand: dict[str, BundleFile] = {}
    for path, file in known.items():
        if file is not None:
            _link(paths.services / path, paths.staging / path)
            at_hand[path] = file
    wanted = [entry for entry in listing.entries if known[entry.path] is None]
    tell(len(at_hand), len(listing.entries))
    fetched = _fetch_all(
        wanted, bucket, paths.staging, deadline, lambda done: tell(len(at_hand) + done, len(listing.entries))
    )
    _link_host_files(listing.role, paths, set(applied))
    return Staged(
        folder=paths.staging,
        files=at_hand | fetched,
        added=tuple(sorted(path for path in fetched if not (paths.services / path).exists())),
        changed=tuple(sorted(path for path in fetched if (paths.services / path).exists())),
        # Not the files of another role that this host had before: its containers may still run on them.
        removed=tuple(sorted(path for path in set(applied) - set(known) if path.partition("/")[0] in tops)),
        fetched=len(fetched),
        received=sum(file.size for file in fetched.values()),
    )


def discard(staging: Path) -> None:
    """Remove a staged tree. Its files are other names of live ones: they are unlinked, never overwritten."""
    with files.naming(f"removing {staging}"):
        if staging.is_dir():
            shutil.rmtree(staging)


def _unchanged(entry: Entry, applied: Mapping[str, BundleFile], services: Path) -> BundleFile | None:
    recorded, live = applied.get(entry.path), services / entry.path
    if recorded is None or recorded.etag != entry.source.etag or recorded.size != entry.source.size:
        return None
    if live.is_symlink() or not live.is_file():
        return None
    with files.naming(f"reading {live}"):
        status = live.stat()
        same = status.st_size == recorded.size and files.sha256(live) == recorded.sha256
    return recorded if same and status.st_mode & 0o7777 == recorded.mode else None


def _link(live: Path, staged: Path) -> None:
    """The same file under another name where that is possible: nothing in the staged tree is ever written to."""
    with files.naming(f"staging {live}"):
        staged.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(live, staged)
        except OSError:
            shutil.copy2(live, staged)  # another file system, or one without links


def _fetch_all(
    wanted: Sequence[Entry], bucket: Downloader, staging: Path, deadline: Deadline, tell: Callable[[int], None]
) -> dict[str, BundleFile]:
    queue: Iterator[Entry] = iter(wanted)
    lock, done = threading.Lock(), itertools.count(1)
    fetched: dict[str, BundleFile] = {}
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            with lock:
                entry = next(queue, None)
            if entry is None:
                return
            deadline.check("syncing the bundle")
            file = _fetch(entry, bucket, staging)
            with lock:
                fetched[entry.path] = file
                tell(next(done))

    try:
        with SideBySide(deadline) as jobs:
            for _ in range(min(DOWNLOADS, len(wanted))):
                jobs.start("syncing the bundle", work)
    finally:
        ended.set()  # after a failure or a signal no thread goes on to fill a tree that is being removed
    return fetched


def _fetch(entry: Entry, bucket: Downloader, staging: Path) -> BundleFile:
    target = staging / entry.path
    with files.naming(f"writing {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = bucket.download(entry.source, target)
        mode = _mode(target)
        target.chmod(mode)
    return BundleFile(entry.path, entry.source.etag, entry.source.size, digest, mode)


def _mode(path: Path) -> int:
    """S3 keeps no modes: scripts are executable, nothing else is (contract section 1)."""
    if path.suffix == ".sh":
        return 0o755
    with path.open("rb") as file:
        return 0o755 if file.read(2) == b"#!" else 0o644


def _link_host_files(role: str, paths: Paths, applied: set[str]) -> None:
    """Show the staged tree the host's own files (`tls/`, `data/`), so that Compose can read it as it will be."""
    for top in (role, COMMON):
        live, staged = paths.services / top, paths.staging / top
        if live.is_dir():
            with files.naming(f"staging {live}"):
                staged.mkdir(parents=True, exist_ok=True)
                _link_missing(live, staged, top, applied)


def _link_missing(live: Path, staged: Path, relative: str, applied: set[str]) -> None:
    for entry in live.iterdir():
        path, target = f"{relative}/{entry.name}", staged / entry.name
        if entry.name in HOST_LOCAL or path in applied:
            continue  # `.env` must not be read; a file of a former bundle that the new one lacks is not there any more
        if target.is_dir() and not target.is_symlink():
            if entry.is_dir() and not entry.is_symlink():
                _link_missing(entry, target, path, applied)
        elif not target.exists() and not any(name.startswith(f"{path}/") for name in applied):
            target.symlink_to(entry)


def digest_of(bundle: Mapping[str, BundleFile]) -> str:
    """One digest for a whole bundle: paths, contents and modes."""
    total = hashlib.sha256()
    for path, file in sorted(bundle.items()):
        total.update(f"{path}\0{file.sha256}\0{file.mode:o}\n".encode())
    return total.hexdigest()
