"""Recording a release that was seen healthy."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from agent.errors import HostError
from agent.host import files
from agent.steps import archive
from agent.steps import state as states
from agent.steps.bundle import COMMON
from agent.steps.records import BundleFile, Release
from agent.steps.state import State


def record(paths_state: Path, kept: State, release: Release) -> State:
    """Keep `release` as the current one, with the list of its files.

    A release that starts the same thing as the current one keeps that one's number: a rerun is not a new release. The
    transaction is over with this, by one write: the journal is closed, what failed before is forgotten.
    """
    current = kept.current
    if current is not None and current.same_as(release):
        release = replace(release, number=current.number)
        releases = (*kept.releases[:-1], release)
    else:
        release = replace(release, number=current.number + 1 if current else 1)
        releases = (*kept.releases, release)[-states.KEEP_RELEASES :]
    _keep_list(paths_state, release.number, kept.files_of(release.role, COMMON))
    kept = replace(kept, releases=releases, journal=None, failed=None, started=None)
    states.save(paths_state, kept)
    return kept


def _keep_list(paths_state: Path, number: int, bundle: Mapping[str, BundleFile]) -> None:
    """The list of a rerun is written again only when it differs: an object was uploaded again as it was."""
    with contextlib.suppress(HostError):
        if archive.read(paths_state, number) == bundle:
            return
    archive.write(paths_state, number, bundle)


def deployed_tag(kept: State, tag_file: Path) -> str | None:
    """The tag that is deployed: by the agent's record, else by the `.ecr-tag` that the scripts left; None without."""
    if kept.current is not None:
        return kept.current.tag
    with contextlib.suppress(OSError):
        return tag_file.read_text("utf-8", "replace").strip() or None
    return None


def write_tag(path: Path, tag: str) -> list[str]:
    """`.ecr-tag` is read as `$(cat .ecr-tag)`; left alone when it says so already. Returns why it was not written.

    Only people read it: what is in its way does not undo a verified deploy.
    """
    text = f"{tag}\n".encode()
    try:
        if not path.is_file() or path.read_bytes() != text:
            files.write(path, text, 0o644)
    except (HostError, OSError) as error:
        return [f"{path} does not hold the deployed tag {tag}: {error}"]
    return []
