"""The bundle: found, staged beside the live folders, applied, and what only its predecessor brought removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from agent.aws.s3 import BundleMoved, ConfigBucket
from agent.errors import BundleError, BundleMissing, HostError
from agent.host import files
from agent.report import record
from agent.report.record import Step
from agent.report.words import amount, size
from agent.run import Run
from agent.stages.host import Cloud
from agent.steps import apply as applying
from agent.steps import (
    archive,
    bundle,
    live,
    stage,
    state,
)
from agent.steps import journal as journals
from agent.steps import undo as undoing
from agent.steps.bootstrap import Bootstrap
from agent.steps.bundle import Listing
from agent.steps.caps import Caps
from agent.steps.records import BundleFile, Release
from agent.steps.stage import Staged
from agent.steps.state import State
from agent.variables import manifest
from agent.variables.manifest import Manifest


def live_manifest(run: Run, loaded: Bootstrap, kept: State) -> tuple[bytes, Manifest] | None:
    """The manifest that the current release has left in place, and its bytes: most reruns find it in the bucket again.

    None when there is none that can be read: what it is like then is told of the one in the bucket.
    """
    path = f"{loaded.role}/{bundle.MANIFEST}"
    if path not in kept.applied:
        return None
    try:
        data = (run.host.paths.services / path).read_bytes()
        return data, manifest.parse(data, bundle.MANIFEST, known=loaded.variables)
    except (OSError, BundleError):
        return None


def find_bundle(
    run: Run,
    loaded: Bootstrap,
    cloud: Cloud,
    applied: Mapping[str, BundleFile],
    known: tuple[bytes, Manifest] | None = None,
) -> tuple[Listing, Manifest]:
    """List the bundle and read its manifest, the first object that is fetched: values can then be asked for.

    One that is live already is not fetched, and one that is `known` not read again. `BundleMoved` when it is replaced
    meanwhile.
    """
    with _step(run, "manifest", f"looking for the bundle in s3://{loaded.bucket}") as step:
        bucket = _bucket(cloud, loaded)
        slug, caps = run.options.slug or loaded.slug, Caps.of(loaded.variables)
        listing = bundle.find(bucket, slug, loaded.ref, loaded.role, caps)
        entry = listing.entry(f"{loaded.role}/{bundle.MANIFEST}")
        if entry is None:
            raise BundleError(
                f"looking for {bundle.MANIFEST} in the bundle",
                f"s3://{loaded.bucket}/deployments/{listing.slug}/{listing.ref}/{loaded.role}/ has none",
                "add vars.yaml to the role's folder in the bundle",
            )
        data = live.content(entry, applied, run.host.paths.services)
        if data is None:
            data = bucket.read(entry.source)
        if known is not None and known[0] == data:
            parsed = known[1]
        else:
            parsed = manifest.parse(data, bundle.MANIFEST, known=loaded.variables)
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
    """Put the new bundle together beside the live one; `BundleMoved` when objects of it are replaced meanwhile."""
    with _step(run, "bundle", "syncing the bundle") as step:
        staged = stage.stage(
            listing,
            _bucket(cloud, loaded),
            run.host.paths,
            applied=kept.applied,
            deadline=run.deadline,
            tell=lambda done, everything: record.progress(detail=f"{done} of {amount(everything, 'file')}"),
        )
        step.detail = _staged_text(staged)
    return staged


def _bucket(cloud: Cloud, loaded: Bootstrap) -> ConfigBucket:
    return ConfigBucket(cloud.session.s3(), loaded.bucket, cloud.session.direct_reads())


@contextlib.contextmanager
def _step(run: Run, name: str, doing: str) -> Iterator[Step]:
    """A step that is over and has not failed when the bundle moved under it: whoever called may start over."""
    moved: BundleMoved | None = None
    with run.step(name, doing) as step:
        try:
            yield step
        except BundleMoved as error:
            moved, step.detail = error, str(error)
    if moved is not None:
        raise moved


def _staged_text(staged: Staged) -> str:
    if not staged.differs and not staged.fetched:
        return f"{amount(len(staged.files), 'file')}, none changed, none downloaded"
    parts = [f"{len(names)} {word}" for word, names in _differences(staged) if names]
    parts += [amount(len(staged.folders), "empty folder")] if staged.folders else []
    return f"{', '.join(parts)}; {amount(staged.fetched, 'object')} downloaded ({size(staged.received)})"


def _differences(staged: Staged) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("added", staged.added), ("changed", staged.changed), ("removed", staged.removed))


def stage_release(run: Run, cloud: Cloud, loaded: Bootstrap, kept: State, release: Release) -> Staged:
    """Put the bundle of a former release together beside the live one, from what is kept of it and the bucket."""
    with run.step("bundle", f"putting the bundle of release {release.number} together") as step:
        listing = archive.listing(run.host.paths.state, release)
        staged = stage.stage(
            listing,
            archive.Archive(run.host.paths.state, release, _bucket(cloud, loaded)),
            run.host.paths,
            applied=kept.applied,
            deadline=run.deadline,
            tell=lambda done, everything: record.progress(detail=f"{done} of {amount(everything, 'file')}"),
        )
        step.detail = _staged_text(staged)
    return staged


def apply_bundle(run: Run, role: str, staged: Staged | None, kept: State) -> State:
    """Put the staged files in their places; what a former bundle brought stays until the release is verified.

    What is replaced is kept first, and recorded: a run that is killed in the middle is taken back by the next one.
    """
    if staged is None or not staged.differs:
        return kept if staged is None else replace(kept, applied={**kept.applied, **staged.files})
    paths = run.host.paths
    with run.step("apply", "replacing the bundle's files") as step:
        early = (*applying.in_the_way(staged), *_read_by_compose(staged, role))
        applying.check(staged, paths.services, early)
        affected = (*staged.added, *staged.changed, *staged.removed)
        made = applying.missing_folders(staged, paths.services)
        journal, edits = journals.begin(kept, affected, paths.services, paths.state)
        journal = replace(journal, folders=(*journal.folders, *made))
        kept = replace(
            kept, applied={**kept.applied, **staged.files}, journal=journal, folders=kept.folders.union(made)
        )
        state.save(paths.state, kept)
        applying.apply(staged, paths.services, early, kept.folders)
        kept = replace(kept, journal=replace(journal, applying=False))
        state.save(paths.state, kept)
        step.detail = f"{amount(len(staged.added) + len(staged.changed), 'file')} replaced"
    run.warn(
        "bundle.edited",
        *(_edited(paths.services / edit.path, edit.kept) for edit in edits),
    )
    return kept


def mend(run: Run, kept: State) -> State:
    """Take back what a run had begun to replace when it was killed: never a mix of two bundles."""
    if kept.journal is None or not kept.journal.applying:
        return kept
    kept = take_back(run, kept, strict=False)
    run.warn("bundle.mended", "an earlier run was ended while it replaced the bundle's files: they were put back")
    return kept


def take_back(run: Run, kept: State, *, strict: bool = True) -> State:
    """Put the files back that the open transaction has replaced.

    `strict` raises `HostError` when the former content of one is not kept any more; else that is a warning.
    """
    if kept.journal is None:
        return kept
    paths = run.host.paths
    with run.step("undo", "putting the bundle's former files back") as step:
        number = len(kept.journal.originals)
        # From here on the tree may be a mix again: a run that finds it so goes on with the undoing.
        state.save(paths.state, replace(kept, journal=replace(kept.journal, applying=True)))
        undone = undoing.undo(kept, paths.services, paths.state)
        lost = ", ".join(str(paths.services / path) for path in undone.lost)
        if lost and strict:
            raise HostError(
                "putting the bundle's former files back",
                f"what was kept of them is gone: {lost}",
                "deploy a bundle that is whole: `delphi-agent init`, or `delphi-agent rollback --to N`",
            )
        state.save(paths.state, undone.state)
        step.detail = amount(number, "file")
    run.warn("bundle.edited", *(_edited(paths.services / edit.path, edit.kept) for edit in undone.edits))
    if lost:
        run.warn("bundle.lost", f"what was kept of former files is gone, they are as the last run left them: {lost}")
    return undone.state


def _edited(live: Path, kept: Path) -> str:
    return f"{live} had been changed on this host; kept as {kept}"


def _read_by_compose(staged: Staged, role: str) -> list[str]:
    """Of the files that the new bundle lacks, those that Compose would still read; no container runs on them."""
    from agent.stages.compose_reads import read_by_compose  # noqa: PLC0415 - a dozen modules that few runs need

    read = read_by_compose(staged.folder, role)
    return [path for path in staged.removed if path in read]


def erase_left_over(run: Run, loaded: Bootstrap) -> None:
    """Remove the plaintext `.env` that older scripts left in the role's folder (contract section 1)."""
    path = run.host.paths.role(loaded.role) / ".env"
    if files.erase(path):
        run.warn("bundle.left-over", f"{path} was left over from the scripts: overwritten and removed")
