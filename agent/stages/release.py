"""The end of a run: the release recorded, images pruned, traces removed, the verdict."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Literal

from agent.errors import AgentError
from agent.host import files
from agent.host.paths import Paths
from agent.report.record import Ending, ServiceLine
from agent.report.words import amount
from agent.run import Run
from agent.stages.health import Deployed
from agent.steps import apply as applying
from agent.steps import (
    release,
    stage,
)
from agent.steps.bootstrap import Bootstrap
from agent.steps.bundle import COMMON
from agent.steps.compose import Model
from agent.steps.fingerprints import Difference, Fingerprints
from agent.steps.stage import Staged
from agent.steps.state import Release, State

Outcome = Literal["verified", "unchanged"]
VERIFIED: Outcome = "verified"
UNCHANGED: Outcome = "unchanged"


def keep_release(
    run: Run,
    loaded: Bootstrap,
    slug: str | None,
    kept: State,
    *,
    staged: Staged | None,
    deployed: Deployed,
    values: Fingerprints,
) -> State:
    """Record what was seen healthy, remove what only the former bundle brought, and images that nobody needs."""
    paths = run.host.paths
    with run.step("record", "recording the release") as step:
        tops = {loaded.role, COMMON}
        others = {path: file for path, file in kept.applied.items() if path.partition("/")[0] not in tops}
        bundle = dict(kept.applied) if staged is None else dict(staged.files)
        made = Release(
            number=0,
            role=loaded.role,
            slug=slug or (kept.current.slug if kept.current else ""),
            ref=loaded.ref,
            tag=loaded.tag,
            bundle=stage.digest_of(bundle),
            images={item.service: item.container.image for item in deployed.health if item.container},
            verified_at=run.host.clock.now().isoformat(timespec="seconds"),
            values=values,
        )
        if staged is not None:
            applying.remove(staged.removed, paths.services)
        kept = release.record(
            paths.state, replace(kept, applied={**others, **bundle}), made, paths.role(loaded.role) / ".ecr-tag"
        )
        step.detail = f"release {kept.current.number}" if kept.current else ""
    return kept


def prune_images(run: Run, model: Model, kept: State) -> None:
    """Remove unused images of this project; a failure here is told, it does not undo a verified deploy."""
    with run.step("prune", "removing unused images") as step:
        try:
            gone = release.prune(run.engine, kept, model.images)
        except AgentError as error:
            step.detail = "failed"
            run.warn("prune.failed", f"{error}; next: {error.next_step}")
        else:
            step.detail = f"{amount(len(gone), 'image')} removed"


def clean_up(paths: Paths) -> None:
    """Whatever happened: the registry token is erased and the staged tree is gone. Never raises."""
    with contextlib.suppress(AgentError):
        files.erase_folder(paths.docker_config)
    with contextlib.suppress(AgentError):
        stage.discard(paths.staging)


def ending(outcome: Outcome, kept: State, deployed: Deployed, difference: Difference) -> Ending:
    """The verdict that the run ends with."""
    current = kept.current
    number = f"release {current.number} ({current.ref}, tag {current.tag})" if current else "the release"
    done = "nothing changed, nothing was started" if outcome == "unchanged" else "every service was seen healthy"
    return Ending(
        outcome=outcome,
        exit_code=0,
        text=f"{number}: {done}",
        release=None if current is None else {**current.shown(), "changed_variables": difference.names},
        services=service_lines(deployed),
    )


def service_lines(deployed: Deployed) -> list[ServiceLine]:
    """The services for the summary: state, and what was done to their container."""
    lines = []
    for item in deployed.health:
        what = deployed.actions.get(item.container.name, "unchanged") if item.container else ""
        lines.append(ServiceLine(item.service, item.state, what))
    return lines
