"""The variables: whether each that must have a value gets one from what was read."""

from __future__ import annotations

from collections.abc import Iterator

from agent.aws.imds import Imds
from agent.doctor.aws import NOT_SEEDED, look_up
from agent.doctor.facts import Facts
from agent.doctor.line import Line, fail, ok, warn
from agent.doctor.network import connect
from agent.errors import AgentError, UnresolvedError
from agent.host.clock import Deadline
from agent.report.words import amount
from agent.secret import Secret
from agent.steps import addresses
from agent.variables import external, resolve
from agent.variables.lookup import Lookups

_COLLECTOR = "OTEL_BACKEND_HOST"
_COLLECTOR_PORT = 4317
_COLLECTOR_DEFAULT = "10.0.1.10"


def settle(facts: Facts, deadline: Deadline) -> Iterator[Line]:
    """Every required variable has a value; what has none is named."""
    found = _found(facts, deadline)
    wanted = {item.name for item in facts.manifest.variables if not facts.bootstrap.variables.get(item.name)}
    imds = facts.imds or Imds(facts.variables)
    detected = addresses.detect(wanted, facts.identity, imds, deadline)
    resolution, errors = resolve.weigh(facts.manifest, facts.bootstrap, found, detected)
    facts.redactor.learn(resolution.secrets())
    facts.resolution = resolution
    if not errors:
        yield ok(f"{amount(len(resolution.variables), 'variable')} have a value")
    for error in errors:
        yield fail(_explained(error, found))
    for text in resolution.warnings:
        yield warn(text, "see `delphi-agent explain NAME`")


def _found(facts: Facts, deadline: Deadline) -> Lookups:
    """What both sources gave, and the external secrets whose ARN is itself such a value."""
    late = facts.found.asked and external.has_late_ids(facts.manifest, facts.bootstrap)
    found = look_up(facts, deadline, facts.parameters) if late else facts.found
    return Lookups(
        asked=found.asked,
        path=found.path,
        prefix=found.prefix,
        parameters=facts.parameters,
        secrets=found.secrets,
        externals=found.externals,
        list_denied=found.list_denied,
    )


def _explained(error: AgentError, found: Lookups) -> AgentError:
    """Where nothing is seeded at all, that is the cause, and not each variable."""
    if not isinstance(error, UnresolvedError) or not found.asked or found.parameters:
        return error
    return UnresolvedError(
        error.doing, f"0 parameters under {found.path}, and {error.cause}", NOT_SEEDED, details=error.details
    )


def collector(facts: Facts, deadline: Deadline) -> Iterator[Line]:
    """The backend of telemetry takes connections; a role runs without it, blind."""
    declared = facts.manifest.by_name().get(_COLLECTOR)
    value = facts.bootstrap.variables.get(_COLLECTOR) or (declared.default if declared else None) or ""
    if facts.resolution is not None:
        value = facts.resolution.environment.get(_COLLECTOR, Secret(value)).reveal()
    if not value:
        yield ok(f"{_COLLECTOR} is not used here")
        return
    why = connect(value, _COLLECTOR_PORT, deadline)
    if not why:
        yield ok(f"{_COLLECTOR} takes connections at port {_COLLECTOR_PORT}")
        return
    name = f"{_COLLECTOR} (still the default)" if value == _COLLECTOR_DEFAULT else _COLLECTOR
    yield warn(
        f"{name} does not take connections at port {_COLLECTOR_PORT}: {why}",
        "SigNoz is not up, or has another private address: set OTEL_BACKEND_HOST to it, and look at its security group",
    )
