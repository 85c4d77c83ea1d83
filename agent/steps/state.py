"""What the host remembers between runs: files that bundles brought, verified releases, the open transaction.

It lies below `/var/lib/delphi-agent` (0700). It is one document, replaced as a whole: what belongs together is never
seen half.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import Any

from agent.dataclass import dataclass
from agent.errors import HostError, StateBroken
from agent.host import files, json_input
from agent.steps.fingerprints import Fingerprints
from agent.steps.records import BundleFile, Failed, Journal, Original, Release, Started

SCHEMA = 1
# Verified releases that are remembered; images of the last two are never pruned.
KEEP_RELEASES = 3


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything that is kept. `applied` are the files now in place that a bundle brought, verified or not.

    `made` are the paths of files that are made from variables (`files:` of a manifest), which may hold secrets, each
    with a keyed digest of what was written there; empty for one that was there already, as it was wanted,
    and `?` where that is not known.
    `folders` are those that the agent made for them: no other folder is ever removed.
    `bootstrap` is what a verified release has still to write to the bootstrap file: name, old and new value.
    """

    instance_id: str
    applied: Mapping[str, BundleFile] = field(default_factory=dict)
    releases: tuple[Release, ...] = ()
    journal: Journal | None = None
    failed: Failed | None = None
    started: Started | None = None
    folders: frozenset[str] = frozenset()
    made: Mapping[str, str] = field(default_factory=dict)
    bootstrap: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def current(self) -> Release | None:
        """The release that was verified last."""
        return self.releases[-1] if self.releases else None

    def files_of(self, *tops: str) -> dict[str, BundleFile]:
        """The applied files below these folders of /opt/services."""
        return {path: file for path, file in self.applied.items() if path.partition("/")[0] in tops}


def load(folder: Path, instance_id: str | None) -> tuple[State, str | None]:
    """The kept state, and a line for the operator when something was dropped (None: any instance's will do).

    On an image that was made of a booted host the releases are another host's verdicts: they are dropped. The list of
    files that bundles brought stays, or files that a new bundle lacks would never be removed. What cannot be read is
    a `HostError`; what is no state `StateBroken`, from which `set_aside` is the way out.
    """
    path = folder / "state.json"
    try:
        state = _read(json_input.loads(path.read_bytes()))
    except FileNotFoundError:
        return State(instance_id=instance_id or ""), None
    except OSError as error:
        raise HostError(f"reading {path}", error.strerror or str(error), "run it as root") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateBroken(
            f"reading {path}",
            f"{type(error).__name__}: {error}",
            f"run `delphi-agent init` as root: it moves the file to {path}.broken and goes on without it",
        ) from error
    if instance_id is not None and state.instance_id != instance_id:
        text = f"the state in {folder} came from {state.instance_id}, this is {instance_id}: its verdicts are dropped"
        return replace(state, instance_id=instance_id, releases=(), failed=None, started=None, bootstrap={}), text
    return state, None


def set_aside(folder: Path) -> Path:
    """Move a state that cannot be read out of the way, so that a boot is not stopped by it; returns where to."""
    path = folder / "state.json"
    aside = folder / "state.json.broken"
    with files.naming(f"moving {path} away"):
        path.replace(aside)
    return aside


def _read(document: Mapping[str, Any]) -> State:
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']}, this version of the agent knows {SCHEMA}")
    journal, failed, started = (document.get(name) for name in ("journal", "failed", "started"))
    return State(
        instance_id=document["instance_id"],
        applied={item["path"]: BundleFile(**_known(BundleFile, item)) for item in document["applied"]},
        releases=tuple(_release(item) for item in document["releases"]),
        journal=None if journal is None else _journal(journal),
        failed=None if failed is None else _failed(failed),
        started=None if started is None else Started(**_known(Started, started)),
        folders=frozenset(document.get("folders") or ()),
        made=_made(document.get("made") or {}),
        bootstrap={name: (old, new) for name, (old, new) in (document.get("bootstrap") or {}).items()},
    )


def _made(item: Mapping[str, str] | list[str]) -> dict[str, str]:
    """An earlier version of this schema has the paths alone: what was written there is not known."""
    return dict.fromkeys(item, "?") if isinstance(item, list) else {path: str(digest) for path, digest in item.items()}


def _known(kind: type, item: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that this version knows: a later one of the same schema may have added some."""
    names = _names(kind)
    return {name: value for name, value in item.items() if name in names}


@functools.cache
def _names(kind: type) -> frozenset[str]:
    """Asked for each of thousands of files."""
    return frozenset(one.name for one in fields(kind))


def _release(item: Mapping[str, Any]) -> Release:
    values = item.get("values")
    if not isinstance(item["number"], int):
        raise TypeError("a release's number is no number")
    return Release(**{**_known(Release, item), "values": Fingerprints(**values) if values else None})


def _failed(item: Mapping[str, Any]) -> Failed:
    return Failed(**{**_known(Failed, item), "release": _release(item["release"])})


def _journal(item: Mapping[str, Any]) -> Journal:
    originals = {
        path: Original(**{**_known(Original, entry), "was": BundleFile(**entry["was"]) if entry["was"] else None})
        for path, entry in item["originals"].items()
    }
    folders, made = tuple(item.get("folders") or ()), item.get("made")
    return Journal(
        release=item["release"],
        applying=item["applying"],
        originals=originals,
        folders=folders,
        made=None if made is None else _made(made),
    )


def save(folder: Path, state: State) -> None:
    """Keep `state`, atomically and durably."""
    files.make_folder(folder, 0o700)
    document = {
        "schema": SCHEMA,
        "instance_id": state.instance_id,
        # Thousands, of plain fields alone: `asdict` would copy each of them.
        "applied": [vars(item) for _, item in sorted(state.applied.items())],
        "releases": [asdict(item) for item in state.releases[-KEEP_RELEASES:]],
        "journal": _journal_document(state.journal) if state.journal else None,
        "failed": asdict(state.failed) if state.failed else None,
        "started": asdict(state.started) if state.started else None,
        "folders": sorted(state.folders),
        "made": dict(sorted(state.made.items())),
        "bootstrap": dict(state.bootstrap),
    }
    files.write_json(folder / "state.json", document, 0o600)


def _journal_document(journal: Journal) -> dict[str, Any]:
    """As `asdict` has it, for thousands of originals."""
    originals = {
        path: {**vars(original), "was": vars(original.was) if original.was else None}
        for path, original in journal.originals.items()
    }
    return {**vars(journal), "originals": originals}
