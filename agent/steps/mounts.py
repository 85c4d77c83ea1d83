"""Paths that must be mount points (`mounts:`): block storage that nobody attached must not be replaced by a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from pathlib import Path

from agent.dataclass import dataclass
from agent.errors import HostError
from agent.report.words import size

MOUNTINFO = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One entry of the manifest's `mounts`; `free` are bytes that have to be left on it."""

    path: str
    writable: bool = False
    free: int = 0
    line: int = field(default=1, compare=False)
    column: int = field(default=1, compare=False)


def expect(mounts: Sequence[Mount], at: Callable[[str], Path], mountinfo: Path = MOUNTINFO) -> None:
    """Raise `HostError` with everything that is wrong with any of them; `at` says where a path of the host lies."""
    faults = [f"{fault}: {item.path}" for item in mounts for fault in _faults(item, at(item.path), mountinfo)]
    if not faults:
        return
    raise HostError(
        "looking at the mount points that vars.yaml names",
        "; ".join(faults),
        "see that the volume is attached (`lsblk -f`); format a new one (`mkfs.ext4 /dev/...`: this erases it), add it"
        " to /etc/fstab with its UUID and `nofail`, `mount -a`, then run `delphi-agent init` again",
    )


def _faults(item: Mount, path: Path, mountinfo: Path) -> Iterator[str]:
    try:
        path = path.resolve(strict=True)
        room = os.statvfs(path)
    except FileNotFoundError:
        yield "Data directory does not exist"
        return
    except (OSError, RuntimeError) as error:
        yield f"Data directory cannot be read ({getattr(error, 'strerror', None) or 'a loop of links'})"
        return
    if str(path) not in _mount_points(mountinfo):
        yield "Data directory is not a mount point"
        return
    if item.writable and (room.f_flag & os.ST_RDONLY or not os.access(path, os.W_OK)):
        yield "Data directory is not writable"
    left = room.f_bavail * room.f_frsize
    if left < item.free:
        yield f"Data directory has {size(left)} free, {size(item.free)} are wanted"


def _mount_points(mountinfo: Path) -> set[str]:
    """Every mount point of this process's view (proc_pid_mountinfo(5)): bind mounts, too, which no device tells."""
    try:
        text = mountinfo.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise HostError(
            f"reading {mountinfo}", error.strerror or str(error), "see that /proc is mounted, then run it again"
        ) from error
    fields = (line.split(" ") for line in text.splitlines())
    return {_OCTAL.sub(lambda match: chr(int(match[1], 8)), words[4]) for words in fields if len(words) > 4}  # noqa: PLR2004 - the fifth field
