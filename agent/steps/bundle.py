"""Finding the role's bundle in the bucket: the slug, the listing, and what each key may become on this host."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Protocol

from agent.aws.s3 import RemoteObject
from agent.dataclass import dataclass
from agent.errors import BundleError, BundleMissing
from agent.steps import keys
from agent.steps.caps import Caps
from agent.steps.keys import HOST_LOCAL
from agent.steps.records import BundleFile

MANIFEST = "vars.yaml"
COMMON = "common"
# A bundle that was uploaded from the wrong folder can have thousands of faults: more than this nobody reads.
_MOST_TOLD = 100


class Bucket(Protocol):
    """What is asked of the config bucket."""

    @property
    def name(self) -> str:
        """The bucket's name, for messages."""

    def listing(self, prefix: str) -> Iterable[RemoteObject]:
        """All objects below a prefix, asked for as they are taken."""

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
    """The bundle as the bucket holds it. `folders` are those that hold no file of it and that it wants to be there."""

    slug: str
    ref: str
    role: str
    entries: tuple[Entry, ...]
    warnings: tuple[str, ...]
    folders: tuple[str, ...] = ()

    def entry(self, path: str) -> Entry | None:
        """The entry for a path relative to /opt/services."""
        return self._by_path.get(path)

    def is_applied(self, applied: Mapping[str, BundleFile]) -> bool:
        """Whether every object is one that was applied before, by what S3 says of it."""
        recorded = (applied.get(entry.path) for entry in self.entries)
        return all(
            file is not None and (file.etag, file.size) == (entry.source.etag, entry.source.size)
            for file, entry in zip(recorded, self.entries, strict=True)
        )

    @cached_property
    def _by_path(self) -> Mapping[str, Entry]:
        return {entry.path: entry for entry in self.entries}


_DEFAULT_CAPS = Caps()


def find(bucket: Bucket, slug: str | None, ref: str, role: str, caps: Caps = _DEFAULT_CAPS) -> Listing:
    """List `deployments/<slug>/<ref>/<role>/` and `.../common/` (contract section 1).

    Without a slug it is looked for: exactly one in the bucket that has this ref and role. `BundleMissing` when there
    is nothing for the role; `BundleError` when there is more than `caps` allow (the rest is then not listed), and for
    keys that cannot be placed on the host, all of them named.
    """
    warnings: list[str] = []
    if slug is None:
        slug = _discover(bucket, ref, role)
        warnings.append(
            f"CONFIG_SLUG is not set: using {slug!r}, the only slug in s3://{bucket.name} with {ref}/{role}"
        )
    base = f"deployments/{slug}/{ref}/"
    both = itertools.chain(bucket.listing(f"{base}{role}/"), bucket.listing(f"{base}{COMMON}/"))
    objects = {item.key.removeprefix(base): item for item in caps.keep(both, f"s3://{bucket.name}/{base}")}
    if not any(path.startswith(f"{role}/") for path in objects):
        raise BundleMissing(
            f"listing s3://{bucket.name}/{base}{role}/",
            f"0 objects under s3://{bucket.name}/{base}{role}/",
            "compare CONFIG_BUCKET, CONFIG_SLUG, CONFIG_REF and SERVER_ROLE in the bootstrap file with the bucket, or"
            " upload the bundle there",
        )
    _refuse_unsafe(bucket.name, base, role, {path: item.size for path, item in objects.items()})
    local = [path for path in objects if path.removeprefix(f"{role}/") in HOST_LOCAL]
    warnings += [f"the bundle's {path} is not installed: that file belongs to the host" for path in local]
    folders = {path.removesuffix("/") for path in objects if path.endswith("/")}
    kept = [Entry(path, item) for path, item in objects.items() if not path.endswith("/") and path not in local]
    return Listing(
        slug=slug,
        ref=ref,
        role=role,
        entries=tuple(kept),
        warnings=tuple(warnings),
        folders=tuple(sorted(folders - {role, COMMON} - keys.folders_above([entry.path for entry in kept]))),
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


def _refuse_unsafe(bucket: str, base: str, role: str, sizes: Mapping[str, int]) -> None:
    """A key becomes a path below /opt/services or nothing does."""
    faults = keys.faults(sizes, base, role)
    if faults:
        more = len(faults) - _MOST_TOLD
        raise BundleError(
            f"placing the objects of s3://{bucket}/{base} on this host",
            f"{len(faults)} of the bundle's keys cannot become a file here",
            "rename or remove these objects in the bucket",
            details=[*faults[:_MOST_TOLD], *([f"and {more:,} more"] if more > 0 else [])],
        )
