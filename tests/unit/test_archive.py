"""Having a former release's files again: from the host, else from the bucket, else a clear word."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.aws.s3 import RemoteObject
from agent.errors import AwsError, BundleMissing, HostError
from agent.steps import archive, journal
from agent.steps.records import BundleFile, Release

CONTENT = b"as it was\n"
FILE = BundleFile("api/a", "etag-1", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), 0o644)
OBJECT = RemoteObject("deployments/acme/v1/api/a", FILE.size, FILE.etag)
RELEASE = Release(
    number=2, role="api", slug="acme", ref="v1", tag="1", bundle="", images={}, verified_at="2026-01-02T03:04:05Z"
)


class Bucket:
    """Has one object, or says why not."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content
        self.asked: list[RemoteObject] = []

    def download(self, item: RemoteObject, path: Path) -> str:
        self.asked.append(item)
        if self.content is None:
            raise AwsError(f"reading {item.key}", "it is gone", "upload it")
        path.write_bytes(self.content)
        return hashlib.sha256(self.content).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    archive.write(tmp_path / "state", 2, {FILE.path: FILE})
    return tmp_path / "state"


def keep(folder: Path, release: int, content: bytes) -> None:
    path = journal.folder(folder, release) / FILE.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def fetched(folder: Path, bucket: Bucket, to: Path) -> bytes:
    digest = archive.Archive(folder, RELEASE, bucket).download(OBJECT, to)
    assert digest == FILE.sha256
    return to.read_bytes()


def test_the_list_of_a_release_is_read_as_it_was_written_and_is_for_root_alone(folder: Path) -> None:
    path = folder / "releases/2/bundle.json"

    assert archive.read(folder, 2) == {FILE.path: FILE}
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.parent.stat().st_mode & 0o7777 == 0o700


def test_the_listing_names_the_objects_as_the_bucket_had_them(folder: Path) -> None:
    made = archive.listing(folder, RELEASE)

    assert [(entry.path, entry.source) for entry in made.entries] == [("api/a", OBJECT)]
    assert (made.slug, made.ref, made.role) == ("acme", "v1", "api")


def test_a_content_that_is_kept_on_the_host_is_not_asked_for(folder: Path, tmp_path: Path) -> None:
    keep(folder, 2, CONTENT)
    bucket = Bucket(None)

    assert fetched(folder, bucket, tmp_path / "out") == CONTENT
    assert bucket.asked == []


def test_a_content_kept_for_another_release_does_as_well(folder: Path, tmp_path: Path) -> None:
    keep(folder, 1, CONTENT)

    assert fetched(folder, Bucket(None), tmp_path / "out") == CONTENT


def test_a_kept_file_of_other_content_is_never_taken_for_it(folder: Path, tmp_path: Path) -> None:
    keep(folder, 2, b"an edit!!\n")
    bucket = Bucket(CONTENT)

    assert fetched(folder, bucket, tmp_path / "out") == CONTENT
    assert bucket.asked == [OBJECT]


def test_what_is_gone_from_host_and_bucket_is_told_with_the_release_and_the_file(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match="going back to release 2") as caught:
        fetched(folder, Bucket(None), tmp_path / "out")
    assert "api/a" in caught.value.cause
    assert "it is gone" in caught.value.cause


@pytest.mark.parametrize("content", [None, "{", "[]", '{"files": [{}]}'])
def test_a_list_that_cannot_be_read_is_a_fault_of_the_host_and_of_this_release_alone(
    folder: Path, content: str | None
) -> None:
    path = folder / "releases/3/bundle.json"
    path.parent.mkdir()
    if content is not None:
        path.write_text(content)

    with pytest.raises(HostError, match=r"bundle\.json"):
        archive.read(folder, 3)
    assert archive.latest(folder) == {FILE.path: FILE}


def test_a_host_without_releases_has_no_latest_list(tmp_path: Path) -> None:
    assert archive.latest(tmp_path) == {}
