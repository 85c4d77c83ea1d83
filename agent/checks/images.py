"""Images that can change without the bundle or the deployed tag changing."""

from __future__ import annotations

from collections.abc import Iterator

from agent.compose_file import ComposeFile, Finding
from agent.compose_file.finding import warning
from agent.compose_file.interpolation import Literal, Malformed, Part, parse

_UNKNOWN = "\ufffc"


def findings(composed: ComposeFile) -> Iterator[Finding]:
    """A warning for each image that is not pinned."""
    for service in composed.services:
        why = _why_loose(service.image or "")
        if why and service.image_place:
            yield warning(
                service.image_place,
                "image-not-pinned",
                f"the image of {service.name} is not pinned: {why}",
                "name a version, ${ECR_TAG} or a digest (`@sha256:...`)",
            )


def _why_loose(image: str) -> str:
    parts = parse(image)
    if not image or any(isinstance(part, Malformed) for part in parts):
        return ""
    as_written = _tag(_text(parts, defaults=False))
    by_default = _tag(_text(parts, defaults=True))
    if as_written == "":
        return "it has no tag"
    if as_written == "latest":
        return "its tag is `latest`"
    if by_default == "latest":
        return "its tag is `latest` when the variable has no value"
    return ""


def _text(parts: tuple[Part, ...], *, defaults: bool) -> str:
    """The image with a sign in place of each variable; or with its default, where it has one."""
    text = ""
    for part in parts:
        if isinstance(part, Literal):
            text += part.text
        elif not isinstance(part, Malformed):
            with_default = defaults and part.operator in (":-", "-") and part.argument
            text += _text(part.argument, defaults=True) if with_default else _UNKNOWN
    return text


def _tag(image: str) -> str | None:
    """The tag; None when a digest pins it, or when a variable may hold it; empty when there is none."""
    name, _, digest = image.partition("@")
    last = name.rpartition("/")[2]
    repository, colon, tag = last.partition(":")
    if digest or (not colon and repository.endswith(_UNKNOWN)):
        return None
    return tag
