"""Files that a manifest wants made from variables (`files:`): a certificate, a key, a settings file.

They lie below the role's folder and nowhere else: no part of the path is a link, also when somebody swaps one in
meanwhile. Such a file is replaced, never edited, and left alone while content, mode and owner are as wanted.
"""

from __future__ import annotations

import base64
import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from agent.dataclass import dataclass
from agent.errors import AgentError, HostError, UnresolvedError, combine
from agent.host import files
from agent.secret import Secret

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class HostFile:
    """One entry of the manifest's `files`: the value of `variable`, at `path` below the role's folder.

    `owner` is as written: a name or a number, `user` or `user:group`. `encoded`: the value is base64.
    """

    variable: str
    path: str
    mode: int = 0o600
    owner: str = "root"
    encoded: bool = False
    required: bool = False
    line: int = field(default=1, compare=False)
    column: int = field(default=1, compare=False)


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A file as it is to be; `path` is relative to /opt/services."""

    path: str
    content: bytes = field(repr=False)
    mode: int
    uid: int
    gid: int


def prepare(declared: Sequence[HostFile], env: Mapping[str, Secret], role: str, name: str) -> tuple[Ready, ...]:
    """Every file whose variable has a value, ready to be written; a file without one stays as it is on the host.

    Raises all at once: `UnresolvedError` for a required one without a value and for a value that is no base64,
    `HostError` for an owner that this host does not know. `name` is what messages call the manifest.
    """
    made: list[Ready] = []
    faults: list[str] = []
    strangers: list[str] = []
    for item in declared:
        value, where = env.get(item.variable), f"{name}:{item.line}:{item.column}: {item.path}"
        if not value:
            faults += [f"{where}: {item.variable} has no value, and the file is required"] if item.required else []
            continue
        content, owner = content_of(item, value), owner_of(item.owner)
        if content is None:
            faults.append(f"{where}: the value of {item.variable} is not base64")
        if owner is None:
            strangers.append(f"{where}: this host has no owner {item.owner}")
        if content is not None and owner is not None:
            uid, gid = owner
            made.append(Ready(path=f"{role}/{item.path}", content=content, mode=item.mode, uid=uid, gid=gid))
    _raise(faults, strangers, name)
    return tuple(made)


def _raise(faults: Sequence[str], strangers: Sequence[str], name: str) -> None:
    doing, errors = f"making the files of {name}", list[AgentError]()
    if faults:
        cause = "; ".join(line.split(": ", 2)[2] for line in faults)
        fix = "see where the value comes from: `delphi-agent explain NAME`; for base64: `base64 -w0 FILE`"
        errors.append(UnresolvedError(doing, cause, fix, details=faults))
    if strangers:
        cause = "; ".join(line.split(": ", 2)[2] for line in strangers)
        errors.append(HostError(doing, cause, "name a user of the host, or numbers: '1000:1000'", details=strangers))
    if errors:
        raise combine(errors)


def content_of(item: HostFile, value: Secret) -> bytes | None:
    """The bytes of the file; None when the value is not the base64 that it should be (line breaks in it are fine)."""
    raw = value.reveal().encode("utf-8", "surrogateescape")
    if not item.encoded:
        return raw
    try:
        return base64.b64decode(b"".join(raw.split()), validate=True)
    except ValueError:
        return None


def owner_of(text: str) -> tuple[int, int] | None:
    """User and group by name or number; without a group the user's own. None for names that this host lacks."""
    user, _, group = text.partition(":")
    try:
        known = None if user.isdecimal() else pwd.getpwnam(user)
        uid = known.pw_uid if known else int(user)
        if group:
            return uid, int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
        with contextlib.suppress(KeyError):
            return uid, pwd.getpwuid(uid).pw_gid
    except KeyError:
        return None
    return uid, uid


def expect_room(ready: Iterable[Ready], services: Path) -> None:
    """Raise `HostError` for a link or file where a folder has to be, and for a folder where a file has to be.

    An empty folder is no hindrance: the engine makes one where a container mounts a file that is missing.
    """
    for item in ready:
        for folder in files.parents_below(services, item.path):
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise HostError(
                    f"writing {services / item.path}",
                    f"{folder} is a link or a file, and no folder",
                    "move it away, or what it points to into its place, then run it again",
                )
        target = services / item.path
        if target.is_dir() and not target.is_symlink() and any(target.iterdir()):
            raise HostError(f"writing {target}", "a folder has this name", "move it away, then run it again")


def differing(ready: Iterable[Ready], services: Path) -> list[Ready]:
    """Those that are not on the host as they are wanted."""
    return [item for item in ready if not _is_as_wanted(item, services / item.path)]


def _is_as_wanted(item: Ready, path: Path) -> bool:
    with files.naming(f"reading {path}"):
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        same = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (item.mode, item.uid, item.gid)
        return same and stat.S_ISREG(status.st_mode) and path.read_bytes() == item.content


def missing_folders(ready: Iterable[Ready], services: Path) -> tuple[str, ...]:
    """The folders that have to be made for them, relative to `services`, the outermost first."""
    wanted = {parent for item in ready for parent in files.parents_below(services, item.path)}
    return tuple(sorted(str(path.relative_to(services)) for path in wanted if not path.is_dir()))


def write(item: Ready, services: Path) -> None:
    """Put the file in its place, atomically and durably; missing folders are made (0755).

    Mode and owner are set before any byte is written.
    """
    *folders, name = item.path.split("/")
    with files.naming(f"writing {services / item.path}"), contextlib.ExitStack() as stack:
        folder = os.open(services, _FOLDER)
        stack.callback(os.close, folder)
        for part in folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=folder)
            folder = os.open(part, _FOLDER, dir_fd=folder)
            stack.callback(os.close, folder)
        _replace(item, name, folder)


def _replace(item: Ready, name: str, folder: int) -> None:
    temporary = f".{name}.delphi-agent"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
            if (os.geteuid(), os.getegid()) != (item.uid, item.gid):
                os.fchown(file.fileno(), item.uid, item.gid)
            os.fchmod(file.fileno(), item.mode)
            file.write(item.content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=folder)  # fails unless it is empty
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def secrets(ready: Iterable[Ready], sensitive: Collection[str]) -> Iterator[Secret]:
    """What the files at these paths hold in plain text, for who takes it out of what others write."""
    for item in ready:
        if item.path in sensitive:
            yield Secret(item.content.decode("utf-8", "replace"))
