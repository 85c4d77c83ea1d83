"""vars.yaml + what the sources gave -> the environment. Pure: asks nobody, changes nothing (contract section 4).

Per variable the last that has it wins: bootstrap file, SSM, Secrets Manager, external secret; then the default, then
what was detected on the host; then its template, when all that it draws on has a value. Null and the empty string count
as not provided; only an empty `default` is a value of its own, which does not satisfy `required`.

A source that was denied is an error (`AccessDenied`) as soon as a variable could have come from there, be it optional:
a deploy must not quietly run on a lower-ranked value.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.errors import AgentError, combine
from agent.secret import Secret
from agent.steps.bootstrap import KEYS, Bootstrap
from agent.steps.names import ALLOWED_FROM_BOOTSTRAP, steers_the_host
from agent.variables import template, unresolved
from agent.variables.lookup import Lookups
from agent.variables.manifest import Manifest
from agent.variables.manifest_variable import Variable
from agent.variables.resolution import Resolution, Resolved
from agent.variables.resolve_warnings import warnings_of
from agent.variables.sources import Source, Sources
from agent.variables.template import Template

__all__ = ["Resolution", "Resolved", "Source", "resolve", "weigh"]


def resolve(
    manifest: Manifest, bootstrap: Bootstrap, found: Lookups, detected: Mapping[str, str] | None = None
) -> Resolution:
    """Settle every variable, or raise all that stands in the way at once.

    `UnresolvedError`: required variables without a value, and values that cannot be used; `AccessDenied`: denied
    sources that matter; `ManifestError`: names from AWS that steer the host. `manifest` has passed `check_against`.
    """
    resolution, errors = weigh(manifest, bootstrap, found, detected)
    if errors:
        raise combine(errors)
    return resolution


def weigh(
    manifest: Manifest, bootstrap: Bootstrap, found: Lookups, detected: Mapping[str, str] | None = None
) -> tuple[Resolution, list[AgentError]]:
    """As `resolve`, but what stands in the way is returned beside the rest: to explain one variable, not to use any."""
    resolver = _Resolver(manifest, bootstrap, found, detected or {})
    resolver.settle()
    resolution = Resolution(
        variables=resolver.resolved,
        environment=_environment(manifest, bootstrap, resolver.resolved),
        warnings=warnings_of(manifest, found, resolver.sources, resolver.looks, resolver.notes),
        looked=resolver.looks,
        reasons=resolver.reasons,
    )
    return resolution, unresolved.errors_of(manifest, resolution, resolver.sources.faults, resolver.notes)


def _environment(manifest: Manifest, bootstrap: Bootstrap, resolved: Mapping[str, Resolved]) -> dict[str, Secret]:
    declared = manifest.by_name()
    undeclared = {
        name: Secret(value)
        for name, value in bootstrap.variables.items()
        if name not in declared and name not in KEYS and (name in ALLOWED_FROM_BOOTSTRAP or not steers_the_host(name))
    }
    return {**undeclared, **{name: variable.value for name, variable in resolved.items()}}


class _Resolver:
    def __init__(self, manifest: Manifest, bootstrap: Bootstrap, found: Lookups, detected: Mapping[str, str]) -> None:
        self.manifest = manifest
        self.bootstrap = bootstrap
        self.detected = detected
        self.sources = Sources(manifest, bootstrap, found)
        self.looks = {variable.name: self.sources.look(variable) for variable in manifest.variables}
        self.resolved: dict[str, Resolved] = {}
        self.notes: dict[str, list[str]] = {}
        self.reasons: dict[str, str] = {}

    def settle(self) -> None:
        settled = {variable.name: self._from_sources(variable) for variable in self.manifest.variables}
        self.resolved = {name: resolved for name, resolved in settled.items() if resolved}
        declared = self.manifest.by_name()
        templates = {variable.name: variable.template for variable in declared.values() if variable.template}
        for name in template.order(templates):
            self._build(declared[name], templates[name])
        # The manifest's order, also for what templates added.
        self.resolved = {name: self.resolved[name] for name in declared if name in self.resolved}
        self.reasons = {name: why for name, variable in declared.items() if (why := self._reason(variable))}

    def _from_sources(self, variable: Variable) -> Resolved | None:
        offers = [look for look in self.looks[variable.name] if look.value and not look.fault]
        sensitive = variable.sensitive or variable.name in KEYS
        if offers:
            *beaten, best = offers
            return Resolved(
                name=variable.name,
                value=best.value or Secret(""),
                source=best.source,
                origin=best.where,
                sensitive=sensitive or best.sensitive,
                beaten=tuple(look.where for look in reversed(beaten)),
            )
        if not variable.default and self.detected.get(variable.name):
            text, source, origin = self.detected[variable.name], Source.DETECTED, "detected on this host"
        elif variable.default is not None:
            text, source, origin = variable.default, Source.DEFAULT, f"default in {self.manifest.name}"
        else:
            return None
        return Resolved(name=variable.name, value=Secret(text), source=source, origin=origin, sensitive=sensitive)

    def _value(self, name: str) -> tuple[Secret, bool] | None:
        """The value of a name that a template or a condition uses, and whether it is sensitive."""
        if name in self.resolved:
            return self.resolved[name].value, self.resolved[name].sensitive
        value = self.bootstrap.variables.get(name)
        if name in self.looks or not value:
            return None
        return Secret(value), name in KEYS

    def _build(self, variable: Variable, used: Template) -> None:
        parts = {name: self._value(name) for name in used.names}
        missing = [name for name, part in parts.items() if part is None]
        if missing:
            self._note(variable, f"is not used, since {', '.join(missing)} has no value")
            return
        values = {name: part for name, part in parts.items() if part}
        before = self.resolved.get(variable.name)
        self.resolved[variable.name] = Resolved(
            name=variable.name,
            value=Secret(used.render(lambda name: values[name][0].reveal())),
            source=Source.TEMPLATE,
            origin=f"template in {self.manifest.name}",
            sensitive=variable.sensitive or any(sensitive for _, sensitive in values.values()),
            beaten=(before.origin, *before.beaten) if before else (),
        )
        for name, (value, sensitive) in values.items():
            if sensitive and used.changes_url(value.reveal()):
                self._note(
                    variable,
                    f"puts {name} into a URL as it is, and that holds a character that has a meaning there; add"
                    " `encode: url`, or store it encoded",
                )

    def _note(self, variable: Variable, text: str) -> None:
        self.notes.setdefault(variable.name, []).append(text)

    def _reason(self, variable: Variable) -> str:
        """Why the variable must have a value; empty when it need not."""
        if variable.required:
            return "required"
        condition = variable.required_when
        if condition is None:
            return ""
        current = self._value(condition.name)
        if current is None or current[0].reveal() != condition.value:
            return ""
        origin = self.resolved[condition.name].origin if condition.name in self.resolved else "bootstrap file"
        shown = "[redacted]" if current[1] else condition.value
        return f"required, since {condition.name}={shown} ({origin})"
