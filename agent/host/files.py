"""Files are replaced, never edited: a reader sees the old or the new content, whole, also after a power loss."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from agent.errors import HostError

_CHUNK = 1 << 20

_HINTS = {
    errno.ENOSPC: "free some space (`df -h`, `docker system df`), then run it again",
    errno.EDQUOT: "free some space or raise the quota, then run it again",
    errno.EROFS: "the file system is read-only: see `dmesg` and `mount`, remount it writable, then run it again",
    errno.EACCES: "run it as root (`sudo delphi-agent ...`)",
    errno.EPERM: "run it as root (`sudo delphi-agent ...`); as root, see whether it is immutable (`lsattr`)",
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
        fd, temporary = _new_beside(path)
        try:
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, mode)
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(fd)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        if durable:
            sync_folder(path.parent)


def _new_beside(path: Path) -> tuple[int, Path]:
    """A new file (0600) to become `path`. Always of the same name: what a killed process left is not left for ever."""
    temporary = path.with_name(f".{path.name}.delphi-agent")
    temporary.unlink(missing_ok=True)
    return os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), temporary


def sync_folder(path: Path) -> None:
    """Make renames and removals in the folder survive a power loss."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Make the file's content survive a power loss."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def parents_below(top: Path, path: str) -> list[Path]:
    """The folders between `top` and the file `top/path`, the outermost first."""
    depth = path.count("/")
    return list((top / path).parents[:depth])[::-1]


def behind_a_link(top: Path, path: str) -> bool:
    """Whether a link took the place of a folder: what lies behind it is somebody else's, and not for root to touch."""
    return any(parent.is_symlink() for parent in parents_below(top, path))


def remove_below(top: Path, paths: Iterable[str], folders_too: Collection[str]) -> None:
    """Unlink files below `top`, and remove those of `folders_too` that this leaves empty, but for the outermost.

    What is gone already, or is a folder now, or lies behind a link, is left as it is.
    """
    for path in paths:
        target, folders = top / path, parents_below(top, path)
        if any(folder.is_symlink() or not folder.is_dir() for folder in folders):
            continue
        with naming(f"removing {target}"):
            if target.is_symlink() or not target.is_dir():
                target.unlink(missing_ok=True)
            for folder in folders[:0:-1]:
                if str(folder.relative_to(top)) not in folders_too or any(folder.iterdir()):
                    break
                folder.rmdir()


def rewrite(path: Path, data: bytes) -> None:
    """Replace the content of an existing file atomically and durably; owner, mode and extended attributes stay.

    A link is followed: what it points to is replaced.
    """
    with naming(f"writing {path}"):
        path = path.resolve(strict=True)
        status = path.stat()
        fd, temporary = _new_beside(path)
        try:
            with os.fdopen(fd, "wb") as file:
                os.fchown(fd, status.st_uid, status.st_gid)
                os.fchmod(fd, status.st_mode & 0o7777)
                for name in os.listxattr(path):
                    os.setxattr(fd, name, os.getxattr(path, name))
                file.write(data)
                file.flush()
                os.fsync(fd)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


def try_beside(path: Path) -> None:
    """Raise `HostError` when `path` could not be rewritten: its folder takes no file, or it is immutable."""
    with naming(f"writing {path}"):
        path = path.resolve(strict=True)
        fd, temporary = _new_beside(path)
        os.close(fd)
        temporary.unlink()
        # A link to it, and its removal, are refused for an immutable file as its replacement would be.
        os.link(path, temporary)
        temporary.unlink()


def write_json(path: Path, document: Mapping[str, object], mode: int, *, durable: bool = True) -> None:
    """`write` for a JSON document, keys in the order given, a line for each.

    Not indented: that takes Python's own encoder, ten times as long.
    """
    lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in document.items())
    write(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode(), mode, durable=durable)


def sha256(path: Path | str) -> str:
    """The content's digest in hex; reads in pieces."""
    digest = hashlib.sha256()
    # No file object: of thousands of small files to make them takes as long as to hash them.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while piece := os.read(fd, _CHUNK):
            digest.update(piece)
    finally:
        os.close(fd)
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
