"""The second half of a run, from everything at hand to a verdict: applied, started, verified, or taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.dataclass import dataclass
from agent.errors import AgentError, ComposeFileError, DeployFailed, HostError, Interrupted, UnreachableError
from agent.report.record import Ending
from agent.restore import restore, take_back_files
from agent.run import Run
from agent.stages.ahead import Ahead
from agent.stages.bundle import apply_bundle, erase_left_over
from agent.stages.health import leave_alone, start
from agent.stages.hooks import run_post_up, run_pre_up
from agent.stages.host import Cloud
from agent.stages.host_files import write_files
from agent.stages.project import Comparison, compare, label, open_project, read_model
from agent.stages.release import UNCHANGED, VERIFIED, ending, keep_failure, keep_release, keep_started, prune_images
from agent.stages.values import Values
from agent.steps.bootstrap import Bootstrap
from agent.steps.compose import Model, Plan
from agent.steps.host_files import Ready
from agent.steps.project import Project
from agent.steps.records import Failed, Release
from agent.steps.stage import Staged
from agent.steps.state import State


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything that a deploy needs; nothing live has changed for it.

    `attempt` is the release that it will be once it is verified, `changes` (old and new value by name) are then to be
    written to the bootstrap file; `back_to` is the release that a rollback aims at. `staged` is None when the live
    bundle is used, `files` are made from variables, `ahead` is what was compared already.
    """

    bootstrap: Bootstrap
    changes: Mapping[str, tuple[str, str]]
    cloud: Cloud
    kept: State
    staged: Staged | None
    files: tuple[Ready, ...]
    values: Values
    project: Project
    model: Model
    attempt: Release
    back_to: int | None = None
    ahead: Ahead | None = None

    @property
    def seen(self) -> Comparison | None:
        """The comparison with what runs, where one was made that still holds."""
        return self.ahead.seen if self.ahead is not None and self.ahead.holds(self.attempt.references) else None


def deploy(run: Run, made: Prepared, rehearsed: Plan | None = None) -> Ending:
    """Change the host to what is prepared, whose start may have been `rehearsed`, and see every service healthy.

    What fails before a container was touched puts the files back and is raised as it is. What fails after that ends
    with the release before, restored and verified (exit 75), or raises `DeployFailed` (76), which says why not.
    """
    try:
        kept = apply_bundle(run, made.bootstrap.role, made.staged, made.kept)
        kept = write_files(run, made.bootstrap.role, made.values.manifest, made.files, kept)
        erase_left_over(run, made.bootstrap)
        project, model = made.project, made.model
        if made.staged is not None and made.staged.differs:
            project = open_project(run, made.bootstrap, made.values.resolution, None)
            model = read_model(run, project, "model-live")
            expect_same(made.model, model)
        project = label(run, project, model, kept, staged=made.staged, declared=made.values.manifest.files)
        seen = compare(run, project, model, made.seen, rehearsed)
        if not seen.settled:
            run_pre_up(run, project, made.staged)
    except (AgentError, Interrupted) as error:
        take_back_files(run, error)
        raise
    checks = made.values.manifest.checks
    try:
        if seen.settled:
            outcome, deployed = UNCHANGED, leave_alone(run, project, model, seen, checks)
            if made.kept.started is not None:
                # It was started by a run that did not come to the end of it.
                _finish_start(run, made, project)
        else:
            kept = keep_started(run, kept, made.attempt, made.back_to)
            outcome, deployed = VERIFIED, start(run, project, model, seen, checks)
            _finish_start(run, made, project)
    except (AgentError, Interrupted) as error:
        if seen.settled and made.kept.started is None and isinstance(error, UnreachableError):
            # Nothing was started: there is no deploy that could have failed.
            take_back_files(run, error)
            raise
        return _give_back(run, made, error)
    run.see_through()
    kept = keep_release(
        run,
        made.attempt,
        kept,
        staged=made.staged,
        deployed=deployed,
        model=model,
        manifest=made.values.manifest,
        changes=made.changes,
    )
    prune_images(run, model, kept)
    return ending(outcome, kept, deployed, made.values.difference)


def _finish_start(run: Run, made: Prepared, project: Project) -> None:
    """The hooks after the start; one that fails is a failed deploy."""
    try:
        run_post_up(run, project, made.staged)
    except HostError as error:
        raise DeployFailed(error.doing, error.cause, error.next_step, details=error.details) from error


def keep_restored(run: Run, made: Prepared, failed: Failed) -> Ending:
    """This very release has failed before and was taken back: see that the one before it still runs, and say so."""
    if failed.left:
        return _keep_chosen(run, made, failed)
    error = DeployFailed(
        f"starting {failed.release.ref}, tag {failed.release.tag}",
        f"it failed at {failed.at} and is not tried again: {failed.cause}",
        "correct the bundle, the image or the values; or try the same again: `delphi-agent init --retry`",
    )
    # Nothing was deployed that an operator could want left as it is.
    return _give_back(replace(run, options=replace(run.options, no_rollback=False)), made, error)


def _keep_chosen(run: Run, made: Prepared, failed: Failed) -> Ending:
    """An operator went back from this release: the chosen one is kept, and that is no failure."""
    text = f"an operator went back from {failed.release.ref}, tag {failed.release.tag}, at {failed.at}"
    nothing = DeployFailed("deploying what the bootstrap file says", text, "to deploy it after all: `init --retry`")
    run.warn("release.left", f"{text}: it is not deployed; `delphi-agent init --retry` does")
    ended = restore(run, made.bootstrap, made.cloud, values=made.values, attempt=made.attempt, failure=nothing)
    return replace(ended, outcome=UNCHANGED, exit_code=0, errors=())


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
        why = "; ".join(str(part) for part in second.parts())
        raise _not_restored(failure, f"restoring release {number} failed: {why}", second) from error
    went_away = isinstance(error.__cause__, UnreachableError)
    if isinstance(error, DeployFailed) and run.deadline.left() > 0 and not went_away:
        # A signal, an engine that went away, or too short a deadline says nothing against the release.
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
    if run.options.no_rollback:
        return "--no-rollback was given"
    return _one_way(made) or _nowhere_to_go(made)


def _one_way(made: Prepared) -> str:
    started = made.kept.started
    if made.values.manifest.irreversible:
        return "vars.yaml says `irreversible: true`: what this release does at its start cannot be taken back"
    if started is not None and started.irreversible:
        says = "whose vars.yaml says `irreversible: true`: what it did cannot be taken back"
        return f"{started.text} was started before, {says}"
    return ""


def _nowhere_to_go(made: Prepared) -> str:
    current = made.kept.current
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
    next_step = failure.next_step
    if second is not None:
        for part in second.parts():
            details += [*part.details, f"next for that: {part.next_step}"]
        next_step = "see to what stopped the restoring, then `delphi-agent init`, or `delphi-agent rollback --to N`"
    return DeployFailed(failure.doing, failure.cause, next_step, details=details)


def expect_same(staged: Model, live: Model) -> None:
    """Raise when the files in place make another project than the staged ones: nothing has been started yet."""
    mine, other = ({(item.name, item.image, item.replicas) for item in model.services} for model in (staged, live))
    if mine != other:
        names = ", ".join(sorted({name for name, *_ in mine ^ other}))
        raise ComposeFileError(
            "reading the compose files where they now are",
            f"with what this host has beside them they make another project than the bundle alone: {names}",
            "see which file of the host's own Compose reads there (an override file?), and move it away",
        )
