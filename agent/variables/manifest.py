"""vars.yaml: which variables a role takes, and from where (contract section 3). Every fault has its line and column."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from agent.dataclass import dataclass
from agent.steps.bootstrap import DOCUMENTED
from agent.steps.check import Check
from agent.steps.host_files import HostFile
from agent.steps.mounts import Mount
from agent.variables import template
from agent.variables.manifest_checks import note_unknown_names, read_checks
from agent.variables.manifest_files import note_unknown_variables, read_files, read_mounts
from agent.variables.manifest_variable import Variable, read_variable
from agent.variables.yaml_document import Document, Entry, is_null

FIELDS = ("service", "variables", "files", "mounts", "checks", "irreversible")

_SERVICE = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest without faults; `name` is what messages call the file.

    `irreversible`: what a release of this bundle does at its start cannot be taken back.
    """

    name: str
    service: str
    variables: tuple[Variable, ...]
    warnings: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    irreversible: bool = False
    files: tuple[HostFile, ...] = ()
    mounts: tuple[Mount, ...] = ()

    def by_name(self) -> dict[str, Variable]:
        """The variables by name, in the order of the file."""
        return {variable.name: variable for variable in self.variables}


def parse(data: bytes, name: str, *, known: Collection[str] | None = None) -> Manifest:
    """Read a manifest; `name` is what messages call it. Raises `ManifestError` with all faults at once.

    `known` are the names that the bootstrap file sets; without them (no such file at hand) `arn_from`, `required_when`
    and templates are only held against the manifest and the documented bootstrap names by `check_against`, later.
    """
    document = Document(name)
    root = document.compose(data)
    if root is None or is_null(root):
        document.fault(root, "the manifest is empty; it needs `service` and `variables`")
    entries = document.fields(root, "the manifest") if root is not None and not is_null(root) else {}
    if document.faults and not entries:
        document.raise_faults()
    service = _service(document, entries)
    nodes = document.items(entries["variables"].value, "`variables`") if "variables" in entries else []
    variables = [variable for node in nodes if (variable := read_variable(document, node))]
    for key, entry in entries.items():
        if key not in FIELDS:
            document.warn(entry.key, f"unknown field `{key}` is ignored")
    checks = read_checks(document, entries["checks"].value) if "checks" in entries else ()
    written = read_files(document, entries["files"].value) if "files" in entries else ()
    mounts = read_mounts(document, entries["mounts"].value) if "mounts" in entries else ()
    irreversible = "irreversible" in entries and document.flag(entries["irreversible"].value, "`irreversible`")
    _note_duplicates(document, variables)
    _note_cycle(document, variables)
    if known is not None:
        _note_unknown_names(document, variables, known)
        names = {*known, *(variable.name for variable in variables)}
        note_unknown_names(document, checks, names)
        note_unknown_variables(document, written, names)
    document.raise_faults()
    return Manifest(
        name=name,
        service=service,
        variables=tuple(variables),
        warnings=document.warnings(),
        checks=checks,
        irreversible=irreversible,
        files=written,
        mounts=mounts,
    )


def check_against(manifest: Manifest, bootstrap_names: Collection[str] | None) -> None:
    """Raise `ManifestError` for names that neither the manifest declares nor the bootstrap file sets.

    None stands for "no bootstrap file at hand": the names that the platform documents for it are then taken as set.
    """
    document = Document(manifest.name)
    names = DOCUMENTED if bootstrap_names is None else bootstrap_names
    _note_unknown_names(document, manifest.variables, names)
    note_unknown_names(document, manifest.checks, {*names, *manifest.by_name()})
    note_unknown_variables(document, manifest.files, {*names, *manifest.by_name()})
    document.raise_faults()


def _service(document: Document, entries: Mapping[str, Entry]) -> str:
    if "service" not in entries:
        document.fault(None, "`service` is missing; with NAMESPACE it makes the path of the parameters and secrets")
        return ""
    node = entries["service"].value
    service = document.text(node, "`service`") or ""
    if not _SERVICE.fullmatch(service):
        document.fault(node, "`service` must be letters, digits, `.`, `_`, `-`, without a slash at its ends")
    return service


def _note_duplicates(document: Document, variables: Iterable[Variable]) -> None:
    first: dict[str, Variable] = {}
    for variable in variables:
        if variable.name in first:
            line = first[variable.name].line
            document.fault_at(variable.place("name"), f"{variable.name} is declared twice (first on line {line})")
        first.setdefault(variable.name, variable)


def _note_cycle(document: Document, variables: Iterable[Variable]) -> None:
    """Note every cycle of templates, once each."""
    by_name = {variable.name: variable for variable in variables}
    templates = {name: variable.template for name, variable in by_name.items() if variable.template}
    while cycle := template.find_cycle(templates):
        document.fault_at(
            by_name[cycle[0]].place("compose"), f"the templates draw on each other in a cycle: {' -> '.join(cycle)}"
        )
        templates = {name: part for name, part in templates.items() if name not in cycle}


def _note_unknown_names(document: Document, variables: Iterable[Variable], known: Collection[str]) -> None:
    variables = tuple(variables)
    names = {variable.name for variable in variables}.union(known)
    for variable in variables:
        uses = [("compose", part, "the template of") for part in (variable.template.names if variable.template else ())]
        if variable.required_when:
            uses.append(("required_when", variable.required_when.name, "`required_when` of"))
        if variable.secret:
            uses.append(("secret", variable.secret.arn_from, "`arn_from` of"))
        for place, used, what in uses:
            if used not in names:
                document.fault_at(
                    variable.place(place),
                    f"{what} {variable.name} names {used}, which neither the manifest declares nor the bootstrap file"
                    " sets",
                )
