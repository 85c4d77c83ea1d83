"""One entry of the manifest's `variables` (contract section 3, the table of fields)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Literal

from agent.dataclass import dataclass
from agent.steps.names import ALLOWED_FROM_BOOTSTRAP, steers_the_host
from agent.variables.template import Template
from agent.variables.yaml_document import Document, Entry, is_null, place

if TYPE_CHECKING:
    from yaml import Node

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
FIELDS = (
    "name",
    "required",
    "required_when",
    "default",
    "sensitive",
    "source",
    "scope",
    "containers",
    "secret",
    "compose",
)


@dataclass(frozen=True)
class Condition:
    """`required_when: NAME=value`; the value is compared exactly."""

    name: str
    value: str


@dataclass(frozen=True)
class ExternalField:
    """`secret`: the whole text of the secret (`string`), or one field of the JSON object that it is (`json`).

    `arn_from` is the variable that holds the secret's ARN.
    """

    arn_from: str
    key: str | None
    kind: Literal["string", "json"]


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One declared variable; `line` and `column` (from 1) are where its entry begins."""

    name: str
    line: int
    column: int
    required: bool = False
    required_when: Condition | None = None
    default: str | None = field(default=None, repr=False)
    sensitive: bool = False
    local: bool = False
    scope: str | None = None
    containers: tuple[str, ...] = ()
    secret: ExternalField | None = None
    template: Template | None = None
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def encode_url(self) -> bool:
        """Whether its template percent-encodes what it puts in."""
        return self.template is not None and self.template.encode_url

    def place(self, key: str) -> tuple[int, int]:
        """Line and column of one of its fields, or of the entry when it has no such field."""
        return self.places.get(key, (self.line, self.column))


def read_variable(document: Document, node: Node) -> Variable | None:
    """Read one entry; None when it has no usable name. Faults and warnings go to the document."""
    entries = document.fields(node, "a variable")
    for key, entry in entries.items():
        if key not in FIELDS:
            document.warn(entry.key, f"unknown field `{key}` is ignored")
    name = _name(document, entries, node)
    given = {key: entry.value for key, entry in entries.items() if key in FIELDS and not is_null(entry.value)}
    line, column = place(node)
    variable = Variable(
        name=name or "",
        line=line,
        column=column,
        required="required" in given and document.flag(given["required"], "`required`"),
        required_when=_condition(document, given["required_when"]) if "required_when" in given else None,
        default=document.text(given["default"], "`default`") if "default" in given else None,
        sensitive="sensitive" in given and document.flag(given["sensitive"], "`sensitive`"),
        local="source" in given and _is_local(document, given["source"]),
        scope=document.text(given["scope"], "`scope`") if "scope" in given else None,
        containers=_containers(document, given["containers"]) if "containers" in given else (),
        secret=_secret(document, given["secret"]) if "secret" in given else None,
        template=_template(document, given["compose"]) if "compose" in given else None,
        places={key: place(value) for key, value in given.items()},
    )
    if variable.local and variable.secret:
        document.warn(given["secret"], f"{name}: `secret` is not read, since `source: local` pins the variable")
    if variable.scope not in (None, "init"):
        document.warn(given["scope"], f"{name}: `scope` is only known as `init`")
    return variable if name else None


def _name(document: Document, entries: Mapping[str, Entry], node: Node) -> str | None:
    if "name" not in entries:
        if entries:
            document.fault(node, "a variable without `name`")
        return None
    value = entries["name"].value
    name = document.text(value, "`name`")
    if name is None or not NAME.fullmatch(name):
        document.fault(value, "`name` must be letters, digits and `_`, not beginning with a digit")
        return None
    if steers_the_host(name) and name not in ALLOWED_FROM_BOOTSTRAP:
        document.fault(value, f"{name} would steer the host's own tools; choose another name for the application's")
    return name


def _condition(document: Document, node: Node) -> Condition | None:
    text = document.text(node, "`required_when`")
    if text is None:
        return None
    name, equals, value = text.partition("=")
    if not equals or not NAME.fullmatch(name):
        document.fault(node, "`required_when` must be NAME=value, without blanks around `=`")
        return None
    return Condition(name, value)


def _is_local(document: Document, node: Node) -> bool:
    if document.text(node, "`source`") == "local":
        return True
    document.fault(node, "`source` takes only `local`; leave it out for a variable that AWS may give")
    return False


def _containers(document: Document, node: Node) -> tuple[str, ...]:
    names = (document.text(item, "an entry of `containers`") for item in document.items(node, "`containers`"))
    return tuple(name for name in names if name)


def _parts(document: Document, node: Node, what: str, allowed: tuple[str, ...]) -> dict[str, str]:
    """The texts of a small mapping by key; unknown keys warn."""
    parts: dict[str, str] = {}
    for key, entry in document.fields(node, what).items():
        if key not in allowed:
            document.warn(entry.key, f"unknown field `{key}` of {what} is ignored")
        elif (text := document.text(entry.value, f"`{key}` of {what}")) is not None:
            parts[key] = text
    return parts


def _secret(document: Document, node: Node) -> ExternalField | None:
    parts = _parts(document, node, "`secret`", ("arn_from", "type", "key"))
    kind, key = parts.get("type"), parts.get("key")
    if not NAME.fullmatch(parts.get("arn_from", "")):
        document.fault(node, "`secret` needs `arn_from`: the name of the variable that holds the secret's ARN")
    elif kind not in (None, "json"):
        document.fault(node, "`type` of `secret` takes only `json`; leave it out to take the whole secret")
    elif (kind == "json") != bool(key):
        document.fault(node, "`secret` takes `type: json` together with `key`, or neither (the whole secret)")
    else:
        return ExternalField(parts["arn_from"], key, "json" if kind else "string")
    return None


def _template(document: Document, node: Node) -> Template | None:
    parts = _parts(document, node, "`compose`", ("template", "encode"))
    if parts.get("encode") not in (None, "url"):
        document.fault(node, "`encode` of `compose` takes only `url`")
    if "template" not in parts:
        document.fault(node, "`compose` needs `template`: a text with ${NAME} in it")
        return None
    template = Template(parts["template"], parts.get("encode") == "url")
    if template.has_unread_form:
        document.warn(node, "only ${NAME} is replaced in a template; the other `${` in this one stays as it is")
    return template
