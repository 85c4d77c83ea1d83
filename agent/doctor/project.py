"""The project on this host: mounts, containers and what they were started with, files that should not be there."""

from __future__ import annotations

import os
from collections.abc import Iterator

from agent.doctor.facts import Facts
from agent.doctor.line import Line, fail, ok, warn
from agent.errors import UnreachableError
from agent.host.clock import Deadline
from agent.host.engine_answers import Container
from agent.report.words import amount
from agent.steps import mounts as mount_points
from agent.variables.manifest import Manifest

_OLD_SCRIPTS = ("init.sh", "update.sh")


def mounts(facts: Facts) -> Iterator[Line]:
    """Block storage that the manifest names is mounted."""
    wanted = facts.manifest.mounts
    mount_points.expect(wanted, facts.host.paths.at)
    yield ok(f"mounted: {', '.join(item.path for item in wanted)}" if wanted else "the manifest names none")


def containers(facts: Facts, deadline: Deadline) -> Iterator[Line]:
    """The containers of the project are healthy, those that there are."""
    name = _project(facts)
    facts.containers = tuple(facts.engine.until(deadline).containers(name))
    for item in facts.containers:
        why = _unwell(item)
        if item.health == "starting":
            yield warn(f"{item.name} is starting", "delphi-agent status --wait")
        elif why:
            fix = f"docker logs {item.name}; then `delphi-agent init`"
            yield fail(UnreachableError(f"looking at container {item.name}", why, fix))
    if not facts.containers:
        yield ok(f"project {name} has no container yet")
    elif not any(_unwell(item) for item in facts.containers):
        yield ok(f"project {name}: {amount(len(facts.containers), 'container')} well")


def _project(facts: Facts) -> str:
    """The project that was deployed, which the bundle may have named; else what Compose would call the role's."""
    release, loaded = facts.release, facts.bootstrap
    if release is not None and release.role == loaded.role and release.project:
        return release.project
    return loaded.variables.get("COMPOSE_PROJECT_NAME") or loaded.role.lower()


def _unwell(item: Container) -> str:
    """What is wrong with a container as it is now; empty when nothing is."""
    if item.health == "unhealthy" or item.state in {"restarting", "dead", "paused"}:
        return "it is unhealthy" if item.health == "unhealthy" else f"it is {item.state}"
    if item.state == "exited" and (item.exit_code or item.restart_policy != "no"):
        return f"it has exited with {item.exit_code}"
    return ""


def blank(facts: Facts) -> Iterator[Line]:
    """No container runs without the values that are declared for its service."""
    resolution = facts.resolution
    if resolution is None or not facts.containers:
        yield ok("nothing to compare")
        return
    given = {name: bool(value) for name, value in resolution.environment.items()}
    found = {item.name: _blank_names(item, facts.manifest, given) for item in facts.containers}
    for name, missing in found.items():
        if missing:
            yield warn(
                f"{name} was started with blank values: {', '.join(missing)}; a `docker compose up` by hand does that,"
                " since the shell has no resolved values",
                "`delphi-agent init --restart-only`; by hand: `delphi-agent compose ...`, `delphi-agent exec -- ...`",
            )
    if not any(found.values()):
        yield ok("no container lacks a value")


def _blank_names(item: Container, manifest: Manifest, given: dict[str, bool]) -> list[str]:
    """The variables that have a value now and are empty in the container, or absent where they are declared for it."""
    meant = {variable.name for variable in manifest.variables if item.service in variable.containers}
    empty = {name for name, value in item.environment.items() if not value}
    absent = meant - item.environment.keys()
    return [
        variable.name for variable in manifest.variables if variable.name in empty | absent and given.get(variable.name)
    ]


def leftovers(facts: Facts) -> Iterator[Line]:
    """Files in the role's folder that work against the agent."""
    folder, role = facts.role_folder, facts.bootstrap.role
    shown = facts.host.paths.shown(folder)
    listed = facts.listing.entry if facts.listing else lambda _: None
    scripts = [name for name in _OLD_SCRIPTS if (folder / name).is_file() or listed(f"{role}/{name}")]
    if scripts:
        yield warn(
            f"{shown}: {', '.join(scripts)}: running one bypasses the agent's lock and records",
            "use `delphi-agent init` and `update`; take the scripts out of the bundle",
        )
    if os.path.lexists(folder / ".env"):
        yield warn(f"{shown}/.env: Compose would read it by itself", "`delphi-agent init` removes it")
    if not scripts and not os.path.lexists(folder / ".env"):
        yield ok("neither old scripts nor a left-over .env")
