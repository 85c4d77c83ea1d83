"""What a key may become on this host: a path below /opt/services, or nothing."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Mapping

# Files of the host that lie in the role's folder; a bundle that brings one does not replace the host's (contract 1).
HOST_LOCAL = frozenset({".env", ".ecr-tag"})
_LONGEST_NAME = 255
# 4,095 bytes is Linux's limit; the names of the staging folder and of temporary files have to fit in as well.
_LONGEST_PATH = 3800
# Control characters, halves of surrogate pairs, line and paragraph separators: nothing that a log line can show.
_UNSHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})


def faults(sizes: Mapping[str, int], base: str, role: str) -> list[str]:
    """A line for each object that cannot be placed, with its key, which is `base` and its path.

    `sizes` are the objects' by their path relative to /opt/services; a path that ends in a slash is an empty folder's.
    """
    told = [f"{base + path!r}: {why}" for path, size in sizes.items() if (why := next(_unsafe(path, size, role), None))]
    return [*told, *_clashes(sizes, base)]


def _unsafe(path: str, size: int, role: str) -> Iterator[str]:
    """Why a path cannot be placed; what comes later takes for granted that nothing came before."""
    parts = path.removesuffix("/").split("/")
    if any(part in {"", ".", ".."} for part in parts):
        yield "an empty, `.` or `..` part"
    if not path.isprintable() and any(unicodedata.category(character) in _UNSHOWN for character in path):
        yield "a control character, a line break or half a character in the name"
    if any(len(part.encode()) > _LONGEST_NAME for part in parts):
        yield f"a part longer than {_LONGEST_NAME} bytes"
    if len(path.encode()) > _LONGEST_PATH:
        yield f"longer than {_LONGEST_PATH} bytes"
    if path.endswith("/") and size:
        yield f"the name of a folder, and {size:,} bytes of content"
    if any(path.startswith(f"{role}/{name}/") for name in HOST_LOCAL):
        yield f"a folder where the host has its file {parts[1]}"


def _clashes(paths: Collection[str], base: str) -> Iterator[str]:
    """Keys that want one place: a file that is also a folder, and names that differ only in case or in Unicode form.

    The latter are two files here and one on the laptop that the bundle is checked out on.
    """
    names, folders = {path for path in paths if not path.endswith("/")}, folders_above(paths)
    for path in sorted(names & folders):
        yield f"{base + path!r}: both a file and a folder"
    first: dict[tuple[str, str], str] = {}
    for path in sorted(names | folders):
        parent, _, name = path.rpartition("/")
        other = first.setdefault((parent, _folded(name)), path)
        if other != path:
            yield f"{base + path!r}: differs from {base + other!r} only in upper case or in the form of Unicode"


def folders_above(paths: Collection[str]) -> set[str]:
    """Every folder that has to be there for these paths."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _folded(name: str) -> str:
    """What two names have in common that a file system on a laptop may take for one."""
    if name.isascii():
        return name.lower()
    # Folding can undo the normal form, so it is taken again.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
