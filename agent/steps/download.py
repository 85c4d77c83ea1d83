"""Fetching the objects that the host lacks, several side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from agent.aws.s3 import BundleMoved, RemoteObject
from agent.host import files
from agent.host.clock import Deadline
from agent.host.side_by_side import SideBySide
from agent.steps.bundle import Entry
from agent.steps.crew import Crew
from agent.steps.records import BundleFile

# Without any object for so long, one more thread is at work.
STALL_SECONDS = 0.5
_DOING = "syncing the bundle"


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
    _make_folders(wanted, folder)
    sync = _Sync(wanted, lambda entry: _fetch(entry, bucket, folder), deadline, tell)
    sync.run()
    return sync.fetched


class _Sync:
    """The threads that fetch: as many as the crew says.

    One that is too many stands by. When nothing has come for a while, one of these goes on, so that an answer that does
    not come holds up one object, and not all of them.
    """

    def __init__(
        self,
        wanted: Sequence[Entry],
        fetch: Callable[[Entry], BundleFile],
        deadline: Deadline,
        tell: Callable[[int], None],
    ) -> None:
        self.fetched: dict[str, BundleFile] = {}
        self._left, self._every = iter(wanted), len(wanted)
        self._fetch, self._tell = fetch, tell
        self._crew = Crew(len(wanted), sum(entry.source.size for entry in wanted) / max(1, len(wanted)), deadline.clock)
        self._jobs = SideBySide(deadline)
        self._lock = threading.Lock()
        self._came = deadline.clock.monotonic()
        """When something came, or one that stood by went on."""
        self._moved: list[BundleMoved] = []
        self._over = threading.Event()
        """Nothing is to be begun any more."""

    def run(self) -> None:
        """Fetch all of them."""
        try:
            with self._jobs:
                self._start(self._crew.size)
        finally:
            self._over.set()  # after a failure or a signal no thread goes on to fill a tree that is being removed
        if self._moved:
            raise self._moved[0]

    def _start(self, number: int) -> None:
        for _ in range(number):
            self._jobs.start(_DOING, self._work)

    def _work(self) -> None:
        while not self._over.is_set():
            with self._lock:
                entry = next(self._left, None)
            if entry is None:
                self._over.set()
                return
            self._jobs.deadline.check(_DOING)
            try:
                file = self._fetch(entry)
            except BundleMoved as error:
                # Not raised here: the other threads would be left behind after a moment's grace.
                self._moved.append(error)
                self._over.set()
                return
            with self._lock:
                self.fetched[entry.path] = file
                self._came = self._jobs.deadline.clock.monotonic()
                self._tell(len(self.fetched))
            change = self._crew.change(self._every - len(self.fetched) - self._crew.size)
            if change < 0:
                self._stand_by()
            self._start(change)

    def _stand_by(self) -> None:
        """Until it is needed, or all is over."""
        while not self._over.wait(STALL_SECONDS):
            with self._lock:
                now = self._jobs.deadline.clock.monotonic()
                if now - self._came >= STALL_SECONDS and self._crew.rejoin():
                    self._came = now
                    return


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
