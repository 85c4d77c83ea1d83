"""The bundle: found, staged beside the live folders, applied, and what only its predecessor brought removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from agent.aws.s3 import ConfigBucket
from agent.errors import BundleError, BundleMissing
from agent.host import files
from agent.report import record
from agent.report.words import amount, size
from agent.run import Run
from agent.stages.host import Cloud
from agent.steps import apply as applying
from agent.steps import (
    bundle,
    stage,
    state,
)
from agent.steps.bootstrap import Bootstrap
from agent.steps.bundle import Listing
from agent.steps.stage import Staged
from agent.steps.state import BundleFile, State
from agent.variables import manifest
from agent.variables.manifest import Manifest


def find_bundle(run: Run, loaded: Bootstrap, cloud: Cloud) -> tuple[Listing, Manifest]:
    """List the bundle and read its manifest, the first object that is fetched: values can then be asked for."""
    with run.step("manifest", f"looking for the bundle in s3://{loaded.bucket}") as step:
        bucket = ConfigBucket(cloud.session.s3(), loaded.bucket)
        listing = bundle.find(bucket, run.options.slug or loaded.slug, loaded.ref, loaded.role)
        entry = listing.entry(f"{loaded.role}/{bundle.MANIFEST}")
        if entry is None:
            raise BundleError(
                f"looking for {bundle.MANIFEST} in the bundle",
                f"s3://{loaded.bucket}/deployments/{listing.slug}/{listing.ref}/{loaded.role}/ has none",
                "add vars.yaml to the role's folder in the bundle",
            )
        parsed = manifest.parse(bucket.read(entry.source), bundle.MANIFEST, known=loaded.variables)
        step.detail = f"{listing.slug}/{listing.ref}/{listing.role}: {amount(len(listing.entries), 'object')}"
    run.warn("bundle.warning", *listing.warnings)
    return listing, parsed


def read_live_manifest(run: Run, loaded: Bootstrap, path: Path | None = None) -> Manifest:
    """The manifest of the bundle that is already on the host (`--skip-fetch`), or the one at `path`."""
    path = path or run.host.paths.role(loaded.role) / bundle.MANIFEST
    with run.step("manifest", f"reading {path}") as step:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BundleMissing(
                f"reading {path}", error.strerror or str(error), "fetch the bundle first: `delphi-agent init`"
            ) from error
        step.detail = f"{path}, not fetched"
        return manifest.parse(data, bundle.MANIFEST, known=loaded.variables)


def stage_bundle(run: Run, cloud: Cloud, loaded: Bootstrap, listing: Listing, kept: State) -> Staged:
    """Put the new bundle together beside the live one."""
    with run.step("bundle", "syncing the bundle") as step:
        staged = stage.stage(
            listing,
            ConfigBucket(cloud.session.s3(), loaded.bucket),
            run.host.paths,
            applied=kept.applied,
            deadline=run.deadline,
            tell=lambda done, everything: record.progress(detail=f"{done} of {amount(everything, 'file')}"),
        )
        step.detail = _staged_text(staged)
    return staged


def _staged_text(staged: Staged) -> str:
    if not staged.differs and not staged.fetched:
        return f"{amount(len(staged.files), 'file')}, none changed, none downloaded"
    parts = [f"{len(names)} {word}" for word, names in _differences(staged) if names]
    return f"{', '.join(parts)}; {amount(staged.fetched, 'object')} downloaded ({size(staged.received)})"


def _differences(staged: Staged) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("added", staged.added), ("changed", staged.changed), ("removed", staged.removed))


def apply_bundle(run: Run, staged: Staged | None, kept: State) -> State:
    """Put the staged files in their places; what a former bundle brought stays until the release is verified."""
    if staged is None:
        return kept
    kept = replace(kept, applied={**kept.applied, **staged.files})
    if not staged.differs:
        return kept
    with run.step("apply", "replacing the bundle's files") as step:

        def keep(_: Mapping[str, BundleFile]) -> None:
            state.save(run.host.paths.state, kept)

        applying.apply(staged, run.host.paths.services, keep)
        step.detail = f"{amount(len(staged.added) + len(staged.changed), 'file')} replaced"
    return kept


def erase_left_over(run: Run, loaded: Bootstrap) -> None:
    """Remove the plaintext `.env` that older scripts left in the role's folder (contract section 1)."""
    path = run.host.paths.role(loaded.role) / ".env"
    if files.erase(path):
        run.warn("bundle.left-over", f"{path} was left over from the scripts: overwritten and removed")
