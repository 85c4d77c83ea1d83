"""Removing images that no release needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from agent.host.engine_answers import Image
from agent.host.image_names import repository
from agent.steps.state import State

# Releases whose images stay on the host: the current one and the one to go back to.
KEEP_IMAGES = 2


class ImageStore(Protocol):
    """What is asked of the engine."""

    def images(self) -> list[Image]:
        """The images on the host."""

    def images_in_use(self) -> set[str]:
        """Ids of images that a container has."""

    def remove_image(self, reference: str) -> bool:
        """Remove one; false when it is in use."""


def prune(engine: ImageStore, kept: State, images: Iterable[str]) -> list[str]:
    """Remove unused images of the repositories that this project uses or has used; returns the names that are gone.

    Never an image that a container has, running or not, nor one of the current or the previous release (contract
    section 5). Images of other repositories are left alone: another project's, or fetched ahead into the machine image.
    One without a tag, as a moved tag leaves it, is known by the digest under which it was pulled.
    """
    used = {reference for release in kept.releases for reference in release.references}
    repositories = {repository(reference) for reference in {*images, *used}}
    needed = engine.images_in_use()
    for release in kept.releases[-KEEP_IMAGES:]:
        needed |= {*release.images.values(), *release.references.values()}
    gone: list[str] = []
    for image in engine.images():
        if image.id in needed:
            continue
        names = {repository(name) for name in (*image.tags, *image.digests)}
        if names and names <= repositories:
            gone += [reference for reference in image.tags or [image.id] if engine.remove_image(reference)]
    return gone
