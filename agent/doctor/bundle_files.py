"""The bundle's files as they will lie on this host, read without placing one."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection
from pathlib import Path

from agent.aws.s3 import ConfigBucket
from agent.steps.bundle import Entry, Listing
from agent.steps.keys import HOST_LOCAL


class BundleFiles:
    """What Compose would find: the bundle's files, from the bucket, and between them the host's own.

    `former` are the paths that earlier bundles brought: of these the new bundle's only. Safe for one thread.
    """

    def __init__(self, listing: Listing, bucket: ConfigBucket, services: Path, former: Collection[str]) -> None:
        self._listing = listing
        self._bucket = bucket
        self._services = services
        self._former = former
        self._read: dict[Path, bytes] = {}

    def is_file(self, path: Path) -> bool:
        """Whether one is in the bundle, or is the host's own."""
        return self._entry(path) is not None or (self._of_host(path) and path.is_file())

    def read(self, path: Path) -> bytes:
        """The content; `OSError` when there is none, `AgentError` when the bucket does not give it."""
        entry = self._entry(path)
        if entry is None:
            if not self._of_host(path):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            return path.read_bytes()
        if path not in self._read:
            self._read[path] = self._bucket.read(entry.source)
        return self._read[path]

    def _entry(self, path: Path) -> Entry | None:
        return self._listing.entry(self._relative(path))

    def _of_host(self, path: Path) -> bool:
        """A run shows Compose neither the host's `.env` nor what the new bundle has no more."""
        return path.name not in HOST_LOCAL and self._relative(path) not in self._former

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self._services)
