"""The values: asked for, resolved, and compared with those of the current release."""

from __future__ import annotations

from collections.abc import Callable

from agent.aws.parameters import Parameters
from agent.aws.secrets import Secrets
from agent.dataclass import dataclass
from agent.errors import AgentError, HostError, combine
from agent.report.words import amount
from agent.run import Run
from agent.stages.host import Cloud
from agent.steps import (
    addresses,
    fingerprints,
    state,
)
from agent.steps.bootstrap import Bootstrap
from agent.steps.fingerprints import Difference, Fingerprints
from agent.steps.state import State
from agent.variables import lookup, resolve
from agent.variables.lookup import Lookups
from agent.variables.manifest import Manifest
from agent.variables.resolve import Resolution

_READING = "reading parameters and secrets"


@dataclass(frozen=True, kw_only=True)
class Values:
    """The values of one deploy, what they were resolved from, and how they differ from those of the current release."""

    manifest: Manifest
    found: Lookups
    resolution: Resolution
    fingerprints: Fingerprints
    difference: Difference


def resolve_values(
    run: Run, loaded: Bootstrap, cloud: Cloud, *, kept: State, parsed: Manifest, found: Lookups
) -> Values:
    """Resolve every variable, or name all that cannot be, and compare with the current release."""
    resolution = settle(run, loaded, cloud, parsed, found)
    taken, difference = compare_values(run, kept, resolution)
    return Values(manifest=parsed, found=found, resolution=resolution, fingerprints=taken, difference=difference)


def look_up(run: Run, loaded: Bootstrap, cloud: Cloud, parsed: Manifest) -> Lookups:
    """Ask AWS for the values that the manifest may need."""
    with run.step("values", _READING) as step:
        found = _ask(run, loaded, cloud, parsed)
        step.detail = found.text
    return found


def look_up_early(run: Run, loaded: Bootstrap, cloud: Cloud, guess: Manifest, holds: Callable[[], bool]) -> Lookups:
    """As `look_up`, begun before the manifest is known to be this one; `holds` waits until it is known whether it is.

    Where it is not, what was found means nothing, faults included.
    """
    with run.step("values", _READING) as step:
        found = _or_fault(lambda: _ask(run, loaded, cloud, guess))
        if not holds():
            step.detail = "asked too early: the bundle is another one"
            return Lookups()
        if isinstance(found, AgentError):
            raise found
        step.detail = found.text
    return found


def _or_fault(ask: Callable[[], Lookups]) -> Lookups | AgentError:
    try:
        return ask()
    except AgentError as error:
        return error


def _ask(run: Run, loaded: Bootstrap, cloud: Cloud, parsed: Manifest) -> Lookups:
    return lookup.look_up(
        parsed,
        loaded,
        parameters=lambda: Parameters(cloud.session.ssm()),
        secrets=lambda region: Secrets(cloud.session.secrets_manager(region)),
        deadline=run.deadline,
    )


def detect(run: Run, loaded: Bootstrap, cloud: Cloud | None, parsed: Manifest) -> dict[str, str]:
    """Addresses that the manifest declares and the bootstrap file does not give."""
    wanted = {item.name for item in parsed.variables if not loaded.variables.get(item.name)}
    return addresses.detect(wanted, cloud.identity, cloud.imds, run.deadline) if cloud else {}


def settle(run: Run, loaded: Bootstrap, cloud: Cloud, parsed: Manifest, found: Lookups) -> Resolution:
    """Resolve every variable, or name all that cannot be."""
    resolution, _ = weigh(run, loaded, cloud, parsed, found, strict=True)
    run.warn("resolve.warning", *parsed.warnings, *resolution.warnings)
    return resolution


def weigh(
    run: Run, loaded: Bootstrap, cloud: Cloud | None, parsed: Manifest, found: Lookups, *, strict: bool
) -> tuple[Resolution, list[AgentError]]:
    """What every variable comes to, and what stands in the way of using that; `strict` raises the latter."""
    with run.step("resolve", "resolving the variables") as step:
        resolution, errors = resolve.weigh(parsed, loaded, found, detect(run, loaded, cloud, parsed))
        run.redactor.learn(resolution.secrets())
        if strict and errors:
            raise combine(errors)
        step.detail = f"{amount(len(resolution.variables), 'variable')}{_asked(run)}"
    return resolution, errors


def _asked(run: Run) -> str:
    """What the values have cost: `, 45 calls, 310 ms`."""
    asked = [step for step in run.recorder.steps if step.name == "values"]
    return "".join(f", {amount(step.costs.calls, 'call')}, {1000 * (step.seconds or 0):.0f} ms" for step in asked[-1:])


def compare_values(run: Run, kept: State, resolution: Resolution) -> tuple[Fingerprints, Difference]:
    """The values' fingerprints, and how they differ from those of the current release."""
    now = fingerprints.take(fingerprints.make_key(run.host.paths.state), resolution.environment)
    return now, fingerprints.compare(kept.current.values if kept.current else None, now)


def recorded_difference(run: Run, resolution: Resolution) -> Difference:
    """As `compare_values`, for who only asks: nothing is written, and without root nothing is known."""
    try:
        kept, _ = state.load(run.host.paths.state, None)
        key = fingerprints.read_key(run.host.paths.state)
    except HostError:
        return Difference(known=False)
    now = fingerprints.take(key, resolution.environment) if key else None
    return fingerprints.compare(kept.current.values if kept.current else None, now)
