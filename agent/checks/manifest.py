"""vars.yaml as `check` sees it: every fault a finding of its own, and what could be read in spite of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from agent.checks import positions
from agent.checks.bootstrap_file import BootstrapFile
from agent.checks.secrets import looks_plain
from agent.compose_file import Finding, Place
from agent.compose_file.finding import error, warning
from agent.dataclass import dataclass
from agent.errors import HostError, ManifestError, UnresolvedError
from agent.steps.bootstrap import DOCUMENTED
from agent.steps.check import Check
from agent.variables import manifest
from agent.variables.manifest_checks import read_checks
from agent.variables.manifest_files import read_files, read_mounts
from agent.variables.manifest_variable import Condition, Variable, read_variable
from agent.variables.yaml_document import Document, is_null, place

if TYPE_CHECKING:
    from yaml import Node

_FIX = "correct vars.yaml where the bundle is made"
# The sections whose texts may name variables.
_NAMING = ("checks", "files")
# The agent finds these out on the host.
_DETECTED = frozenset({"PRIVATE_IP", "PUBLIC_IP"})


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What the manifest declares; `readable` is false when there is none, or no YAML.

    `containers` are the entries of `containers` with their places; `extra_words` every text in the sections that belong
    to steps (`files`, ...), which may name variables.
    """

    name: str
    variables: tuple[Variable, ...] = ()
    containers: tuple[tuple[Variable, str, Place], ...] = ()
    checks: tuple[Check, ...] = ()
    extra_words: frozenset[str] = field(default=frozenset(), repr=False)
    findings: tuple[Finding, ...] = ()
    readable: bool = True

    @property
    def names(self) -> frozenset[str]:
        """The names of its variables."""
        return frozenset(variable.name for variable in self.variables)


def read(path: Path, name: str, bootstrap: BootstrapFile | None) -> Declared:
    """Read and check the manifest; `name` is what messages call it. Never raises."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        text, fix = "there is no vars.yaml", "add it to the role's folder in the bundle"
        return Declared(name=name, findings=(error(Place(name), "manifest-missing", text, fix),), readable=False)
    except OSError as failure:
        why = f"cannot be read: {failure.strerror or type(failure).__name__}"
        fault = error(Place(name), "unreadable", why, "make it readable", exit_code=HostError.exit_code)
        return Declared(name=name, findings=(fault,), readable=False)
    document = Document(name)
    faults = tuple(_faults(data, name, _known(bootstrap)))
    try:
        root = document.compose(data)
    except ManifestError:
        return Declared(name=name, findings=faults, readable=False)
    if root is None or is_null(root):
        return Declared(name=name, findings=faults, readable=False)
    return _declared(document, root, faults, bootstrap)


def _declared(document: Document, root: Node, faults: tuple[Finding, ...], bootstrap: BootstrapFile | None) -> Declared:
    """What can be read of a manifest; its faults are already known."""
    entries = document.fields(root, "the manifest")
    variables: list[Variable] = []
    containers: list[tuple[Variable, str, Place]] = []
    for node in document.items(entries["variables"].value, "`variables`") if "variables" in entries else []:
        variable = read_variable(document, node)
        if variable:
            variables.append(variable)
            containers += [(variable, *entry) for entry in _containers(document, node)]
    for key, entry in entries.items():
        if key not in manifest.FIELDS:
            document.warn(entry.key, f"unknown field `{key}` is ignored")
    checks = read_checks(document, entries["checks"].value) if "checks" in entries else ()
    for key, reader in (("files", read_files), ("mounts", read_mounts)):
        if key in entries:
            reader(document, entries[key].value)  # for what it warns of
    words = {word for key in _NAMING if key in entries for word in _words(entries[key].value)}
    notes = (positions.split(note, document.name) for note in document.warnings())
    findings = [*faults, *(warning(at, "manifest-doubtful", text, _FIX) for at, text in notes)]
    by_name = {variable.name: variable for variable in variables}
    for variable in variables:
        findings += _plain_default(document.name, variable)
        if bootstrap and bootstrap.complete and _lacks_value(variable, by_name, bootstrap):
            findings.append(_without_value(document.name, variable))
    return Declared(
        name=document.name,
        variables=tuple(variables),
        containers=tuple(containers),
        checks=checks,
        extra_words=frozenset(words),
        findings=tuple(findings),
    )


def _known(bootstrap: BootstrapFile | None) -> frozenset[str]:
    """The names that `arn_from`, `required_when` and templates may count on beside the manifest's own."""
    if bootstrap is None:
        return DOCUMENTED
    return bootstrap.names if bootstrap.complete else bootstrap.names | DOCUMENTED


def _faults(data: bytes, name: str, known: frozenset[str]) -> Iterator[Finding]:
    try:
        manifest.parse(data, name, known=known)
    except ManifestError as failure:
        for line in failure.details:
            at, text = positions.split(line, name)
            yield error(at, "manifest-invalid", text, _FIX)


def _containers(document: Document, node: Node) -> Iterator[tuple[str, Place]]:
    fields = document.fields(node, "a variable")
    if "containers" not in fields:
        return
    for item in document.items(fields["containers"].value, "`containers`"):
        text = document.text(item, "an entry of `containers`")
        if text:
            yield text, Place(document.name, *place(item))


def _words(node: Node) -> Iterator[str]:
    """Every scalar below a node, keys too. Bounded by the document's own bounds; aliases are not followed twice."""
    waiting, seen = [node], set()
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current.value, str):
            yield current.value
        else:
            for item in current.value:
                waiting += item if isinstance(item, tuple) else [item]


def _plain_default(name: str, variable: Variable) -> Iterator[Finding]:
    if variable.default and looks_plain(variable.name, variable.default, sensitive=variable.sensitive):
        yield warning(
            Place(name, *variable.place("default")),
            "secret-in-bundle",
            f"the default of {variable.name} looks like a secret in plain text",
            "keep it in Secrets Manager and remove the default; if it was real, replace it there, too",
        )


def _without_value(name: str, variable: Variable) -> Finding:
    return error(
        Place(name, variable.line, variable.column),
        "variable-without-value",
        f"{variable.name} is required and pinned to the bootstrap file, which does not set it",
        f"set {variable.name} in the bootstrap file, and in the cloud-init template that writes it",
        exit_code=UnresolvedError.exit_code,
    )


def _lacks_value(variable: Variable, declared: Mapping[str, Variable], bootstrap: BootstrapFile) -> bool:
    if not variable.local or variable.template or variable.default or variable.name in _DETECTED:
        return False
    if variable.name in bootstrap.names and variable.name not in bootstrap.values:
        return False  # a faulty line, which is a finding already
    if bootstrap.values.get(variable.name):
        return False
    return variable.required or _is_met(variable.required_when, declared, bootstrap)


def _is_met(condition: Condition | None, declared: Mapping[str, Variable], bootstrap: BootstrapFile) -> bool:
    """Whether a condition is certain to be met: AWS may have another value for a variable that is not local."""
    if condition is None:
        return False
    other = declared.get(condition.name)
    if other and (not other.local or other.template):
        return False
    value = bootstrap.values.get(condition.name) or (other.default if other else None)
    return value == condition.value
