"""What a resolution that succeeded should still say; names and places only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.variables.lookup import Lookups
from agent.variables.manifest import Manifest
from agent.variables.remote_index import Value
from agent.variables.sources import Look, Source, Sources


def warnings_of(
    manifest: Manifest,
    found: Lookups,
    sources: Sources,
    looks: Mapping[str, tuple[Look, ...]],
    notes: Mapping[str, list[str]],
) -> tuple[str, ...]:
    """All warnings: about AWS as a whole, then per variable, then about names that nobody declared."""
    return (
        *_about_aws(found),
        *(f"{name}: its template {note}" for name, texts in notes.items() for note in texts),
        *_about_variables(manifest, sources, looks),
        *_undeclared("SSM", found.path, manifest, sources.index.parameters),
        *_undeclared("Secrets Manager", found.prefix, manifest, sources.index.secrets),
    )


def _about_aws(found: Lookups) -> Iterator[str]:
    if found.list_denied:
        statement = "; ".join(found.list_denied.details)
        yield (
            f"secretsmanager:ListSecrets is denied, so {found.prefix}secrets is the only secret that was read under"
            f" {found.prefix}; {statement}"
        )
    for answer in found.secrets:
        if answer.deleted:
            yield f"Secrets Manager {answer.asked}: marked for deletion, nothing is read from it"
        if answer.unlisted:
            statement = "; ".join(answer.unlisted.details)
            yield (
                f"Secrets Manager {answer.asked}: the list does not show it and reading it is denied, so it counts as"
                f" not there; if it was made just now, let it be read; {statement}"
            )
    if found.asked and not found.parameters_denied and not found.parameters:
        yield f"SSM: 0 parameters under {found.path}: not seeded, or seeded under another NAMESPACE"


def _about_variables(manifest: Manifest, sources: Sources, looks: Mapping[str, tuple[Look, ...]]) -> Iterator[str]:
    for variable in manifest.variables:
        name = variable.name
        if variable.local:
            for value in (*sources.index.parameters.get(name, ()), *sources.index.secrets.get(name, ())):
                yield f"{name}: `source: local` pins it to the bootstrap file; {value.where} is not used"
        if variable.template:
            for look in looks[name]:
                if look.value:
                    yield f"{name}: its template wins over {look.where}"
        external = looks[name][-1]
        if external.source is Source.EXTERNAL and not external.value and not external.skipped:
            yield f"{name}: {external.text}"


def _undeclared(source: str, below: str, manifest: Manifest, index: Mapping[str, list[Value]]) -> Iterator[str]:
    declared = manifest.by_name()
    names = sorted(name if name.isprintable() else ascii(name) for name in index if name not in declared)
    if names:
        yield f"{source} {below}: not declared in {manifest.name}, not exported: {', '.join(names)}"
