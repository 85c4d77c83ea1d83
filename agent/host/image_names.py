"""Names of images: repository, tag and digest of `host:5000/name:tag@sha256:...`."""

from __future__ import annotations

_HUB = ("docker.io/", "index.docker.io/")


def repository(reference: str) -> str:
    """The name without tag and digest, as the engine lists it: without Docker Hub's host and its `library/`."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = f"{head}{slash}{last.partition(':')[0]}"
    for host in _HUB:
        name = name.removeprefix(host)
    short = name.removeprefix("library/")
    return name if "/" in short else short


def tag(reference: str) -> str:
    """The tag; `latest` when the name has none."""
    name = reference.partition("@")[0]
    return name.rpartition("/")[2].partition(":")[2] or "latest"


def pinned(reference: str) -> bool:
    """Whether the name holds a digest: then it means one image for ever, and no tag moves it."""
    return "@" in reference
