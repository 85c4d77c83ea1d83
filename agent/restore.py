"""Going back to the last verified release after a deploy that was not seen healthy."""

from __future__ import annotations

from dataclasses import replace

from agent.errors import AgentError, Interrupted, RestoredError, UnreachableError, UnresolvedError, combine
from agent.host.clock import Deadline
from agent.report.record import Ending
from agent.run import Options, Run, without_images
from agent.stages.bundle import read_live_manifest, take_back
from agent.stages.engine import reach_engine
from agent.stages.health import leave_alone, start
from agent.stages.hooks import run_post_up, run_pre_up
from agent.stages.host import Cloud
from agent.stages.host_files import expect_mounts, plan_files, write_files
from agent.stages.images import put_back_images
from agent.stages.project import compare, label, open_project, read_model
from agent.stages.registry import log_in, write_docker_config
from agent.stages.release import close_transaction, remove_strangers, service_lines
from agent.stages.values import Values, look_up, settle
from agent.steps import fingerprints, state
from agent.steps.bootstrap import Bootstrap
from agent.steps.records import Release
from agent.variables.manifest import Manifest
from agent.variables.resolution import Resolution

# Of its own: a deploy that has used up the run's deadline is the one that most needs to be taken back.
RESERVE_SECONDS = 120.0
# Of it, for values of a former manifest: the rest is for starting it.
LOOK_AGAIN_SECONDS = 10.0


def take_back_files(run: Run, error: AgentError | Interrupted) -> None:
    """Put the bundle's files back that an open transaction has replaced; no container has seen the new ones.

    `error` is why; when the undoing fails too, both are told.
    """
    run.see_through()
    kept, _ = state.load(run.host.paths.state, None)
    if kept.journal is None:
        return
    try:
        take_back(run, kept)
    except AgentError as second:
        raise (combine([error, second]) if isinstance(error, AgentError) else second) from error


def restore(
    run: Run, bootstrap: Bootstrap, cloud: Cloud, *, values: Values, attempt: Release, failure: AgentError
) -> Ending:
    """Put files, tag, ref and images of the last verified release back, start it with today's values, see it healthy.

    The ending has exit code 75 and tells `failure` with its evidence. Raises an `AgentError` when it cannot be done.
    """
    deadline = Deadline.after(run.host.clock, RESERVE_SECONDS)
    run = replace(run, deadline=deadline, engine=run.engine.until(deadline), options=Options())
    kept, _ = state.load(run.host.paths.state, None)
    release = kept.current
    assert release is not None  # noqa: S101 - the caller has seen to it
    if kept.journal is not None or kept.started is not None:
        run.warn("restore.started", f"{failure}: going back to release {release.number} ({release.ref}, {release.tag})")
    # Before any file: an engine that does not come back would leave old files under new containers.
    reach_engine(run)
    kept = take_back(run, kept)
    bootstrap = bootstrap.changed({"CONFIG_REF": release.ref, "ECR_TAG": release.tag})
    manifest = read_live_manifest(run, bootstrap)
    resolution = _resolve_again(run, bootstrap, cloud, manifest, values)
    expect_mounts(run, manifest)
    ready = plan_files(run, bootstrap.role, manifest, resolution, kept.applied)
    kept = write_files(run, bootstrap.role, manifest, ready, kept)
    project = open_project(run, bootstrap, resolution, None)
    put_back_images(run, project, release, lambda: write_docker_config(run, log_in(run, bootstrap, cloud)))
    run = without_images(run)
    model = read_model(run, project)
    project = label(run, project, model, kept, declared=manifest.files)
    seen = compare(run, project, model)
    if seen.settled:
        deployed = leave_alone(run, project, model, seen, manifest.checks)
    else:
        run_pre_up(run, project)
        deployed = start(run, project, model, seen, manifest.checks)
        run_post_up(run, project)
    remove_strangers(run, model)
    close_transaction(run)
    now = fingerprints.take(fingerprints.make_key(run.host.paths.state), resolution.environment)
    changed = fingerprints.compare(release.values, now).names
    today = f"; values that are not those of then: {', '.join(changed)}" if changed else ""
    error = RestoredError(failure.doing, failure.cause, _NEXT, details=failure.details)
    return Ending(
        outcome="restored",
        exit_code=error.exit_code,
        text=f"release {release.number} ({release.ref}, tag {release.tag}) is back and every service was seen healthy;"
        f" {_named(attempt, release)} is not deployed{today}",
        errors=(error,),
        release=release.shown(),
        services=service_lines(deployed),
    )


def _named(attempt: Release, release: Release) -> str:
    """The release that failed, in words that tell it from the one that is back."""
    if (attempt.ref, attempt.tag) != (release.ref, release.tag):
        return f"{attempt.ref}, tag {attempt.tag}"
    return "what that ref and tag hold now"


def _resolve_again(run: Run, bootstrap: Bootstrap, cloud: Cloud, manifest: Manifest, values: Values) -> Resolution:
    """Today's values for the former manifest; when AWS does not answer, from what this run has read already.

    It is asked again only where the manifest is another one, and not for long: AWS may be what failed.
    """
    if manifest == values.manifest:
        return settle(run, bootstrap, cloud, manifest, values.found)
    share = run.deadline.share(LOOK_AGAIN_SECONDS)
    try:
        found = look_up(replace(run, deadline=share), bootstrap, cloud, manifest)
    except AgentError as error:
        silent = all(isinstance(part, UnreachableError) for part in error.parts())
        if not silent or manifest.service != values.manifest.service:
            raise
        run.warn("restore.values", f"{error}; the values that this run has read before are used")
        try:
            return settle(run, bootstrap, cloud, manifest, values.found)
        except UnresolvedError as second:
            # What has no value might have one at AWS: both are the reason.
            raise combine([error, second]) from error
    return settle(run, bootstrap, cloud, manifest, found)


_NEXT = (
    "correct the bundle, the image or the values, and deploy again; the same release is not tried again unless"
    " something changed or `--retry` is given"
)
