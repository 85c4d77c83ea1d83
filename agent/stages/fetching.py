"""What a run needs from AWS before it can decide anything: the bundle, staged, and the values that it asks for."""

from __future__ import annotations

from collections.abc import Callable

from agent.aws.s3 import BundleMoved
from agent.dataclass import dataclass
from agent.errors import AgentError
from agent.host.side_by_side import Job, SideBySide, within
from agent.run import Run
from agent.stages.bundle import find_bundle, live_manifest, read_live_manifest, stage_bundle, stage_release
from agent.stages.host import Cloud
from agent.stages.values import look_up, look_up_early
from agent.steps.bootstrap import Bootstrap
from agent.steps.bundle import MANIFEST, Listing
from agent.steps.records import Release
from agent.steps.stage import Staged
from agent.steps.state import State
from agent.variables.lookup import Lookups
from agent.variables.manifest import Manifest

_READING = "reading values"


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """One bundle, its manifest, and what AWS has for that manifest.

    The live bundle (`--skip-fetch`) has neither a slug nor anything staged.
    """

    slug: str | None
    staged: Staged | None
    manifest: Manifest
    found: Lookups


@dataclass(frozen=True, kw_only=True)
class FetchedBundle(Fetched):
    """What was found in the bucket and staged."""

    slug: str
    staged: Staged


def fetch(run: Run, bootstrap: Bootstrap, cloud: Cloud, kept: State) -> FetchedBundle:
    """Find and stage the bundle while the values of its manifest are read; all of it belongs to one listing.

    When the bundle is replaced meanwhile, all is done again once, manifest and values included; the second time it is
    told (69).
    """
    return _of_one_listing(run, lambda: _fetch(run, bootstrap, cloud, kept))


def fetch_files(run: Run, bootstrap: Bootstrap, cloud: Cloud, kept: State) -> FetchedBundle:
    """The bundle alone, found and staged as by `fetch`: no value is read."""

    def once() -> FetchedBundle:
        listing, manifest = find_bundle(run, bootstrap, cloud, kept.applied)
        staged = stage_bundle(run, cloud, bootstrap, listing, kept)
        return FetchedBundle(slug=listing.slug, staged=staged, manifest=manifest, found=Lookups())

    return _of_one_listing(run, once)


def _of_one_listing(run: Run, once: Callable[[], FetchedBundle]) -> FetchedBundle:
    try:
        return once()
    except AgentError as error:
        moved = [part for part in error.parts() if isinstance(part, BundleMoved)]
        if not moved:
            raise
        # What else went wrong belongs to a bundle that is no longer there.
        run.warn("bundle.moved", f"{moved[0]}; starting over with what is there now")
    return once()


def _fetch(run: Run, bootstrap: Bootstrap, cloud: Cloud, kept: State) -> FetchedBundle:
    known = live_manifest(run, bootstrap, kept)

    def is_as_before() -> bool:
        return known is not None and _is_live(told, known[1], kept)

    with SideBySide(run.deadline) as jobs:
        finding = f"finding the bundle in s3://{bootstrap.bucket}"
        told = jobs.start(finding, lambda: find_bundle(run, bootstrap, cloud, kept.applied, known))
        found = None
        if known is not None:
            guess = known[1]
            found = jobs.start(_READING, lambda: look_up_early(run, bootstrap, cloud, guess, is_as_before))
            if not is_as_before():
                jobs.forget(found)
                found = None
        listing, manifest = told.result()
        found = found or jobs.start(_READING, lambda: look_up(run, bootstrap, cloud, manifest))
        staged = stage_bundle(run, cloud, bootstrap, listing, kept)
    return FetchedBundle(slug=listing.slug, staged=staged, manifest=manifest, found=found.result())


def _is_live(told: Job[tuple[Listing, Manifest]], guess: Manifest, kept: State) -> bool:
    """Wait for what the bucket says; whether every object is the one that is live, and the manifest the guessed one.

    Only then may values be older than the listing: who puts a value, and then uploads what needs it, relies on that
    order.
    """
    try:
        listing, manifest = told.result()
    except AgentError:
        return False
    return manifest is guess and listing.is_applied(kept.applied)


def look_at_live(run: Run, bootstrap: Bootstrap, cloud: Cloud) -> Fetched:
    """The bundle that is on the host, as it is, and the values that it asks for."""
    manifest = read_live_manifest(run, bootstrap)
    found = within(run.deadline, _READING, lambda: look_up(run, bootstrap, cloud, manifest))
    return Fetched(slug=None, staged=None, manifest=manifest, found=found)


def fetch_release(run: Run, bootstrap: Bootstrap, cloud: Cloud, kept: State, release: Release) -> Fetched:
    """A former release's bundle, from what is kept of it, and today's values for its manifest."""
    staged = stage_release(run, cloud, bootstrap, kept, release)
    manifest = read_live_manifest(run, bootstrap, staged.folder / bootstrap.role / MANIFEST)
    found = within(run.deadline, _READING, lambda: look_up(run, bootstrap, cloud, manifest))
    return Fetched(slug=release.slug, staged=staged, manifest=manifest, found=found)
