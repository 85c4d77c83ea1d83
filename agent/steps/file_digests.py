"""What tells that a file which is made from a variable has changed: keyed, since a short value could be guessed."""

from __future__ import annotations

import hmac
import stat
from collections.abc import Iterable
from pathlib import Path

from agent.host import files
from agent.secret import Secret
from agent.steps.host_files import Ready

SHORT = 12


def digests(ready: Iterable[Ready], key: Secret) -> dict[str, str]:
    """A keyed digest of each file as it is to be, by path: never a plain hash, since a value could be guessed."""
    return {item.path: _digest(key, item.path, item.mode, (item.uid, item.gid), item.content) for item in ready}


def digests_of_live(paths: Iterable[str], services: Path, key: Secret) -> dict[str, str]:
    """The same of the files as they are on the host; one that is not there has none."""
    made: dict[str, str] = {}
    for path in paths:
        live = services / path
        if live.is_symlink() or not live.is_file():
            continue
        with files.naming(f"reading {live}"):
            status, content = live.stat(), live.read_bytes()
        made[path] = _digest(key, path, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid), content)
    return made


def of_content(path: str, content: bytes, key: Secret) -> str:
    """A keyed digest of what a file holds, whatever its mode and owner are; it begins with which key it was."""
    which = hmac.digest(bytes.fromhex(key.reveal()), b"key", "sha256").hex()[:SHORT]
    return f"{which}:{_digest(key, path, 0, (0, 0), content)}"


def by_one_key(one: str, other: str) -> bool:
    """Whether two of `of_content` can be compared."""
    return one.partition(":")[0] == other.partition(":")[0]


def of_live_content(path: str, services: Path, key: Secret) -> str | None:
    """The same of the file on the host; None where none is, or only behind a link."""
    live = services / path
    if files.behind_a_link(services, path) or live.is_symlink() or not live.is_file():
        return None
    with files.naming(f"reading {live}"):
        return of_content(path, live.read_bytes(), key)


def _digest(key: Secret, path: str, mode: int, owner: tuple[int, int], content: bytes) -> str:
    head = f"file={path}={mode:o}={owner[0]}:{owner[1]}=".encode("utf-8", "surrogateescape")
    return hmac.digest(bytes.fromhex(key.reveal()), head + content, "sha256").hex()[:SHORT]
