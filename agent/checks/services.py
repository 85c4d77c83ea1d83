"""The services of the project against what the manifest says about containers."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from agent.checks.manifest import Declared
from agent.compose_file import ComposeFile, Finding, Place, Service
from agent.compose_file.finding import error, warning

# The platform's container names have it, its service names do not.
PREFIX = "voiceai-"


def containers(composed: ComposeFile, declared: Declared) -> Iterator[Finding]:
    """Each entry of `containers` names a service, which takes the variable."""
    by_name = _by_name(composed)
    for variable, entry, place in declared.containers:
        service = by_name.get(entry.removeprefix(PREFIX))
        if service is None:
            near = difflib.get_close_matches(entry, sorted(by_name), n=1, cutoff=0.6)
            question = f"; did you mean {near[0]}?" if near else ""
            yield error(
                place,
                "container-unknown",
                f"`containers` of {variable.name} names {entry}, which is no service of the project{question}",
                "name a service of the compose file, with or without `voiceai-`",
            )
        elif service.complete and variable.name not in service.takes:
            yield warning(
                place,
                "container-without-variable",
                f"service {service.name} does not take {variable.name}, which is declared for it",
                f"add {variable.name} to the service's `environment`, or take the service off `containers`",
            )


def checked(composed: ComposeFile, declared: Declared) -> Iterator[Finding]:
    """Each check of a service names one."""
    names = sorted(service.name for service in composed.services)
    for check in declared.checks:
        if check.kind == "service" and check.target not in names:
            near = difflib.get_close_matches(check.target, names, n=1, cutoff=0.6)
            question = f"; did you mean {near[0]}?" if near else ""
            yield error(
                Place(declared.name, check.line, check.column),
                "check-service-unknown",
                f"the check names {check.target}, which is no service of the project{question}",
                "name a service of the compose file",
            )


def missing_env_files(composed: ComposeFile) -> Iterator[Finding]:
    """A warning for each `env_file` that is not in the bundle."""
    for service in composed.services:
        for item in service.env_file:
            if item.required and item.path and not item.path.is_file():
                yield warning(
                    item.place,
                    "env-file-missing",
                    f"the `env_file` of {service.name} is not in the bundle; Compose fails without it",
                    "add it to the bundle, write `required: false`, or name the variables in `environment`",
                )


def _by_name(composed: ComposeFile) -> dict[str, Service]:
    """The services by the names that an entry may have, without the prefix."""
    named = {(service.container_name or "").removeprefix(PREFIX): service for service in composed.services}
    named.update({service.name.removeprefix(PREFIX): service for service in composed.services})
    named.pop("", None)
    return named
