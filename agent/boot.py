"""The whole of `delphi-agent init`, first boot or rerun, in one function that reads aloud (contract section 5)."""

from __future__ import annotations

from agent.deploy import Prepared, deploy, keep_restored
from agent.host.side_by_side import SideBySide
from agent.report.record import Ending
from agent.run import Run, without_images
from agent.stages import ahead
from agent.stages.bundle import mend
from agent.stages.engine import reach_engine, reach_engine_if_down, settle_engine
from agent.stages.fetching import fetch, fetch_release, look_at_live
from agent.stages.host import (
    Cloud,
    finish_bootstrap,
    identify,
    load_bootstrap,
    locked,
    recall,
    warn_of_former_role,
    write_bootstrap,
)
from agent.stages.host_files import LATE_SECONDS, expect_mounts, keep_declared, plan_files
from agent.stages.images import names_kept, pull_images, put_back_images, to_pull
from agent.stages.probes import expect_possible
from agent.stages.project import expect_one_project, open_project, read_model, rehearse
from agent.stages.registry import log_in, reach_registry, write_docker_config
from agent.stages.release import attempt_of, clean_up
from agent.stages.values import resolve_values
from agent.steps.state import State
from agent.target import Aim, Target, as_it_says

_REACHING = "reaching the Docker engine"


def boot(run: Run, aim: Aim = as_it_says) -> Ending:
    """Take the instance from its bootstrap file to services that were seen healthy.

    Up to `deploy` nothing live changes (but the engine's log limits and proxy); whatever is raised until then leaves
    the host as it was. Returns only when every service is healthy, of the new release or (exit code 75) of the one
    before.
    """
    with locked(run):
        try:
            bootstrap = load_bootstrap(run, writes=aim is as_it_says)
            cloud = identify(run, bootstrap)
            kept = mend(run, recall(run, cloud, repair=True))
            bootstrap, kept = finish_bootstrap(run, bootstrap, kept)
            target = aim(bootstrap, kept)
            with names_kept(run, kept, target.back_to):
                made = prepare(run, cloud, kept, target)
                failed = None if target.asked or run.options.retry else kept.failed
                if failed is not None and failed.is_again(made.attempt):
                    return keep_restored(run, made, failed)
                differs = made.staged is not None and made.staged.differs
                rehearsed = rehearse(run, made.project, made.model) if differs else None

                # The apply point: from here on the host changes.
                ending = deploy(run, made, rehearsed)
            if ending.exit_code == 0 and target.changes:
                write_bootstrap(run)
            return ending
        finally:
            clean_up(run.host.paths)


def prepare(run: Run, cloud: Cloud, kept: State, target: Target) -> Prepared:
    """Have everything at hand that the deploy needs: bundle staged, values resolved, images pulled."""
    bootstrap = target.bootstrap
    warn_of_former_role(run, bootstrap, kept)
    with SideBySide(run.deadline) as jobs:
        registry = jobs.start("logging in to the registry", lambda: reach_registry(run, bootstrap, cloud, kept))
        reached = jobs.start(_REACHING, lambda: reach_engine_if_down(run))
        if target.back_to is not None:
            fetched = fetch_release(run, bootstrap, cloud, kept, target.back_to)
        elif run.options.skip_fetch:
            fetched = look_at_live(run, bootstrap, cloud)
        else:
            fetched = fetch(run, bootstrap, cloud, kept)

    fetched = keep_declared(fetched, bootstrap.role)
    expect_mounts(run, fetched.manifest, patience=LATE_SECONDS)
    values = resolve_values(run, bootstrap, cloud, kept=kept, parsed=fetched.manifest, found=fetched.found)
    brought = kept.applied if fetched.staged is None else fetched.staged.files
    ready = plan_files(run, bootstrap.role, fetched.manifest, values.resolution, brought)
    access = registry.result()
    write_docker_config(run, access.login)
    if access.tags is not None and fetched.staged is not None and fetched.staged.differs:
        # Who pushes an image, and then uploads the bundle that needs it, relies on that order.
        access.tags.forget()
    project = open_project(run, bootstrap, values.resolution, fetched.staged)
    with SideBySide(run.deadline) as jobs:
        engine = jobs.start(_REACHING, lambda: reached.result() or reach_engine(run))
        model = read_model(run, project)
    expect_one_project(run, bootstrap, kept, model)
    expect_possible(project, model, fetched.manifest)
    settle_engine(run, engine.result(), bootstrap)

    def log_in_again() -> None:
        write_docker_config(run, log_in(run, bootstrap, cloud))

    looked = None
    if target.back_to is not None:
        put_back_images(run, project, target.back_to, log_in_again)
        pull_images(without_images(run), project, model, {}, log_in_again)
    elif (wanted := to_pull(run, model, access.tags)) and ahead.is_worth_it(run, kept, fetched.staged, ready):
        with SideBySide(run.deadline) as jobs:
            looking = jobs.start(
                "comparing the project with what runs", lambda: ahead.look(run, project, model, kept, fetched)
            )
            pull_images(run, project, model, wanted, log_in_again)
        looked = ahead.unless_they_changed(run, model, looking.result())
    else:
        pull_images(run, project, model, wanted, log_in_again)
    return Prepared(
        bootstrap=bootstrap,
        changes=target.changes,
        cloud=cloud,
        kept=kept,
        staged=fetched.staged,
        files=ready,
        values=values,
        project=project,
        model=model,
        back_to=target.back_to.number if target.back_to else None,
        ahead=looked,
        attempt=attempt_of(run, bootstrap, fetched, kept=kept, values=values, model=model),
    )
