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

# As process 1 sees the host: the unit's sandbox makes mount points of the folders that it leaves writable, and shows
# every other one read-only.
MOUNTINFO = Path("/proc/1/mountinfo")
FSTAB = "/etc/fstab"
_OCTAL = re.compile(r"\\([0-7]{3})")
_MOUNTINFO_FIELDS = 10
# The options and what follows may be left out (fstab(5); getmntent(3) takes such a line).
_FSTAB_FIELDS = 2
_OPTIONS = 3


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
    found = [(fault, item) for item in mounts for fault in _faults(item, at(item.path), mountinfo)]
    if found:
        raise HostError(
            "looking at the mount points that vars.yaml names",
            "; ".join(f"{fault.text}: {item.path}" for fault, item in found),
            "; ".join(dict.fromkeys(fault.next_step.format(item.path) for fault, item in found))
            + "; then run `delphi-agent init` again",
        )


def late(mounts: Sequence[Mount], at: Callable[[str], Path], mountinfo: Path = MOUNTINFO) -> list[str]:
    """Those that are no mount points yet, and that /etc/fstab has: systemd mounts them once their volume is attached.

    With `nofail`, which a volume of data should have, no unit that is not told so waits for that.
    """
    try:
        fstab = at(FSTAB).read_text("utf-8", "surrogateescape")
    except OSError:
        return []
    entries = [line.split() for line in fstab.splitlines() if not line.lstrip().startswith("#")]
    wanted = {
        str(Path(_plain(words[1])))
        for words in entries
        if len(words) >= _FSTAB_FIELDS and not _by_hand("".join(words[_OPTIONS : _OPTIONS + 1]))
    }
    mounted = _mount_points(mountinfo)
    paths = {item.path: str(at(item.path).resolve()) for item in mounts}
    return [path for path, real in paths.items() if real not in mounted and str(Path(path)) in wanted]


def _by_hand(options: str) -> bool:
    return "noauto" in options.split(",")


@dataclass(frozen=True)
class _Fault:
    text: str
    next_step: str


_ABSENT = (
    "see that the volume is attached (`lsblk -f`); format a new one (`mkfs.ext4 /dev/...`: this erases it), add it"
    " to /etc/fstab with its UUID and `nofail`, `mount -a`"
)


def _faults(item: Mount, path: Path, mountinfo: Path) -> Iterator[_Fault]:
    try:
        path = path.resolve(strict=True)
        room = os.statvfs(path)
    except FileNotFoundError:
        yield _Fault("Data directory does not exist", _ABSENT)
        return
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "a loop of links"
        yield _Fault(f"Data directory cannot be read ({why})", _ABSENT)
        return
    options = _mount_points(mountinfo).get(str(path))
    if options is None:
        yield _Fault("Data directory is not a mount point", _ABSENT)
        return
    if item.writable and "ro" in options:
        yield _Fault(
            "Data directory is not writable",
            "see in `dmesg` and /etc/fstab why {0} is read-only, then `mount -o remount,rw {0}`",
        )
    left = room.f_bavail * room.f_frsize
    if left < item.free:
        yield _Fault(
            f"Data directory has {size(left)} free, {size(item.free)} are wanted",
            "free some space on {0} (`du -xh -d1 {0}`), or make its volume and file system larger",
        )


def _mount_points(mountinfo: Path) -> dict[str, frozenset[str]]:
    """Every mount point of the host with its options and its file system's (proc_pid_mountinfo(5)).

    Bind mounts, too, which no device tells; of several at one place the last is what is seen.
    """
    try:
        text = mountinfo.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise HostError(
            f"reading {mountinfo}",
            error.strerror or str(error),
            "see that /proc is mounted, run it as root, then run it again",
        ) from error
    fields = (line.split(" ") for line in text.splitlines())
    return {
        _plain(words[4]): frozenset((*words[5].split(","), *words[-1].split(",")))
        for words in fields
        if len(words) >= _MOUNTINFO_FIELDS
    }


def _plain(name: str) -> str:
    """A path as both tables write it: blanks and backslashes in octal."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), name)
