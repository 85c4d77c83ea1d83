"""The images of a release: on the host before they are needed, remembered by id, put back when a name has moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from agent.errors import ImageMissing
from agent.host import image_names
from agent.host.engine_answers import Image
from agent.steps.compose import Model

# Of machines without variants.
_PLATFORMS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}


class Images(Protocol):
    """What is asked of the engine."""

    def image(self, reference: str) -> Image | None:
        """The image with this name or id, None when the host does not have it."""

    def tag_image(self, identity: str, repository: str, tag: str) -> None:
        """Let `repository:tag` name this image."""


def to_pull(engine: Images, model: Model) -> dict[str, list[str]]:
    """Each image that the registry has to be asked for, with the services that have it.

    A tag may have moved, so every one is asked for but those that are pinned by a digest and on the host already.
    """
    wanted: dict[str, list[str]] = {}
    for service in model.services:
        if service.image:
            wanted.setdefault(service.image, []).append(service.name)
    return {
        reference: names
        for reference, names in sorted(wanted.items())
        if not (image_names.pinned(reference) and engine.image(reference))
    }


def in_doubt(engine: Images, model: Model, wanted: Iterable[str], machine: str) -> dict[str, Image]:
    """Those of `wanted` that the host has, and whose digest in the registry would tell that they are the same ones.

    A digest may stand for the images of several platforms: that of the host (`machine`, as uname(2) has it) is meant,
    and where a service names one, or the image has another, a pull finds out which.
    """
    foreign = {item.image for item in model.services if item.platform}
    found = {reference: engine.image(reference) for reference in wanted if reference not in foreign}
    own = _PLATFORMS.get(machine)
    return {reference: image for reference, image in found.items() if image is not None and image.platform == own}


def unmoved(images: Mapping[str, Image], digests: Mapping[str, str]) -> frozenset[str]:
    """The names that mean the same image on the host and in the registry, which has them with these `digests`."""
    named = {reference: f"{image_names.repository(reference)}@{digest}" for reference, digest in digests.items()}
    return frozenset(reference for reference, image in images.items() if named.get(reference) in image.digests)


def expect(engine: Images, model: Model) -> None:
    """Every image that `up` would start a container of is on the host; else `ImageMissing`, naming each.

    An image that Compose would build counts too, under the name that it would get: nothing is built in passing.
    """
    missing = []
    for service in model.services:
        reference = service.image or f"{model.name}-{service.name}"
        if service.replicas and engine.image(reference) is None:
            missing.append(f"{service.name} needs {reference}, which is not on this host")
    if missing:
        raise ImageMissing(
            "looking for the images on this host",
            missing[0] if len(missing) == 1 else f"{len(missing)} services have none; {missing[0]}",
            "run it without --skip-images (which --restart-only implies), or load them (`docker load`)",
            details=missing if len(missing) > 1 else (),
        )


def identities(engine: Images, model: Model) -> tuple[dict[str, str], dict[str, str]]:
    """The id of the image that each name of the model has now, and the name by which its registry keeps it for ever.

    The second is `host/name@sha256:...`; an image that never was in a registry has none.
    """
    references: dict[str, str] = {}
    digests: dict[str, str] = {}
    for reference in model.images:
        image = engine.image(reference)
        if image is None:
            continue
        references[reference] = image.id
        repository = image_names.repository(reference)
        known = sorted(name for name in image.digests if image_names.repository(name) == repository)
        if known:
            digests[reference] = known[0]
    return references, digests


def put_back(
    engine: Images, references: Mapping[str, str], digests: Mapping[str, str], pull: Callable[[str], None]
) -> list[str]:
    """Let each name have the image again that `references` remembers; returns those that had another one.

    What is not on the host any more is pulled by its digest. Names move only once every image is there;
    `ImageMissing` names each that neither host nor registry has.
    """
    moved = [name for name, identity in sorted(references.items()) if not _has(engine, name, identity)]
    gone = [why for name in moved if (why := _fetch(engine, name, references[name], digests.get(name), pull))]
    if gone:
        raise ImageMissing(
            "putting the images of the release back",
            gone[0] if len(gone) == 1 else f"{len(gone)} images are gone; {gone[0]}",
            "push the image again, or deploy a tag that the registry has (`aws ecr describe-images` lists them)",
            details=gone if len(gone) > 1 else (),
        )
    for name in moved:
        _name(engine, name, references[name])
    return moved


def name_again(engine: Images, references: Mapping[str, str], instead_of: Mapping[str, str]) -> None:
    """Undo a `put_back` of `instead_of`: names that have its images get those of `references` that are on the host."""
    for name, identity in sorted(references.items()):
        other = instead_of.get(name, identity)
        if other != identity and _has(engine, name, other) and engine.image(identity) is not None:
            _name(engine, name, identity)


def _name(engine: Images, name: str, identity: str) -> None:
    if not image_names.pinned(name):
        engine.tag_image(identity, image_names.repository(name), image_names.tag(name))


def _has(engine: Images, name: str, identity: str) -> bool:
    image = engine.image(name)
    return image is not None and image.id == identity


def _fetch(engine: Images, name: str, identity: str, digest: str | None, pull: Callable[[str], None]) -> str:
    """Have the image on the host; returns why it cannot be had, or nothing."""
    kept_as = digest or (name if image_names.pinned(name) else None)
    if engine.image(identity) is not None and not image_names.pinned(name):
        return ""
    if kept_as is None:
        return f"{name}: {identity} is not on this host any more, and no registry is known to have it"
    try:
        pull(kept_as)
    except ImageMissing as error:
        return f"{name}: {identity} is not on this host any more, and the registry says: {error.cause}"
    if not _has(engine, kept_as, identity):
        return f"{name}: {identity} is not on this host any more, and {kept_as} is another image"
    return ""
