"""YAML with positions: one document, scalars as they are spelled, every fault noted with `FILE:LINE:COLUMN`.

Made for files that somebody else wrote: nesting and size are bounded before anything is built, aliases are never
multiplied, tags never make objects. PyYAML is imported when a document is read, not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from agent.dataclass import dataclass
from agent.errors import ManifestError, counted
from agent.variables.yaml_bounds import OutOfBoundsError, bounded, problem

if TYPE_CHECKING:
    from yaml import Node
    from yaml.error import Mark

_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(_TAG + kind for kind in "str int float bool null timestamp value merge".split())
_TRUE = frozenset({"true", "yes", "on"})


@dataclass(frozen=True)
class Entry:
    """One key of a mapping with its value."""

    key: Node
    value: Node


@dataclass
class Document:
    """The reader of one file: gives what nodes hold and collects what is wrong with them."""

    name: str
    faults: list[tuple[int, int, str]] = field(default_factory=list)
    notes: list[tuple[int, int, str]] = field(default_factory=list)

    def fault(self, node: Node | None, text: str) -> None:
        """Note a fault at a node (None: at the top of the file)."""
        self.fault_at(place(node), text)

    def fault_at(self, where: tuple[int, int], text: str) -> None:
        """Note a fault at a line and column, both counted from 1."""
        self.faults.append((*where, text))

    def warn(self, node: Node, text: str) -> None:
        """Note a warning at a node."""
        self.notes.append((*place(node), text))

    def warnings(self) -> tuple[str, ...]:
        """A line for each warning, in the order of the file."""
        return self._lines(self.notes)

    def _lines(self, notes: list[tuple[int, int, str]]) -> tuple[str, ...]:
        # An alias can show one node, and so one note, in two places.
        return tuple(f"{self.name}:{line}:{column}: {text}" for line, column, text in sorted(set(notes)))

    def raise_faults(self) -> None:
        """Raise one `ManifestError` for all faults, in the order of the file; return when there is none."""
        if not self.faults:
            return
        lines = self._lines(self.faults)
        raise ManifestError(
            f"reading the manifest {self.name}",
            counted(lines),
            "correct these lines where the bundle is made (`delphi-agent check` finds them there), and upload it again",
            details=lines,
        )

    def compose(self, data: bytes) -> Node | None:
        """The document's root, None for an empty file. Raises `ManifestError` for what is no (bounded) YAML."""
        import yaml

        root: Node | None = None
        text = ""
        try:
            text = data.decode("utf-8-sig")
            root = bounded(text).get_single_node()
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            column = len(data[: error.start].rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
            self.fault_at((line, column), "not UTF-8; save the file as UTF-8")
        except OutOfBoundsError as error:
            self.fault_at(_position(error.mark), error.text)
        except yaml.MarkedYAMLError as error:
            where = _position(error.problem_mark or error.context_mark)
            self.fault_at(where, f"invalid YAML: {problem(error)}")
        except yaml.YAMLError as error:
            reached = text[: getattr(error, "position", 0)]
            where = (reached.count("\n") + 1, len(reached.rpartition("\n")[2]) + 1)
            self.fault_at(where, f"invalid YAML: {getattr(error, 'reason', type(error).__name__)}")
        self.raise_faults()
        return root

    def fields(self, node: Node, what: str) -> dict[str, Entry]:
        """The mapping's entries by key; duplicate keys are faults, `<<` is merged as YAML 1.1 says."""
        if not _is(node, "mapping"):
            self.fault(node, f"{what} must be a mapping (NAME: value)")
            return {}
        found: dict[str, Entry] = {}
        merged: list[Node] = []
        for key, value in node.value:
            if not _is(key, "scalar"):
                self.fault(key, f"a key of {what} must be plain text")
            elif key.tag == _TAG + "merge":
                merged += value.value if _is(value, "sequence") else [value]
            elif key.value in found:
                first = place(found[key.value].key)
                self.fault(key, f"`{key.value}` is given twice (first on line {first[0]})")
            else:
                found[key.value] = Entry(key, value)
        for base in merged:
            found = {**self._merge_base(base, what), **found}
        return found

    def _merge_base(self, base: Node, what: str) -> Mapping[str, Entry]:
        if _is(base, "mapping") and all(key.tag != _TAG + "merge" for key, _ in base.value):
            return self.fields(base, what)
        self.fault(base, f"`<<` in {what} takes mappings that have no `<<` of their own")
        return {}

    def items(self, node: Node, what: str) -> list[Node]:
        """The nodes of a list; none (and a fault) when it is something else."""
        if is_null(node):
            return []
        if not _is(node, "sequence"):
            self.fault(node, f"{what} must be a list")
            return []
        return list(node.value)

    def text(self, node: Node, what: str) -> str | None:
        """A scalar as it is spelled (`010`, `1e3`, `true`); None for null, and with a fault for anything else."""
        if is_null(node):
            return None
        if not _is(node, "scalar") or node.tag not in _SCALARS:
            self.fault(node, f"{what} must be plain text" if not _is(node, "scalar") else f"{what}: unknown tag")
            return None
        if "\0" in node.value or any("\ud800" <= character <= "\udfff" for character in node.value):
            self.fault(node, f"{what} holds a character that no environment can carry")
            return None
        return str(node.value)

    def flag(self, node: Node, what: str) -> bool:
        """A boolean (null is false); a fault for anything else, `"true"` in quotes too."""
        if is_null(node):
            return False
        if not _is(node, "scalar") or node.tag != _TAG + "bool":
            self.fault(node, f"{what} must be true or false, without quotes")
            return False
        return node.value.lower() in _TRUE


def is_null(node: Node) -> bool:
    """Whether the value is absent: nothing, `~` or `null`, unquoted."""
    return bool(node.tag == _TAG + "null")


def place(node: Node | None) -> tuple[int, int]:
    """Line and column of a node, both counted from 1."""
    return _position(node.start_mark if node is not None else None)


def _position(mark: Mark | None) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _is(node: Node, kind: str) -> bool:
    return getattr(node, "id", "") == kind
