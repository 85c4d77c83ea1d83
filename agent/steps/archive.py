"""What each kept release brought, and how to have it again: `releases/N/bundle.json` and the contents kept beside it.

A file of a former release is still live, or was kept when it was replaced, or is still in the bucket as it was. Each is
known by its sha256, so no other content can take its place.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from agent.aws.s3 import RemoteObject
from agent.errors import AgentError, BundleMissing, HostError
from agent.host import files, json_input
from agent.steps import journal
from agent.steps.bundle import Entry, Listing
from agent.steps.download import Downloader
from agent.steps.records import BundleFile, Release

SCHEMA = 1


def write(state_folder: Path, number: int, bundle: Mapping[str, BundleFile]) -> None:
    """Keep the list of the files that release `number` brought."""
    path = _path(state_folder, number)
    files.make_folder(path.parent.parent, 0o700)
    files.make_folder(path.parent, 0o700)
    document = {"schema": SCHEMA, "files": [vars(item) for _, item in sorted(bundle.items())]}
    files.write_json(path, document, 0o600)


def read(state_folder: Path, number: int) -> dict[str, BundleFile]:
    """The files that release `number` brought; `HostError` when the list is gone."""
    path = _path(state_folder, number)
    try:
        document = json_input.loads(path.read_bytes())
        return {item["path"]: BundleFile(**item) for item in document["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostError(
            f"reading {path}", f"{error}", "choose another release: `delphi-agent history` lists them"
        ) from error


def latest(state_folder: Path) -> dict[str, BundleFile]:
    """The files of the last release whose list can be read: what is left to go by when the state is broken."""
    releases = state_folder / "releases"
    numbers = sorted((int(item.name) for item in releases.glob("[0-9]*") if item.name.isdecimal()), reverse=True)
    for number in numbers:
        try:
            return read(state_folder, number)
        except HostError:
            continue
    return {}


def _path(state_folder: Path, number: int) -> Path:
    return state_folder / "releases" / str(number) / "bundle.json"


def listing(state_folder: Path, release: Release) -> Listing:
    """The release's bundle as the bucket listed it then."""
    base = f"deployments/{release.slug}/{release.ref}"
    entries = [
        Entry(path, RemoteObject(f"{base}/{path}", file.size, file.etag))
        for path, file in read(state_folder, release.number).items()
    ]
    return Listing(slug=release.slug, ref=release.ref, role=release.role, entries=tuple(entries), warnings=())


class Archive:
    """A source of a former release's files: contents kept on this host first, then the bucket."""

    def __init__(self, state_folder: Path, release: Release, bucket: Downloader) -> None:
        self._state_folder = state_folder
        self._release = release
        self._bucket = bucket
        self._files = read(state_folder, release.number)
        self._base = f"deployments/{release.slug}/{release.ref}/"

    def download(self, item: RemoteObject, path: Path) -> str:
        """Write the file's content as the release had it to the new file `path`; `BundleMissing` when it is gone."""
        name = item.key.removeprefix(self._base)
        wanted = self._files[name].sha256
        for kept in journal.contents(self._state_folder, name):
            if kept.stat().st_size == item.size and files.sha256(kept) == wanted:
                shutil.copyfile(kept, path)
                return wanted
        try:
            return self._bucket.download(item, path)
        except AgentError as error:
            raise BundleMissing(
                f"going back to release {self._release.number}",
                f"{name} as it was then is not on this host any more, and: {error}",
                "upload the bundle of that release again, or choose another one: `delphi-agent history`",
            ) from error
