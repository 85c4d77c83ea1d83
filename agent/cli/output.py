"""`--output FILE`: what a command has made goes to where a person says, whatever is there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from agent.errors import HostError
from agent.host import files

# Whoever opens one of these gets what a standard stream is open on, also where that is a file that others write to.
_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")
# As Linux has it (path_resolution(7)).
_MOST_LINKS = 40


def write(path: Path, data: bytes, mode: int, *, durable: bool = True) -> None:
    """Replace the file at `path` whole; a link is followed, and a device, a pipe or a stream is written into.

    A new file has `mode`, and so has one that is replaced. Raises `HostError` when it cannot be written, and for a link
    or a pipe of somebody else's in a folder like /tmp, which may lead anywhere (proc_sys_fs(5), `protected_symlinks`).
    """
    with files.naming(f"writing {path.absolute()}"):
        target = _followed(path.absolute())
        if _is_stream(target):
            # Appended: a stream that is a file has the words of others before these.
            fd = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            return
    files.write(target, data, mode, durable=durable)


def _followed(path: Path) -> Path:
    """Where the links lead that `path` may be."""
    for _ in range(_MOST_LINKS):
        if str(path).startswith(_STREAMS):
            return path
        try:
            status = path.lstat()
        except FileNotFoundError:
            return path
        if stat.S_ISREG(status.st_mode):
            return path
        _expect_no_trap(path, status)
        if not stat.S_ISLNK(status.st_mode):
            return path
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _expect_no_trap(path: Path, status: os.stat_result) -> None:
    folder = path.parent.stat()
    for_all = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
    if for_all and status.st_uid not in {os.geteuid(), folder.st_uid}:
        raise HostError(
            f"writing {path}",
            "a link or pipe of another user's, in a folder where everybody may write",
            "name a file in a folder of your own",
        )


def _is_stream(path: Path) -> bool:
    """Whether something is there that is no regular file: a rename would put a file into its place."""
    if str(path).startswith(_STREAMS):
        return True
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False
