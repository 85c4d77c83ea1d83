"""The manifest's `checks`: what has to answer before a deploy counts as healthy."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from agent.steps.check import WELL, Check, Kind, is_address, is_url
from agent.variables.template import Template
from agent.variables.yaml_document import Document, is_null, place

if TYPE_CHECKING:
    from yaml import Node

KINDS: tuple[Kind, ...] = ("http", "tcp", "command", "service")
# Which other fields a kind takes.
FIELDS: Mapping[Kind, tuple[str, ...]] = {
    "http": ("name", "within", "status"),
    "tcp": ("name", "within"),
    "command": ("name", "within"),
    "service": ("name", "within", "stable"),
}
WITHIN, MOST_SECONDS = 30, 3600

# As YAML's integers; a JSON schema cannot tell 30.0 from 30.
_SECONDS = re.compile(r"([1-9][0-9]{0,3})(\.0)?")
_STATUS = re.compile(r"([1-5][0-9]{2})(\.0)?")
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")


def read_checks(document: Document, node: Node) -> tuple[Check, ...]:
    """Every entry without faults. Faults and warnings go to the document."""
    checks = [check for item in document.items(node, "`checks`") if (check := _read(document, item))]
    first: dict[str, Check] = {}
    for check in checks:
        if check.name in first:
            line = first[check.name].line
            document.fault_at(
                (check.line, check.column),
                f"two checks are called {check.name} (first on line {line}); give it a `name`",
            )
        first.setdefault(check.name, check)
    return tuple(checks)


def note_unknown_names(document: Document, checks: Iterable[Check], known: Collection[str]) -> None:
    """A fault for each `${NAME}` of a check that is not among the known names."""
    for check in checks:
        for name in Template(check.target).names:
            if name not in known:
                document.fault_at(
                    (check.line, check.column),
                    f"the check {check.name} names {name}, which neither the manifest declares nor the bootstrap file"
                    " sets",
                )


def _read(document: Document, node: Node) -> Check | None:
    before = len(document.faults)
    entries = document.fields(node, "a check")
    given = {key: entry.value for key, entry in entries.items() if not is_null(entry.value)}
    kinds = [kind for kind in KINDS if kind in given]
    if len(kinds) != 1:
        if len(document.faults) == before:
            document.fault(node, "a check takes exactly one of `http`, `tcp`, `command`, `service`")
        return None
    [kind] = kinds
    for key, entry in entries.items():
        if key != kind and key not in FIELDS[kind]:
            document.warn(entry.key, f"unknown field `{key}` of a check of kind `{kind}` is ignored")
    target = "" if kind == "command" else _target(document, given[kind], kind)
    argv = _argv(document, given[kind]) if kind == "command" else ()
    default = None if kind == "service" else float(WITHIN)
    line, column = place(node)
    name = document.text(given["name"], "`name` of a check") if "name" in given else None
    check = Check(
        name=name or target or " ".join(argv),
        kind=kind,
        target=target,
        argv=argv,
        status=_status(document, given["status"]) if kind == "http" and "status" in given else WELL,
        within=_seconds(document, given["within"], "`within`") if "within" in given else default,
        stable=_seconds(document, given["stable"], "`stable`") if kind == "service" and "stable" in given else None,
        line=line,
        column=column,
    )
    return check if len(document.faults) == before else None


def _target(document: Document, node: Node, kind: Kind) -> str:
    text = document.text(node, f"`{kind}`") or ""
    if Template(text).has_unread_form:
        document.warn(node, "only ${NAME} is replaced in a check; the other `${` in this one stays as it is")
    # A figure fits wherever a value may be put in; what begins with a value can only be looked at when it is there.
    example = Template(text).render(lambda _: "1")
    if kind == "http" and not (text.startswith("${") or is_url(example)):
        document.fault(node, "`http` must be a URL, http:// or https://, without user and password")
    elif kind == "tcp" and not (text.startswith("${") or is_address(example)):
        document.fault(node, "`tcp` must be HOST:PORT")
    elif kind == "service" and not _SERVICE.fullmatch(text):
        document.fault(node, "`service` of a check must be the name of a service of the compose file")
    return text


def _argv(document: Document, node: Node) -> tuple[str, ...]:
    items = document.items(node, "`command`")
    words = tuple(document.text(item, "an entry of `command`") or "" for item in items)
    if not words:
        document.fault(node, "`command` must be a list: the program, and each of its arguments")
    elif not words[0]:
        document.fault(node, "`command` begins with no program")
    return words


def _status(document: Document, node: Node) -> tuple[range, ...]:
    is_list = getattr(node, "id", "") == "sequence"
    items = document.items(node, "`status`") if is_list else [node]
    found = [number for item in items if (number := _number(item, _STATUS))]
    if not items or len(found) < len(items):
        document.fault(node, "`status` must be an HTTP status, 100 to 599, or a list of them")
    return tuple(range(number, number + 1) for number in found)


def _seconds(document: Document, node: Node, what: str) -> float:
    number = _number(node, _SECONDS)
    if number is None or number > MOST_SECONDS:
        document.fault(node, f"{what} must be whole seconds, 1 to {MOST_SECONDS}")
        return 1.0
    return float(number)


def _number(node: Node, form: re.Pattern[str]) -> int | None:
    """A number that YAML takes for one, in this form."""
    match = form.fullmatch(node.value) if node.tag.endswith((":int", ":float")) else None
    return int(match[1]) if match else None
