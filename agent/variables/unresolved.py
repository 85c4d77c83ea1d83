"""The errors of a resolution that failed: one table of all variables that have no value, and what was denied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from agent.errors import AccessDenied, AgentError, ManifestError, UnresolvedError
from agent.steps.addresses import NOT_DETECTED
from agent.steps.names import steers_the_host
from agent.variables.manifest import Manifest
from agent.variables.manifest_variable import Variable
from agent.variables.resolution import Resolution
from agent.variables.sources import Look, Source, fault_of

# More names than this say nothing more.
_MOST_NAMES = 10


def errors_of(
    manifest: Manifest, resolution: Resolution, faults: Sequence[str], notes: Mapping[str, Sequence[str]]
) -> list[AgentError]:
    """What stands in the way of using `resolution`, by kind; `faults` are secrets that are not what they must be."""
    looked = resolution.looked
    errors = _denied({name: [error for look in _above(name, resolution) for error in look.denied] for name in looked})
    steering = {
        name: look.where
        for name, looks in looked.items()
        for look in looks
        if look.value and look.source is not Source.BOOTSTRAP and steers_the_host(name)
    }
    if steering:
        errors.append(_steering(manifest.name, steering))
    rows = [*faults, *(row for variable in manifest.variables for row in _rows(manifest, variable, resolution, notes))]
    rows += _too_much(manifest, resolution)
    if rows:
        errors.append(
            UnresolvedError(
                f"resolving the variables of {manifest.name}",
                "1 value cannot be had" if len(rows) == 1 else f"{len(rows)} values cannot be had",
                "give each of these one value in a place that was looked at, or make it optional in the manifest",
                details=rows,
            )
        )
    return errors


def _above(name: str, resolution: Resolution) -> Iterator[Look]:
    """The places that would have won over the value that the variable has."""
    resolved = resolution.variables.get(name)
    if resolved and resolved.source is Source.TEMPLATE:
        return
    for look in reversed(resolution.looked[name]):
        if look.value:
            return
        yield look


def _rows(
    manifest: Manifest, variable: Variable, resolution: Resolution, notes: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """A line for a variable that must have a value and has none, or whose value cannot be used."""
    at = f"{manifest.name}:{variable.line}:{variable.column}: {variable.name}"
    looks = resolution.looked[variable.name]
    why = resolution.reasons.get(variable.name)
    resolved = resolution.variables.get(variable.name)
    unusable = [*(look for look in _above(variable.name, resolution) if look.fault)]
    unusable += [look for look in looks if look.clash and look not in unusable]
    if why and not (resolved and resolved.value):
        places = [look.text for look in looks] + [f"its template {note}" for note in notes.get(variable.name, ())]
        places += [NOT_DETECTED[variable.name]] if variable.name in NOT_DETECTED else []
        default = ["no default"] if variable.default is None else ["the default is empty"]
        yield f"{at}: {why}; {'; '.join(places + default)}"
    elif unusable:
        yield f"{at}: {'; '.join(look.text for look in unusable)}"


def _too_much(manifest: Manifest, resolution: Resolution) -> Iterator[str]:
    """A line for each value that no environment can carry, wherever it is from: all of them go into one.

    A place that AWS gave such a value in is no place that the variable has it from: it has its line already.
    """
    declared = manifest.by_name()
    for name, value in resolution.environment.items():
        fault = fault_of(name, value)
        if fault and name in declared:
            at = f"{manifest.name}:{declared[name].line}:{declared[name].column}"
            yield f"{at}: {name}: {resolution.variables[name].origin}: {fault}"
        elif fault:
            yield f"bootstrap file: {name} {fault}"


def _steering(file: str, found: Mapping[str, str]) -> ManifestError:
    """Names that steer the host's tools were found in AWS; `found` gives the place of each."""
    return ManifestError(
        f"resolving the variables of {file}",
        "values from AWS would steer the host's own tools",
        "remove them from AWS; the bootstrap file may set them",
        details=[f"{name}: {where}" for name, where in found.items()],
    )


def _denied(needed: Mapping[str, Iterable[AccessDenied]]) -> list[AgentError]:
    """One error per refusal, with the names of the variables that may come from there."""
    names: dict[tuple[str, ...], list[str]] = {}
    errors: dict[tuple[str, ...], AccessDenied] = {}
    for name, refusals in needed.items():
        for error in refusals:
            key = (error.doing, error.cause, *error.details)
            errors[key] = error
            names.setdefault(key, []).append(name)
    return [_with_names(error, names[key]) for key, error in errors.items()]


def _with_names(error: AccessDenied, names: Sequence[str]) -> AccessDenied:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    affected = f"variables that may come from there: {', '.join(names[:_MOST_NAMES])}{more}"
    return AccessDenied(error.doing, error.cause, error.next_step, details=[*error.details, affected])
