"""The manifest's checks: seen to make sense before anything changes, run when the services are well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.errors import ManifestError, UnresolvedError
from agent.report import record
from agent.report.words import amount
from agent.run import Run
from agent.secret import Secret
from agent.steps import probes
from agent.steps.check import Check, is_address, is_url
from agent.steps.compose import Model
from agent.steps.probe import Around, Probe
from agent.steps.project import Project
from agent.steps.verify import Limit, Limits
from agent.variables.manifest import Manifest
from agent.variables.template import Template


def limits(checks: Sequence[Check]) -> Limits:
    """What the checks ask of services, for the wait until they are well."""
    return {check.target: Limit(check.within, check.stable) for check in checks if check.kind == "service"}


def expect_possible(opened: Project, model: Model, manifest: Manifest) -> None:
    """Raise for a check of a service that the project lacks (65), and for one that no value can be filled into (66).

    A service whose profile is not active is no fault: it is not waited for.
    """
    wanted = [check for check in manifest.checks if check.kind == "service"]
    known = {service.name for service in model.services}
    if not known.issuperset(check.target for check in wanted):
        from agent.compose_file import project_file  # noqa: PLC0415 - a dozen modules that few runs need

        known.update(service.name for service in project_file.read(opened.files).services)
    unknown = [check for check in wanted if check.target not in known]
    if unknown:
        raise ManifestError(
            f"reading the checks of {manifest.name}",
            f"no such service: {', '.join(check.target for check in unknown)}",
            f"name a service of the compose file: {', '.join(sorted(known))}",
            details=[_line(manifest, check, f"the project has no service {check.target}") for check in unknown],
        )
    faults = [(check, fault) for check in manifest.checks if (fault := _fault(check, opened.env))]
    if faults:
        raise UnresolvedError(
            f"filling in the checks of {manifest.name}",
            "; ".join(f"{check.name}: {fault}" for check, fault in faults),
            "see where the values come from: `delphi-agent explain NAME`",
            details=[_line(manifest, check, fault) for check, fault in faults],
        )


def _line(manifest: Manifest, check: Check, text: str) -> str:
    return f"{manifest.name}:{check.line}:{check.column}: {text}"


def _fault(check: Check, env: Mapping[str, Secret]) -> str:
    """Why a check cannot be run; empty when it can."""
    missing = [name for name in Template(check.target).names if not env.get(name)]
    if missing:
        return f"{', '.join(missing)} has no value"
    target = _filled(check, env).reveal()
    if check.kind == "http" and not is_url(target):
        return f"{check.target} is no URL once its variables are filled in"
    if check.kind == "tcp" and not is_address(target):
        return f"{check.target} is no HOST:PORT once its variables are filled in"
    return ""


def _filled(check: Check, env: Mapping[str, Secret]) -> Secret:
    return Secret(Template(check.target).render(lambda name: env[name].reveal()))


def run_checks(run: Run, opened: Project, checks: Sequence[Check]) -> None:
    """Run all that ask something themselves; `DeployFailed` with what was seen of those that did not pass."""
    asking = [check for check in checks if check.kind != "service"]
    if not asking:
        return
    with run.step("checks", "running the bundle's checks") as step:
        ready = [
            Probe(check=check, target=_filled(check, opened.env), within=check.within or run.deadline.left())
            for check in asking
        ]
        around = Around(run.host.commands, opened.folder, opened.env, run.redactor.clean)
        probes.run(ready, around, run.deadline, lambda text: record.progress(waiting_for=text))
        step.detail = f"{amount(len(ready), 'check')} passed"
