"""The steps of `plan`: as `init` up to the apply point, then a look at the differences; nothing live changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.host.side_by_side import SideBySide
from agent.run import Run
from agent.stages.bundle import find_bundle, stage_bundle
from agent.stages.host import identify, load_bootstrap, locked, recall
from agent.stages.release import clean_up
from agent.stages.values import look_up, recorded_difference, settle
from agent.steps.fingerprints import Difference
from agent.steps.stage import Staged
from agent.variables.resolution import Resolution


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What `init` would do. `release` has for ref and tag what is deployed (None: nothing) and what would be."""

    staged: Staged
    resolution: Resolution
    difference: Difference
    release: Mapping[str, tuple[str | None, str]]


def preview(run: Run) -> Preview:
    """Stage the bundle, resolve the variables, compare both with what is deployed, throw the staged tree away."""
    with locked(run, status=False):
        try:
            bootstrap = load_bootstrap(run)
            cloud = identify(run, bootstrap)
            kept = recall(run, cloud)
            with SideBySide(run.deadline) as jobs:
                finding = f"finding the bundle in s3://{bootstrap.bucket}"
                listing, manifest = jobs.start(finding, lambda: find_bundle(run, bootstrap, cloud)).result()
                found = jobs.start("reading values", lambda: look_up(run, bootstrap, cloud, manifest))
                staged = stage_bundle(run, cloud, bootstrap, listing, kept)
            resolution = settle(run, bootstrap, cloud, manifest, found.result())
            current = kept.current
            return Preview(
                staged=staged,
                resolution=resolution,
                difference=recorded_difference(run, resolution),
                release={
                    "ref": (current.ref if current else None, bootstrap.ref),
                    "tag": (current.tag if current else None, bootstrap.tag),
                },
            )
        finally:
            clean_up(run.host.paths)
