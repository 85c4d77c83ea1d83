"""Finding the role's bundle in the bucket: the slug, the listing, and what each key may become on this host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.aws.s3 import RemoteObject
from agent.errors import BundleError, BundleMissing

MANIFEST = "vars.yaml"
COMMON = "common"
# Files of the host that lie in the role's folder; a bundle that brings one does not replace the host's (contract 1).
HOST_LOCAL = frozenset({".env", ".ecr-tag"})
_LONGEST_NAME = 255


class Bucket(Protocol):
    """What is asked of the config bucket."""

    @property
    def name(self) -> str:
        """The bucket's name, for messages."""

    def listing(self, prefix: str) -> list[RemoteObject]:
        """All objects below a prefix."""

    def folders(self, prefix: str) -> list[str]:
        """The names directly below a prefix."""

    def holds(self, prefix: str) -> bool:
        """Whether anything is below a prefix."""


@dataclass(frozen=True)
class Entry:
    """One file of the bundle: where it goes, relative to /opt/services, and the object that it comes from."""

    path: str
    source: RemoteObject


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The bundle as the bucket holds it."""

    slug: str
    ref: str
    role: str
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]

    def entry(self, path: str) -> Entry | None:
        """The entry for a path relative to /opt/services."""
        return next((item for item in self.entries if item.path == path), None)


def find(bucket: Bucket, slug: str | None, ref: str, role: str) -> Listing:
    """List `deployments/<slug>/<ref>/<role>/` and `.../common/` (contract section 1).

    Without a slug it is looked for: exactly one in the bucket that has this ref and role. `BundleMissing` when there
    is nothing for the role; `BundleError` that names every key that cannot be placed on the host.
    """
    warnings: list[str] = []
    if slug is None:
        slug = _discover(bucket, ref, role)
        warnings.append(
            f"CONFIG_SLUG is not set: using {slug!r}, the only slug in s3://{bucket.name} with {ref}/{role}"
        )
    base = f"deployments/{slug}/{ref}/"
    own = bucket.listing(f"{base}{role}/")
    if not own:
        raise BundleMissing(
            f"listing s3://{bucket.name}/{base}{role}/",
            f"0 objects under s3://{bucket.name}/{base}{role}/",
            "compare CONFIG_BUCKET, CONFIG_SLUG, CONFIG_REF and SERVER_ROLE in the bootstrap file with the bucket, or"
            " upload the bundle there",
        )
    entries = [Entry(item.key.removeprefix(base), item) for item in (*own, *bucket.listing(f"{base}{COMMON}/"))]
    kept = [entry for entry in entries if not entry.path.endswith("/")]
    _refuse_unsafe(bucket.name, kept)
    local = [entry.path for entry in kept if entry.path.removeprefix(f"{role}/") in HOST_LOCAL]
    warnings += [f"the bundle's {path} is not installed: that file belongs to the host" for path in local]
    return Listing(
        slug=slug,
        ref=ref,
        role=role,
        entries=tuple(entry for entry in kept if entry.path not in local),
        warnings=tuple(warnings),
    )


def _discover(bucket: Bucket, ref: str, role: str) -> str:
    slugs = bucket.folders("deployments/")
    fitting = [slug for slug in slugs if bucket.holds(f"deployments/{slug}/{ref}/{role}/")]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(fitting or slugs) or "none"
    raise BundleMissing(
        f"looking for a slug in s3://{bucket.name}/deployments/",
        f"{len(fitting)} slugs have {ref}/{role}/; {'candidates' if fitting else 'slugs in the bucket'}: {listed}",
        "set CONFIG_SLUG in the bootstrap file, or pass --slug",
    )


def _refuse_unsafe(bucket: str, entries: Sequence[Entry]) -> None:
    """A key becomes a path below /opt/services or nothing does."""
    faults = [f"{entry.source.key!r}: {why}" for entry in entries if (why := _unsafe(entry.path))]
    faults += _clashes(entry.path for entry in entries)
    if faults:
        raise BundleError(
            f"placing the objects of s3://{bucket} on this host",
            f"{len(faults)} of the bundle's keys cannot become a file here",
            "rename or remove these objects in the bucket",
            details=faults,
        )


def _unsafe(path: str) -> str | None:
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return "an empty, `.` or `..` part"
    if "\0" in path or "\n" in path:
        return "a NUL or a line break in the name"
    if any(len(part.encode()) > _LONGEST_NAME for part in parts):
        return f"a part longer than {_LONGEST_NAME} bytes"
    return None


def _clashes(paths: Iterable[str]) -> list[str]:
    """A path that is both a file and the folder of another one."""
    known = set(paths)
    parents = {path: path.split("/") for path in known}
    folders = {"/".join(parts[:depth]) for parts in parents.values() for depth in range(1, len(parts))}
    return [f"{path!r}: both a file and a folder" for path in sorted(known & folders)]
