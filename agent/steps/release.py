"""Recording a release that was seen healthy, and removing images that no release needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

from agent.host import files
from agent.host.engine import Image
from agent.steps import state as states
from agent.steps.state import Release, State

# Releases whose images stay on the host: the current one and the one to go back to.
KEEP_IMAGES = 2


def record(paths_state: Path, kept: State, release: Release, tag_file: Path) -> State:
    """Keep `release` as the current one, append it to the history, and write its tag where operators look for it.

    A release that starts the same thing as the current one keeps that one's number: a rerun is not a new release.
    """
    current = kept.current
    if current is not None and current.same_as(release):
        release = replace(release, number=current.number)
        kept = replace(kept, releases=(*kept.releases[:-1], release))
    else:
        release = replace(release, number=current.number + 1 if current else 1)
        kept = replace(kept, releases=(*kept.releases, release)[-states.KEEP_RELEASES :])
        _append(paths_state / "history.jsonl", asdict(release))
    states.save(paths_state, kept)
    _write_tag(tag_file, release.tag)
    return kept


def _append(path: Path, line: Mapping[str, object]) -> None:
    with files.naming(f"writing {path}"):
        files.make_folder(path.parent, 0o700)
        with path.open("a", encoding="utf-8") as file:
            path.chmod(0o600)
            file.write(json.dumps(line) + "\n")


def _write_tag(path: Path, tag: str) -> None:
    """`.ecr-tag` is read as `$(cat .ecr-tag)`; it is left alone when it already says so."""
    text = f"{tag}\n".encode()
    if not path.is_file() or path.read_bytes() != text:
        files.write(path, text, 0o644)


class ImageStore(Protocol):
    """What is asked of the engine."""

    def images(self) -> list[Image]:
        """The images on the host."""

    def images_in_use(self) -> set[str]:
        """Ids of images that a container has."""

    def remove_image(self, reference: str) -> bool:
        """Remove one; false when it is in use."""


def prune(engine: ImageStore, kept: State, images: Iterable[str]) -> list[str]:
    """Remove unused images of the repositories that this project uses; returns the tags that are gone.

    Never an image that a container has, nor one of the current or the previous release (contract section 5). Images of
    other repositories are left alone: another project's, or fetched ahead into the machine image.
    """
    repositories = {_repository(reference) for reference in images}
    needed = engine.images_in_use() | {
        identity for release in kept.releases[-KEEP_IMAGES:] for identity in release.images.values()
    }
    gone: list[str] = []
    for image in engine.images():
        if image.id in needed:
            continue
        names = {_repository(name) for name in (*image.tags, *image.digests)}
        if names and names <= repositories:
            gone += [reference for reference in image.tags or [image.id] if engine.remove_image(reference)]
    return gone


def _repository(reference: str) -> str:
    """`host/name` of `host/name:tag@digest`."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
