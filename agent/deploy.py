"""The second half of a run, from everything at hand to a verdict: applied, started, verified, or taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.errors import AgentError, DeployFailed, Interrupted
from agent.report.record import Ending
from agent.restore import restore, take_back_files
from agent.run import Run
from agent.stages.bundle import apply_bundle, erase_left_over
from agent.stages.health import leave_alone, start
from agent.stages.host import Cloud
from agent.stages.project import compare, label, open_project, read_model
from agent.stages.release import UNCHANGED, VERIFIED, ending, keep_failure, keep_release, prune_images
from agent.stages.values import Values
from agent.steps.bootstrap import Bootstrap
from agent.steps.compose import Model
from agent.steps.project import Project
from agent.steps.stage import Staged
from agent.steps.state import Release, State


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything that a deploy needs; nothing live has changed for it.

    `attempt` is the release that it will be once it is verified, `changes` (old and new value by name) are then to be
    written to the bootstrap file. `staged` is None when the live bundle is used.
    """

    bootstrap: Bootstrap
    changes: Mapping[str, tuple[str, str]]
    cloud: Cloud
    kept: State
    staged: Staged | None
    values: Values
    project: Project
    model: Model
    attempt: Release


def deploy(run: Run, made: Prepared) -> Ending:
    """Change the host to what is prepared, and see every service healthy.

    What fails before a container was touched puts the files back and is raised as it is. What fails after that ends
    with the release before, restored and verified (exit 75), or raises `DeployFailed` (76), which says why not.
    """
    try:
        kept = apply_bundle(run, made.staged, made.kept)
        erase_left_over(run, made.bootstrap)
        project, model = made.project, made.model
        if made.staged is not None and made.staged.differs:
            project = open_project(run, made.bootstrap, made.values.resolution, None)
            model = read_model(run, project, "model-live")
        project = label(run, project, model, kept, staged=made.staged)
        seen = compare(run, project, model)
    except (AgentError, Interrupted):
        take_back_files(run)
        raise
    checks = made.values.manifest.checks
    try:
        if seen.settled:
            outcome, deployed = UNCHANGED, leave_alone(run, project, model, seen, checks)
        else:
            outcome, deployed = VERIFIED, start(run, project, model, seen, checks)
    except (AgentError, Interrupted) as error:
        return _give_back(run, made, error)
    run.see_through()
    kept = keep_release(run, made.attempt, kept, staged=made.staged, deployed=deployed, changes=made.changes)
    prune_images(run, model, kept)
    return ending(outcome, kept, deployed, made.values.difference)


def keep_restored(run: Run, made: Prepared) -> Ending:
    """This very release has failed before and was taken back: see that the one before it still runs, and say so."""
    failed = made.kept.failed
    assert failed is not None  # noqa: S101 - the caller has compared it
    error = DeployFailed(
        f"starting {failed.release.ref}, tag {failed.release.tag}",
        f"it failed at {failed.at} and is not tried again: {failed.cause}",
        "correct the bundle, the image or the values; or try the same again: `delphi-agent init --retry`",
    )
    return _give_back(run, made, error)


def _give_back(run: Run, made: Prepared, error: AgentError | Interrupted) -> Ending:
    """Restore the last verified release where that can help and is wanted; the ending tells both stories."""
    run.see_through()
    failure = _as_failure(error)
    reason = _why_not(run, made)
    if reason:
        raise _not_restored(failure, reason) from error
    try:
        ended = restore(run, made.bootstrap, made.cloud, values=made.values, attempt=made.attempt, failure=failure)
    except AgentError as second:
        number = made.kept.current.number if made.kept.current else 0
        raise _not_restored(failure, f"restoring release {number} failed: {second}", second) from error
    if not isinstance(error, Interrupted):
        # A signal says nothing against the release: the next run may try it.
        keep_failure(run, made.attempt, failure)
    return ended


def _as_failure(error: AgentError | Interrupted) -> AgentError:
    if isinstance(error, Interrupted):
        return DeployFailed(
            "starting the services",
            f"stopped by {error.signal.name} before they were seen healthy",
            "run `delphi-agent init` again: it goes on from here",
        )
    return error


def _why_not(run: Run, made: Prepared) -> str:
    """Why the release before is not restored; empty when it can be."""
    current = made.kept.current
    if run.options.no_rollback:
        return "--no-rollback was given"
    if made.values.manifest.irreversible:
        return "vars.yaml says `irreversible: true`: what this release does at its start cannot be taken back"
    if current is None:
        return "no release was verified on this host before"
    if current.role != made.bootstrap.role:
        return f"the release before was of the role {current.role}"
    if current.starts_like(made.attempt):
        names = made.values.difference.names
        since = f"; of its values changed since: {', '.join(names)}" if names else ""
        return f"it is release {current.number} itself, verified at {current.verified_at}{since}"
    return ""


def _not_restored(failure: AgentError, reason: str, second: AgentError | None = None) -> DeployFailed:
    details = [*failure.details, f"not restored: {reason}"]
    if second is not None:
        details += [*second.details, f"next for that: {second.next_step}"]
    return DeployFailed(failure.doing, failure.cause, failure.next_step, details=details)
