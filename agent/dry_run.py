"""The steps of `plan`: as `init` up to the apply point, then a look at the differences; nothing live changes."""

from __future__ import annotations

from collections.abc import Mapping

from agent.dataclass import dataclass
from agent.run import Run
from agent.stages.fetching import Fetched, fetch, fetch_release, look_at_live
from agent.stages.foresight import Foreseen, foresee
from agent.stages.host import Cloud, identify, load_bootstrap, locked, recall
from agent.stages.host_files import expect_mounts, keep_declared, plan_files
from agent.stages.release import clean_up
from agent.stages.values import recorded_difference, settle
from agent.steps.fingerprints import Difference
from agent.steps.stage import Staged
from agent.steps.state import State
from agent.target import Aim, Target, as_it_says
from agent.variables.resolution import Resolution


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What `init` (or `update`, `rollback`: by its aim) would do.

    `staged` is None when the live bundle would be used. `release` has for ref and tag what is deployed (None: nothing)
    and what would be.
    """

    staged: Staged | None
    resolution: Resolution
    difference: Difference
    release: Mapping[str, tuple[str | None, str]]
    services: Foreseen

    @property
    def changes(self) -> bool:
        """Whether anything is known to change, or what is not known might."""
        bundle = self.staged is not None and self.staged.differs
        release = any(now != then for now, then in self.release.values())
        return bundle or release or not self.difference.known or self.difference.any or self.services.changes


def preview(run: Run, aim: Aim = as_it_says) -> Preview:
    """Stage the bundle, resolve the variables, compare both with what is deployed, throw the staged tree away."""
    with locked(run, status=False):
        try:
            bootstrap = load_bootstrap(run)
            cloud = identify(run, bootstrap)
            kept = recall(run, cloud)
            target = aim(bootstrap, kept)
            bootstrap = target.bootstrap
            fetched = keep_declared(_fetched(run, cloud, kept, target), bootstrap.role)
            expect_mounts(run, fetched.manifest)
            resolution = settle(run, bootstrap, cloud, fetched.manifest, fetched.found)
            brought = kept.applied if fetched.staged is None else fetched.staged.files
            plan_files(run, bootstrap.role, fetched.manifest, resolution, brought)
            current = kept.current
            return Preview(
                staged=fetched.staged,
                resolution=resolution,
                difference=recorded_difference(run, resolution),
                release={
                    "ref": (current.ref if current else None, bootstrap.ref),
                    "tag": (current.tag if current else None, bootstrap.tag),
                },
                services=foresee(run, bootstrap, fetched, resolution, kept),
            )
        finally:
            clean_up(run.host.paths)


def _fetched(run: Run, cloud: Cloud, kept: State, target: Target) -> Fetched:
    if target.back_to is not None:
        return fetch_release(run, target.bootstrap, cloud, kept, target.back_to)
    if run.options.skip_fetch:
        return look_at_live(run, target.bootstrap, cloud)
    return fetch(run, target.bootstrap, cloud, kept)
