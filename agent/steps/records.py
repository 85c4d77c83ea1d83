"""What is remembered, as plain records: files of bundles, releases, and what is open or was given up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field, replace

from agent.dataclass import dataclass
from agent.steps import fingerprints
from agent.steps.fingerprints import Fingerprints


@dataclass(frozen=True)
class BundleFile:
    """One file that a bundle brought; `path` is relative to /opt/services."""

    path: str
    etag: str
    size: int
    sha256: str
    mode: int


@dataclass(frozen=True, kw_only=True)
class Release:
    """One deploy that was seen healthy.

    `images` maps a service to the id of its image: tags move, ids do not. `references` maps each image's name in the
    compose file to its id then, `digests` to the name by which a registry still has it (`host/name@sha256:...`) when
    the name has moved. `values` are fingerprints, never values. `irreversible`: its manifest says that what it did at
    its start cannot be taken back.
    """

    number: int
    role: str
    slug: str
    ref: str
    tag: str
    bundle: str
    images: Mapping[str, str]
    verified_at: str
    values: Fingerprints | None = None
    references: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    irreversible: bool = False
    project: str = ""

    def same_as(self, other: Release) -> bool:
        """True when both would start the same thing, as far as values can be compared."""
        return _bare(self) == _bare(other) and not fingerprints.compare(self.values, other.values).any

    def starts_like(self, other: Release) -> bool:
        """True when both bring the same files and images: with today's values, both would start the same thing."""
        mine = (self.role, self.bundle, self.tag, self.references)
        return mine == (other.role, other.bundle, other.tag, other.references)

    def shown(self) -> dict[str, object]:
        """What status and log tell of it."""
        return {name: value for name, value in asdict(self).items() if name not in {"values", "digests"}}


def _bare(release: Release) -> Release:
    return replace(release, number=0, verified_at="", values=None, digests={})


@dataclass(frozen=True)
class Original:
    """What was in a file's place before the transaction: kept below `releases/N/replaced`, or nothing at all.

    `was` is what was recorded of it when a bundle had brought it, `sha256` is its content's (empty for a link).
    `made`: it is made from a variable, so that no digest is kept of it: a short value could be guessed from one.
    """

    stored: bool
    mode: int
    was: BundleFile | None
    sha256: str = ""
    made: bool = False


@dataclass(frozen=True, kw_only=True)
class Journal:
    """The way back to release `release` (0: to before the first one), open until another release is verified.

    While `applying` (or undoing), the live tree may be a mix of two bundles. `folders` were made on the way.
    `made` is `State.made` as it was before the transaction changed it, None while it has not.
    """

    release: int
    applying: bool
    originals: Mapping[str, Original]
    folders: tuple[str, ...] = ()
    made: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Started:
    """A deploy that had reached `up` and was not verified; `back_to` is the release that a rollback aimed at.

    `irreversible`: what it did at its start stays, whatever is deployed next.
    """

    text: str
    irreversible: bool
    back_to: int | None = None


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A release that was started, was not seen healthy, and was taken back: not to be tried again unasked.

    `left` by an operator's rollback: it had been healthy, and is not to come back by itself either.
    """

    release: Release
    at: str
    cause: str
    left: bool = False

    def is_again(self, attempt: Release) -> bool:
        """True when `attempt` is this release again; one that was left stays left whatever its values are."""
        if self.left:
            same = (self.release.slug, self.release.ref) == (attempt.slug, attempt.ref)
            return same and self.release.starts_like(attempt)
        return self.release.same_as(attempt)
