"""What the host already has: files of the bundle that need not be fetched, and files of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from agent.host import files
from agent.host.paths import Paths
from agent.steps.bundle import COMMON, Entry
from agent.steps.keys import HOST_LOCAL
from agent.steps.records import BundleFile


def unchanged(entry: Entry, applied: Mapping[str, BundleFile], services: Path) -> BundleFile | None:
    """The record of the live file when it still is what the bundle wants; None when the object has to be fetched."""
    recorded, live = applied.get(entry.path), f"{services}/{entry.path}"
    if recorded is None or recorded.etag != entry.source.etag or recorded.size != entry.source.size:
        return None
    try:
        status = os.lstat(live)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != recorded.mode:
        return None
    with files.naming(f"reading {live}"):
        same = status.st_size == recorded.size and files.sha256(live) == recorded.sha256
    return recorded if same else None


def content(entry: Entry, applied: Mapping[str, BundleFile], services: Path) -> bytes | None:
    """What is in the live file when it still is what the bundle wants; for small ones."""
    recorded = unchanged(entry, applied, services)
    if recorded is None:
        return None
    with files.naming(f"reading {services / entry.path}"):
        data = (services / entry.path).read_bytes()
    # It may have been edited since it was looked at.
    return data if hashlib.sha256(data).hexdigest() == recorded.sha256 else None


def link(live: Path, staged: Path) -> None:
    """The same file under another name where that is possible: nothing in the staged tree is ever written to."""
    with files.naming(f"staging {live}"):
        staged.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(live, staged)
        except OSError:
            shutil.copy2(live, staged)  # another file system, or one without links


def link_host_files(role: str, paths: Paths, applied: Collection[str]) -> None:
    """Show the staged tree the host's own files (`tls/`, `data/`), so that Compose can read it as it will be."""
    brought = _with_folders(applied)
    for top in (role, COMMON):
        live, staged = paths.services / top, paths.staging / top
        if live.is_dir():
            with files.naming(f"staging {live}"):
                staged.mkdir(parents=True, exist_ok=True)
                _link_missing(live, staged, top, brought)


def _with_folders(applied: Collection[str]) -> set[str]:
    """The paths, and every folder above one."""
    found: set[str] = set()
    for path in applied:
        place = path
        while place and place not in found:
            found.add(place)
            place = place.rpartition("/")[0]
    return found


def _link_missing(live: Path, staged: Path, relative: str, brought: set[str]) -> None:
    for entry in live.iterdir():
        path, target = f"{relative}/{entry.name}", staged / entry.name
        if entry.name in HOST_LOCAL:
            continue  # `.env` must not be read
        is_folder = entry.is_dir() and not entry.is_symlink()
        if target.is_dir() and not target.is_symlink():
            if is_folder:
                _link_missing(entry, target, path, brought)
        elif path not in brought:
            if not target.exists():
                target.symlink_to(entry)
        elif is_folder and not target.exists():
            # A former bundle's folder that the new one lacks: only what the host has put there will still be there.
            target.mkdir()
            _link_missing(entry, target, path, brought)
            if not any(target.iterdir()):
                target.rmdir()
