"""The YAML of a compose file with positions: documents as nodes, bounded, scalars as they are spelled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from agent.compose_file.files import Files
from agent.compose_file.finding import Finding, Place, error
from agent.dataclass import dataclass
from agent.errors import HostError
from agent.variables.yaml_bounds import MOST_EVENTS, OutOfBoundsError, bounded, problem
from agent.variables.yaml_document import Entry

if TYPE_CHECKING:
    from yaml import Node
    from yaml.error import Mark

MOST_BYTES = 1 << 20

_MERGE = "tag:yaml.org,2002:merge"
_FIX = "correct the file where the bundle is made"


@dataclass(frozen=True)
class Source:
    """One file: `name` is what messages call it; `findings` say why `documents` is not all of it."""

    path: Path
    name: str
    text: str = field(default="", repr=False)
    documents: tuple[Node, ...] = field(default=(), repr=False)
    findings: tuple[Finding, ...] = ()

    def place(self, node: Node) -> Place:
        """Where a node begins."""
        return _marked(self.name, node.start_mark)

    def place_at(self, index: int) -> Place:
        """The place of a character of the text."""
        return Place(self.name, self.text.count("\n", 0, index) + 1, index - self.text.rfind("\n", 0, index))


def load(path: Path, name: str, files: Files) -> Source:
    """Read a file. What is wrong with it is among the findings; only what `files` raises itself is raised."""
    try:
        data = files.read(path)
    except OSError as failure:
        why = failure.strerror or type(failure).__name__
        fault = error(
            Place(name), "unreadable", f"cannot be read: {why}", "make it readable", exit_code=HostError.exit_code
        )
        return Source(path, name, findings=(fault,))
    return read(data, name, path)


def read(data: bytes, name: str, path: Path = Path()) -> Source:
    """The same for a file whose content is at hand, wherever it came from."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        line = data.count(b"\n", 0, failure.start) + 1
        return Source(path, name, findings=(_invalid(Place(name, line), "not UTF-8"),))
    if len(data) > MOST_BYTES:
        return Source(path, name, findings=(_invalid(Place(name), "too large for a compose file"),))
    return _parsed(path, name, text)


def _parsed(path: Path, name: str, text: str) -> Source:
    import yaml

    documents: list[Node] = []
    try:
        loader = bounded(text, MOST_EVENTS)
        while loader.check_node():
            documents.append(loader.get_node())
    except OutOfBoundsError as failure:
        fault = _invalid(_marked(name, failure.mark), "nested too deep, or too large")
        return Source(path, name, findings=(fault,))
    except yaml.MarkedYAMLError as failure:
        where = _marked(name, failure.problem_mark or failure.context_mark)
        return Source(path, name, findings=(_invalid(where, f"invalid YAML: {problem(failure)}"),))
    except yaml.YAMLError as failure:
        why = str(getattr(failure, "reason", "") or type(failure).__name__)
        return Source(path, name, findings=(_invalid(Place(name), f"invalid YAML: {why}"),))
    source = Source(path, name, text, tuple(documents))
    return Source(path, name, text, source.documents, tuple(_duplicates(source)))


def _marked(name: str, mark: Mark | None) -> Place:
    return Place(name, mark.line + 1, mark.column + 1) if mark else Place(name)


def _invalid(where: Place, text: str) -> Finding:
    return error(where, "compose-file-invalid", text, _FIX)


def _duplicates(source: Source) -> Iterator[Finding]:
    for node in nodes(source.documents):
        if not is_a(node, "mapping"):
            continue
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not is_a(key, "scalar") or key.tag == _MERGE:
                continue
            if key.value in seen:
                text = f"this key is given twice (first on line {seen[key.value]}); Compose refuses the file"
                yield _invalid(source.place(key), text)
            seen.setdefault(key.value, key.start_mark.line + 1)


def nodes(roots: tuple[Node, ...]) -> Iterator[Node]:
    """Every node below `roots` that is not a key, each once however many aliases show it, in the order of the file."""
    seen: set[int] = set()
    waiting = list(reversed(roots))
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if is_a(node, "mapping"):
            waiting += [value for _, value in reversed(node.value)]
        elif is_a(node, "sequence"):
            waiting += reversed(node.value)


def entries(node: Node | None) -> dict[str, Entry]:
    """A mapping's entries by key, what `<<` brings among them; empty for anything else."""
    found: dict[str, Entry] = {}
    seen: set[int] = set()
    waiting = [node] if node is not None else []
    # Depth first: what comes first wins, so a base that was already seen has nothing to add.
    while waiting:
        current = waiting.pop()
        if not is_a(current, "mapping") or id(current) in seen:
            continue
        seen.add(id(current))
        merged: list[Node] = []
        for key, value in current.value:
            if key.tag == _MERGE:
                merged += value.value if is_a(value, "sequence") else [value]
            elif is_a(key, "scalar"):
                found.setdefault(key.value, Entry(key, value))
        waiting += reversed(merged)
    return found


def value(node: Node | None, key: str) -> Node | None:
    """The value of one key of a mapping; None when there is none."""
    entry = entries(node).get(key)
    return entry.value if entry else None


def is_reset(node: Node) -> bool:
    """Whether Compose takes the value away, and what files below give it: `!reset`, whatever follows."""
    return bool(node.tag == "!reset")


def is_override(node: Node) -> bool:
    """Whether the value is not merged with what files below give: `!override`."""
    return bool(node.tag == "!override")


def items(node: Node | None) -> list[Node]:
    """A list's items; a scalar counts as a list of one, anything else as empty."""
    if node is None or is_null(node):
        return []
    if is_a(node, "sequence"):
        return list(node.value)
    return [node] if is_a(node, "scalar") else []


def text(node: Node | None) -> str | None:
    """A scalar as it is spelled; None for null and for anything else."""
    return str(node.value) if node is not None and is_a(node, "scalar") and not is_null(node) else None


def is_a(node: Node, kind: str) -> bool:
    """Whether a node is a `mapping`, a `sequence` or a `scalar`."""
    return getattr(node, "id", "") == kind


def is_null(node: Node) -> bool:
    """Whether the value is absent: nothing, `~` or `null`, unquoted."""
    return bool(node.tag == "tag:yaml.org,2002:null")
