"""What the host remembers between runs: the files that bundles brought, and the releases that were verified.

It lies below `/var/lib/delphi-agent` (0700).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.errors import HostError
from agent.host import files
from agent.steps import fingerprints
from agent.steps.fingerprints import Fingerprints

SCHEMA = 1
# Verified releases that are remembered; images of the last two are never pruned.
KEEP_RELEASES = 3


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

    def same_as(self, other: Release) -> bool:
        """True when both would start the same thing, as far as values can be compared."""
        plain = replace(self, number=0, verified_at="", values=None)
        difference = fingerprints.compare(self.values, other.values)
        return plain == replace(other, number=0, verified_at="", values=None) and not difference.any

    def shown(self) -> dict[str, object]:
        """What status and log tell of it."""
        return {name: value for name, value in asdict(self).items() if name != "values"}


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything that is kept. `applied` are the files now in place that a bundle brought, verified or not."""

    instance_id: str
    applied: Mapping[str, BundleFile] = field(default_factory=dict)
    releases: tuple[Release, ...] = ()

    @property
    def current(self) -> Release | None:
        """The release that was verified last."""
        return self.releases[-1] if self.releases else None


def load(folder: Path, instance_id: str | None) -> tuple[State, str | None]:
    """The kept state, and a line for the operator when it came from another instance (None: whichever made it).

    On an image that was made of a booted host the releases are another host's verdicts: they are dropped. The list of
    files that bundles brought stays, or files that a new bundle lacks would never be removed.
    """
    path = folder / "state.json"
    try:
        document = json.loads(path.read_bytes())
        state = State(
            instance_id=document["instance_id"],
            applied={item["path"]: BundleFile(**item) for item in document["applied"]},
            releases=tuple(_release(item) for item in document["releases"]),
        )
    except FileNotFoundError:
        return State(instance_id=instance_id or ""), None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(
            f"reading {path}",
            f"{type(error).__name__}: {error}",
            f"move it away (`mv {path} {path}.broken`) and run it again: files that a former bundle brought will stay",
        ) from error
    if instance_id is not None and state.instance_id != instance_id:
        text = f"the state in {folder} came from {state.instance_id}, this is {instance_id}: its verdicts are dropped"
        return replace(state, instance_id=instance_id, releases=()), text
    return state, None


def _release(item: Mapping[str, Any]) -> Release:
    values = item.get("values")
    return Release(**{**item, "values": Fingerprints(**values) if values else None})


def save(folder: Path, state: State) -> None:
    """Keep `state`, atomically and durably."""
    files.make_folder(folder, 0o700)
    document = {
        "schema": SCHEMA,
        "instance_id": state.instance_id,
        "applied": [asdict(item) for _, item in sorted(state.applied.items())],
        "releases": [asdict(item) for item in state.releases[-KEEP_RELEASES:]],
    }
    files.write_json(folder / "state.json", document, 0o600)
