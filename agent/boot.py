"""The whole of `delphi-agent init`, first boot or rerun, in one function that reads aloud (contract section 5)."""

from __future__ import annotations

from agent.host.side_by_side import SideBySide
from agent.report.record import Ending
from agent.run import Run
from agent.stages.bundle import apply_bundle, erase_left_over, find_bundle, read_live_manifest, stage_bundle
from agent.stages.health import leave_alone, start
from agent.stages.host import (
    identify,
    load_bootstrap,
    locked,
    log_in,
    reach_engine,
    recall,
    rotate_logs,
    warn_of_former_role,
    write_docker_config,
)
from agent.stages.images import pull_images
from agent.stages.project import compare, label, open_project, read_model, rehearse
from agent.stages.release import UNCHANGED, VERIFIED, clean_up, ending, keep_release, prune_images
from agent.stages.values import compare_values, look_up, settle


def boot(run: Run) -> Ending:
    """Take the instance from its bootstrap file to services that were seen healthy.

    Up to `apply_bundle` nothing live changes (but the engine's log limits); whatever is raised until then leaves the
    host as it was. Returns only when every service is healthy; raises an `AgentError` otherwise.
    """
    paths, options = run.host.paths, run.options
    with locked(run):
        try:
            bootstrap = load_bootstrap(run)
            cloud = identify(run, bootstrap)
            kept = recall(run, cloud)
            warn_of_former_role(run, bootstrap, kept)

            with SideBySide(run.deadline) as jobs:
                login = jobs.start("logging in to the registry", lambda: log_in(run, bootstrap, cloud))
                engine = jobs.start("reaching the Docker engine", lambda: reach_engine(run))
                if options.skip_fetch:
                    listing, manifest = None, read_live_manifest(run, bootstrap)
                else:
                    finding = f"finding the bundle in s3://{bootstrap.bucket}"
                    listing, manifest = jobs.start(finding, lambda: find_bundle(run, bootstrap, cloud)).result()
                found = jobs.start("reading values", lambda: look_up(run, bootstrap, cloud, manifest))
                staged = None
                if listing is not None:
                    staged = stage_bundle(run, cloud, bootstrap, listing, kept)

            resolution = settle(run, bootstrap, cloud, manifest, found.result())
            values, difference = compare_values(run, kept, resolution)
            write_docker_config(run, login.result())
            project = open_project(run, bootstrap, resolution, staged)
            model = read_model(run, project)
            rotate_logs(run, engine.result())
            pull_images(run, project, model)
            if staged is not None and staged.differs:
                rehearse(run, project)

            # The apply point: from here on the host changes.
            kept = apply_bundle(run, staged, kept)
            erase_left_over(run, bootstrap)
            if staged is not None and staged.differs:
                project = open_project(run, bootstrap, resolution, None)
                model = read_model(run, project, "model-live")
            project = label(run, project, model, kept)
            seen = compare(run, project, model)
            if seen.settled:
                outcome, deployed = UNCHANGED, leave_alone(run, model, seen)
            else:
                outcome, deployed = VERIFIED, start(run, project, model)

            slug = listing.slug if listing is not None else None
            kept = keep_release(run, bootstrap, slug, kept, staged=staged, deployed=deployed, values=values)
            prune_images(run, model, kept)
            return ending(outcome, kept, deployed, difference)
        finally:
            clean_up(paths)
