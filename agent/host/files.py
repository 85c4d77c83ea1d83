"""Files are replaced, never edited: a reader sees the old or the new content, whole, also after a power loss."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent.errors import HostError

_CHUNK = 1 << 20

_HINTS = {
    errno.ENOSPC: "free some space (`df -h`, `docker system df`), then run it again",
    errno.EDQUOT: "free some space or raise the quota, then run it again",
    errno.EROFS: "the file system is read-only: see `dmesg` and `mount`, remount it writable, then run it again",
    errno.EACCES: "run it as root (`sudo delphi-agent ...`)",
    errno.EPERM: "run it as root (`sudo delphi-agent ...`)",
}


@contextlib.contextmanager
def naming(doing: str) -> Iterator[None]:
    """Turn an `OSError` inside the block into a `HostError` that says what was being done."""
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "look at the path and its file system, then run it again")
        raise HostError(doing, error.strerror or str(error), hint) from error


def make_folder(path: Path, mode: int) -> None:
    """Make `path` with its parents (0755) when absent; its own mode becomes `mode` in any case."""
    with naming(f"making the folder {path}"):
        path.mkdir(parents=True, exist_ok=True)
        if path.stat().st_mode & 0o7777 != mode:
            path.chmod(mode)


def write(path: Path, data: bytes, mode: int, *, durable: bool = True) -> None:
    """Put `data` at `path` atomically with this mode; `durable` also survives a power loss (fsync of file and folder).

    The mode is set before any byte is written, so that there is no moment in which others could read it.
    """
    with naming(f"writing {path}"):
        fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, mode)
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(fd)
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
        if durable:
            sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames and removals in the folder survive a power loss."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_json(path: Path, value: object, mode: int, *, durable: bool = True) -> None:
    """`write` for a JSON document, keys in the order given."""
    write(path, json.dumps(value, indent=1).encode() + b"\n", mode, durable=durable)


def sha256(path: Path) -> str:
    """The content's digest in hex; reads in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def erase(path: Path) -> bool:
    """Overwrite a regular file, then unlink it; true when there was one.

    On a journaling or copy-on-write file system old blocks may survive the overwriting: it is an effort, no proof.
    """
    with naming(f"erasing {path}"):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            path.unlink()  # a link: what it points to is not ours to overwrite
            return True
        with os.fdopen(fd, "wb") as file:
            size = os.fstat(fd).st_size
            for start in range(0, size, _CHUNK):
                file.write(bytes(min(_CHUNK, size - start)))
            file.flush()
            os.fsync(fd)
        path.unlink()
        return True


def erase_folder(path: Path) -> None:
    """Erase every file below `path`, then remove the folder; nothing happens when there is none."""
    if not path.is_dir():
        return
    for entry in sorted(path.rglob("*"), reverse=True):
        if entry.is_dir() and not entry.is_symlink():
            with naming(f"removing {entry}"):
                entry.rmdir()
        else:
            erase(entry)
    with naming(f"removing {path}"):
        path.rmdir()
