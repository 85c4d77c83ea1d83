"""Which variables the values of a compose file use, each with its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.compose_file import interpolation, yaml_source
from agent.compose_file.finding import Finding, Place, error
from agent.compose_file.interpolation import Malformed, Reference
from agent.compose_file.yaml_source import Source
from agent.dataclass import dataclass

if TYPE_CHECKING:
    from yaml import Node

PASSED = "environment"


@dataclass(frozen=True, kw_only=True)
class Use:
    """One place that takes the value of `name`.

    `form` is `$NAME`, `${NAME}` or the operator (`:-`, `-`, `:?`, `?`, `:+`, `+`); `environment` is a name without a
    value in `environment` or `args`, or what `environment` of a secret or config names.
    """

    name: str
    file: str
    line: int
    column: int
    form: str
    default_is_empty: bool = False

    @property
    def place(self) -> Place:
        """Where it begins."""
        return Place(self.file, self.line, self.column)


def interpolated(source: Source, roots: tuple[Node, ...]) -> tuple[list[Use], list[Finding]]:
    """Every reference in the values below `roots`, and a finding for each that Compose refuses. Keys are no values."""
    uses: list[Use] = []
    findings: list[Finding] = []
    for node in yaml_source.nodes(roots):
        if not yaml_source.is_a(node, "scalar") or "$" not in node.value:
            continue
        for place, part in _placed(source, node):
            if isinstance(part, Reference):
                uses.append(_use(place, part))
            else:
                findings.append(
                    error(
                        place,
                        "interpolation-invalid",
                        "`${` begins no valid reference; Compose refuses the file",
                        "write ${NAME}, ${NAME:-default} or ${NAME:?message} on one line, or `$$` for a plain `$`",
                    )
                )
    return uses, findings


def passed(source: Source, node: Node | None) -> Iterator[Use]:
    """The names in an `environment` or `args` that have no value there: Compose passes them on from its own."""
    if node is not None and yaml_source.is_a(node, "mapping"):
        for name, entry in yaml_source.entries(node).items():
            if yaml_source.is_null(entry.value):
                yield named(source, entry.key, name)
    elif node is not None and yaml_source.is_a(node, "sequence"):
        for item in node.value:
            name = yaml_source.text(item) or ""
            if name and "=" not in name and "$" not in name:
                yield named(source, item, name)


def named(source: Source, node: Node, name: str) -> Use:
    """A use by name alone."""
    place = source.place(node)
    return Use(name=name, file=place.file, line=place.line, column=place.column, form=PASSED)


def _use(place: Place, part: Reference) -> Use:
    return Use(
        name=part.name,
        file=place.file,
        line=place.line,
        column=place.column,
        form=part.operator or ("${NAME}" if part.braced else "$NAME"),
        default_is_empty=part.operator in (":-", "-") and not part.argument,
    )


def _placed(source: Source, node: Node) -> Iterator[tuple[Place, Reference | Malformed]]:
    """The references of a scalar with their places in the file: looked for in its text as written there."""
    position, end = node.start_mark.index, node.end_mark.index
    if getattr(node, "style", None) in ("|", ">"):
        position = max(source.text.find("\n", position, end), position)
    for part in interpolation.references(interpolation.parse(node.value)):
        found = source.text.find(part.head, position, end)
        if found < 0:  # written with escapes
            yield source.place(node), part
        else:
            yield source.place_at(found), part
            position = found + len(part.head)
