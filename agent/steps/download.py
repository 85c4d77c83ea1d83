"""Fetching the objects that the host lacks, several side by side."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from agent.aws.s3 import BundleMoved, RemoteObject
from agent.host import files
from agent.host.clock import Deadline
from agent.host.side_by_side import SideBySide
from agent.steps.bundle import Entry
from agent.steps.crew import Crew
from agent.steps.records import BundleFile


class Downloader(Protocol):
    """What is asked of the config bucket."""

    def download(self, item: RemoteObject, path: Path) -> str:
        """Write an object to a new file; returns its sha256."""


def fetch_all(
    wanted: Sequence[Entry], bucket: Downloader, folder: Path, deadline: Deadline, tell: Callable[[int], None]
) -> dict[str, BundleFile]:
    """Write every object below `folder`; `tell(done)` hears of each.

    `BundleMoved` when one is no longer what the listing said: no thread is at work on the tree any more then, so that
    it can be thrown away and made again.
    """
    queue: Iterator[Entry] = iter(wanted)
    lock, done = threading.Lock(), itertools.count(1)
    crew = Crew(len(wanted), sum(entry.source.size for entry in wanted) / max(1, len(wanted)), deadline.clock)
    fetched: dict[str, BundleFile] = {}
    moved: list[BundleMoved] = []
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            with lock:
                entry = next(queue, None)
            if entry is None:
                return
            deadline.check("syncing the bundle")
            try:
                file = _fetch(entry, bucket, folder)
            except BundleMoved as error:
                # Not raised here: the other threads would be left behind after a moment's grace.
                moved.append(error)
                ended.set()
                return
            with lock:
                fetched[entry.path] = file
                tell(next(done))
            change = crew.change(len(wanted) - len(fetched) - crew.size)
            if change < 0:
                return
            for _ in range(change):
                jobs.start("syncing the bundle", work)

    _make_folders(wanted, folder)
    try:
        with SideBySide(deadline) as jobs:
            for _ in range(crew.size):
                jobs.start("syncing the bundle", work)
    finally:
        ended.set()  # after a failure or a signal no thread goes on to fill a tree that is being removed
    if moved:
        raise moved[0]
    return fetched


def _make_folders(wanted: Sequence[Entry], folder: Path) -> None:
    """Before any thread begins: each once."""
    nearest = {entry.path.rpartition("/")[0]: entry.path for entry in wanted}
    for name, path in nearest.items():
        with files.naming(f"writing {folder / path}"):
            (folder / name).mkdir(parents=True, exist_ok=True)


def _fetch(entry: Entry, bucket: Downloader, folder: Path) -> BundleFile:
    target = folder / entry.path
    with files.naming(f"writing {target}"):
        digest = bucket.download(entry.source, target)
        mode = _set_mode(target)
    return BundleFile(entry.path, entry.source.etag, entry.source.size, digest, mode)


def _set_mode(path: Path) -> int:
    """S3 keeps no modes: scripts are executable, nothing else is (contract section 1). Returns the new one."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mode = 0o755 if path.suffix == ".sh" or os.read(fd, 2) == b"#!" else 0o644
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    return mode
