"""The manifest's `files` (what is written from variables) and `mounts` (what must be a mount point)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from agent.steps.host_files import HostFile
from agent.steps.keys import HOST_LOCAL
from agent.steps.mounts import Mount
from agent.steps.project import FILE_NAMES, OVERRIDE_NAMES
from agent.variables.manifest_variable import NAME
from agent.variables.yaml_document import Document, is_null, place

if TYPE_CHECKING:
    from yaml import Node

    from agent.variables.yaml_document import Entry

FILE_FIELDS = ("variable", "path", "mode", "owner", "encoding", "required")
MOUNT_FIELDS = ("path", "writable", "free")

# What the agent and Compose read themselves, and programs that run as root: no value may take such a place.
RESERVED = frozenset({*HOST_LOCAL, "vars.yaml", *FILE_NAMES, *OVERRIDE_NAMES})
RESERVED_FOLDERS = frozenset({"hooks"})

_MODE = re.compile(r"0?[0-7]{3}")
_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_FREE = re.compile(r"([1-9][0-9]{0,11})(KiB|MiB|GiB|TiB)")
_UNITS = {"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}
_MOST_ID = 2**32 - 2


def read_files(document: Document, node: Node) -> tuple[HostFile, ...]:
    """Every entry of `files` without faults. Faults and warnings go to the document."""
    found = [item for entry in document.items(node, "`files`") if (item := _file(document, entry))]
    for index, item in enumerate(found):
        for other in found[:index]:
            if item.path == other.path:
                _fault(document, item, f"{item.path} is written twice (first on line {other.line})")
            elif item.path.startswith(f"{other.path}/") or other.path.startswith(f"{item.path}/"):
                _fault(document, item, f"{item.path} and {other.path} cannot both be files")
    return tuple(found)


def read_mounts(document: Document, node: Node) -> tuple[Mount, ...]:
    """Every entry of `mounts` without faults. Faults and warnings go to the document."""
    found = [item for entry in document.items(node, "`mounts`") if (item := _mount(document, entry))]
    first: dict[str, Mount] = {}
    for item in found:
        if item.path in first:
            line = first[item.path].line
            document.fault_at((item.line, item.column), f"{item.path} is named twice (first on line {line})")
        first.setdefault(item.path, item)
    return tuple(found)


def note_unknown_variables(document: Document, found: Iterable[HostFile], known: Collection[str]) -> None:
    """A fault for each file of a variable that is not among the known names."""
    for item in found:
        if item.variable not in known:
            text = f"names {item.variable}, which neither the manifest declares nor the bootstrap file sets"
            _fault(document, item, f"the file {item.path} {text}")


def _fault(document: Document, item: HostFile, text: str) -> None:
    document.fault_at((item.line, item.column), text)


def _given(document: Document, node: Node, what: str, allowed: tuple[str, ...]) -> dict[str, Node]:
    entries: dict[str, Entry] = document.fields(node, what)
    for key, entry in entries.items():
        if key not in allowed:
            document.warn(entry.key, f"unknown field `{key}` of {what} is ignored")
    return {key: entry.value for key, entry in entries.items() if key in allowed and not is_null(entry.value)}


def _file(document: Document, node: Node) -> HostFile | None:
    before = len(document.faults)
    given = _given(document, node, "a file", FILE_FIELDS)
    if len(document.faults) == before:
        for key in ("variable", "path"):
            if key not in given:
                document.fault(node, f"a file without `{key}`")
    line, column = place(node)
    item = HostFile(
        variable=_variable(document, given["variable"]) if "variable" in given else "",
        path=_path(document, given["path"]) if "path" in given else "",
        mode=_mode(document, given["mode"]) if "mode" in given else 0o600,
        owner=_owner(document, given["owner"]) if "owner" in given else "root",
        encoded="encoding" in given and _is_base64(document, given["encoding"]),
        required="required" in given and document.flag(given["required"], "`required` of a file"),
        line=line,
        column=column,
    )
    return item if len(document.faults) == before else None


def _variable(document: Document, node: Node) -> str:
    name = document.text(node, "`variable`") or ""
    if not NAME.fullmatch(name):
        document.fault(node, "`variable` must be the name of a variable")
    return name


def _path(document: Document, node: Node) -> str:
    text = document.text(node, "`path` of a file") or ""
    parts = text.split("/")
    if text.startswith("/"):
        document.fault(node, "`path` of a file is below the role's folder: without a slash at its beginning")
    elif not text.isprintable() or any(part in {"", ".", ".."} for part in parts):
        document.fault(node, "`path` of a file must be names with single slashes between them, without `.` and `..`")
    elif text in RESERVED or parts[0] in RESERVED_FOLDERS:
        document.fault(node, f"{text} is read or run by the agent or by Compose; choose another path for the file")
    return text


def _mode(document: Document, node: Node) -> int:
    text = document.text(node, "`mode`") or ""
    if not _MODE.fullmatch(text):
        document.fault(node, "`mode` must be three octal digits, with a zero before them: '0600'")
        return 0
    return int(text, 8)


def _owner(document: Document, node: Node) -> str:
    text = document.text(node, "`owner`") or ""
    numbers = [int(part) for part in text.split(":") if part.isdecimal()]
    if not _OWNER.fullmatch(text) or any(number > _MOST_ID for number in numbers):
        document.fault(node, "`owner` must be USER or USER:GROUP, names or numbers")
    # An unquoted 1000:1000 is one number to YAML 1.1, but it is taken as it is spelled.
    return text


def _is_base64(document: Document, node: Node) -> bool:
    if document.text(node, "`encoding`") == "base64":
        return True
    document.fault(node, "`encoding` takes only `base64`; leave it out for a value that is written as it is")
    return False


def _mount(document: Document, node: Node) -> Mount | None:
    before = len(document.faults)
    given = _given(document, node, "a mount", MOUNT_FIELDS) if getattr(node, "id", "") == "mapping" else {"path": node}
    if "path" not in given:
        document.fault(node, "a mount is an absolute path, or a mapping with `path`")
        return None
    line, column = place(node)
    item = Mount(
        path=_mount_path(document, given["path"]),
        writable="writable" in given and document.flag(given["writable"], "`writable`"),
        free=_free(document, given["free"]) if "free" in given else 0,
        line=line,
        column=column,
    )
    return item if len(document.faults) == before else None


def _mount_path(document: Document, node: Node) -> str:
    text = document.text(node, "a mount") or ""
    parts = text.split("/")[1:]
    if not text.startswith("/") or not text.isprintable() or any(part in {"", ".", ".."} for part in parts):
        document.fault(node, "a mount must be an absolute path, without `.`, `..` and a slash at its end: /mnt/data")
    return text


def _free(document: Document, node: Node) -> int:
    match = _FREE.fullmatch(document.text(node, "`free`") or "")
    if match is None:
        document.fault(node, "`free` must be a whole number with its unit: 512MiB, 20GiB")
        return 0
    return int(match[1]) << _UNITS[match[2]]
