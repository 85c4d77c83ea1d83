"""Staging: what is fetched, what is taken from the host, what the staged tree shows, and what stops it."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.aws.s3 import BundleMoved, RemoteObject
from agent.errors import AwsError, DeadlineExceeded, HostError
from agent.host.clock import Deadline, SystemClock
from agent.host.paths import Paths
from agent.steps import bundle, crew
from agent.steps.bundle import Listing
from agent.steps.caps import RESERVED_BYTES, refuse_without_room
from agent.steps.records import BundleFile
from agent.steps.stage import Staged, digest_of, discard, stage
from tests.unit.fakes import FakeBucket

BASE = "deployments/acme/main/"
VARS = {"api/vars.yaml": b"service: api"}
Tree = Mapping[str, bytes]
# Folders and files have different names, so that no path is a file in one bundle and a folder in the next.
FOLDERS = st.sampled_from(["api", "api/conf", "api/conf/deep", "api/tls", "common", "common/deep"])
CONTENTS = st.sampled_from([b"", b"one", b"two", b"longer", b"#!/bin/sh", b"#!/bin/ls", b"\0\xff"])
BUNDLES = st.dictionaries(
    st.builds("{}/{}".format, FOLDERS, st.sampled_from(["a", "b.sh", "Caddyfile", "Ä b"])), CONTENTS, max_size=8
)
LOCALS = st.dictionaries(
    st.builds("{}/{}".format, FOLDERS, st.sampled_from(["local", "key.pem", "dir/data"])), CONTENTS, max_size=4
)


class World:
    """A host and a bucket; `deploy` makes the staged files live in the simplest way."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        self.bucket = FakeBucket()
        self.applied: dict[str, BundleFile] = {}

    def upload(self, tree: Tree) -> None:
        self.bucket.objects = {f"{BASE}api/vars.yaml": b"service: api"}
        self.bucket.objects |= {f"{BASE}{path}": content for path, content in tree.items()}
        self.bucket.downloaded.clear()

    def listing(self) -> Listing:
        return bundle.find(self.bucket, "acme", "main", "api")

    def stage(self, deadline: Deadline | None = None) -> Staged:
        clock = SystemClock()
        return stage(
            self.listing(),
            self.bucket,
            self.paths,
            applied=self.applied,
            deadline=deadline or Deadline.after(clock, 20),
            tell=lambda _, __: None,
        )

    def deploy(self, tree: Tree) -> Staged:
        self.upload(tree)
        staged = self.stage()
        for path in (*staged.added, *staged.changed):
            self.file(path).parent.mkdir(parents=True, exist_ok=True)
            (staged.folder / path).replace(self.file(path))
        for path in staged.folders:
            self.file(path).mkdir(parents=True)
        for path in staged.removed:
            self.file(path).unlink()
        self.applied = dict(staged.files)
        discard(self.paths)
        return staged

    def live(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.paths.services)): path.read_bytes()
            for path in self.paths.services.rglob("*")
            if path.is_file() and not path.is_relative_to(self.paths.staging)
        }

    def plant(self, tree: Tree) -> None:
        for path, content in tree.items():
            self.file(path).parent.mkdir(parents=True, exist_ok=True)
            self.file(path).write_bytes(content)

    def file(self, path: str) -> Path:
        return self.paths.services / path


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@settings(deadline=None, max_examples=40)
@given(tree=BUNDLES, local=LOCALS)
def test_the_same_bundle_again_fetches_nothing_and_changes_nothing(tree: Tree, local: Tree) -> None:
    with tempfile.TemporaryDirectory() as root:
        world = World(Path(root))
        world.deploy(tree)
        world.plant(local)
        again = world.deploy(tree)

        assert not again.differs
        assert (again.fetched, again.received, world.bucket.downloaded) == (0, 0, [])
        assert {**VARS, **tree, **local} == world.live()


@settings(deadline=None, max_examples=40)
@given(tree=BUNDLES, local=LOCALS)
def test_the_staged_tree_shows_what_the_live_one_will_be(tree: Tree, local: Tree) -> None:
    with tempfile.TemporaryDirectory() as root:
        world = World(Path(root))
        world.plant(local)
        world.upload(tree)
        staged = world.stage()
        for path, content in {**VARS, **tree, **local}.items():
            assert content == (staged.folder / path).read_bytes()


@settings(deadline=None, max_examples=40)
@given(old=BUNDLES, new=BUNDLES, edits=st.lists(st.sampled_from([b"one", b"two", b"edited"]), max_size=3))
def test_discarding_a_staged_tree_never_changes_a_live_file(old: Tree, new: Tree, edits: list[bytes]) -> None:
    # Staged files are other names (hard links) of live ones: to erase or truncate one would ruin the live file.
    with tempfile.TemporaryDirectory() as root:
        world = World(Path(root))
        world.deploy(old)
        world.plant(dict(zip(old, edits, strict=False)))
        before = world.live()
        world.upload(new)
        world.stage()
        discard(world.paths)

        assert before == world.live()
        assert not world.paths.staging.exists()


def test_an_unchanged_file_is_staged_as_another_name_of_the_live_one(world: World) -> None:
    world.deploy({"api/a": b"one"})
    world.upload({"api/a": b"one", "api/b.sh": b"two"})
    staged = world.stage()

    assert staged.folder == world.paths.staging
    assert world.file("api/a").samefile(staged.folder / "api/a")


def test_discarding_does_not_follow_the_links_to_files_of_the_host(world: World) -> None:
    world.deploy({"api/a": b"one"})
    world.plant({"api/data/db": b"precious", "api/tls/key.pem": b"precious"})
    world.upload({"api/a": b"two"})
    staged = world.stage()
    assert (staged.folder / "api/data/db").read_bytes() == b"precious"
    discard(world.paths)

    assert world.file("api/data/db").read_bytes() == b"precious"
    assert world.file("api/tls/key.pem").read_bytes() == b"precious"


def test_a_bundle_that_is_live_as_it_is_needs_no_tree_beside_it(world: World) -> None:
    world.deploy({"api/a": b"one", "common/b.sh": b"two"})

    staged = world.stage()

    assert not staged.differs
    assert staged.folder == world.paths.services
    assert set(staged.files) == {"api/vars.yaml", "api/a", "common/b.sh"}
    assert not world.paths.staging.exists()


def test_a_change_of_equal_size_and_time_is_fetched(world: World) -> None:
    world.deploy({"api/a": b"one"})
    os.utime(world.file("api/a"), (0, 0))
    staged = world.deploy({"api/a": b"two"})

    assert staged.changed == ("api/a",)
    assert world.file("api/a").read_bytes() == b"two"


def test_a_live_file_that_somebody_edited_is_fetched_again(world: World) -> None:
    world.deploy({"api/a": b"one"})
    world.plant({"api/a": b"eno"})
    staged = world.deploy({"api/a": b"one"})

    assert staged.changed == ("api/a",)
    assert world.file("api/a").read_bytes() == b"one"


def test_a_live_file_that_is_gone_is_fetched_again(world: World) -> None:
    world.deploy({"api/a": b"one"})
    world.file("api/a").unlink()
    staged = world.deploy({"api/a": b"one"})

    assert staged.added == ("api/a",)
    assert world.file("api/a").read_bytes() == b"one"


def test_a_file_of_a_former_host_set_up_without_a_record_is_fetched(world: World) -> None:
    world.plant({"api/a": b"one"})
    staged = world.deploy({"api/a": b"one"})

    assert staged.changed == ("api/a",)
    assert world.bucket.downloaded.count(f"{BASE}api/a") == 1


def test_a_removed_file_is_not_in_the_staged_tree(world: World) -> None:
    world.deploy({"api/docker-compose.override.yaml": b"{}"})
    world.upload({})

    assert not (world.stage().folder / "api/docker-compose.override.yaml").exists()


def test_the_staged_tree_is_for_nobody_else(world: World) -> None:
    world.upload({})

    assert stat.S_IMODE(world.stage().folder.stat().st_mode) == 0o700


def test_a_left_over_env_file_is_not_shown_to_compose(world: World) -> None:
    world.plant({"api/.env": b"SECRET=1", "api/sub/.env": b"SECRET=1", "api/.ecr-tag": b"v1"})
    world.upload({})
    staged = world.stage()

    assert not (staged.folder / "api/.env").exists()
    assert not (staged.folder / "api/.ecr-tag").exists()


def test_a_staged_tree_that_a_killed_run_left_is_thrown_away(world: World) -> None:
    world.paths.staging.mkdir(parents=True)
    (world.paths.staging / "api").write_bytes(b"a file where a folder will be")
    world.deploy({"api/a": b"one"})

    assert world.file("api/a").read_bytes() == b"one"


def test_a_link_in_the_place_of_the_staging_folder_is_refused(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"not ours")
    world.paths.services.mkdir(parents=True)
    world.paths.staging.symlink_to(outside)
    world.upload({})

    with pytest.raises(HostError, match="removing"):
        world.stage()
    assert (outside / "x").read_bytes() == b"not ours"


def test_progress_counts_every_file_once_up_to_all(world: World) -> None:
    world.deploy({f"api/{number}": b"x" for number in range(5)})
    world.upload({f"api/{number}": b"x" if number < 5 else b"y" for number in range(20)})
    told: list[tuple[int, int]] = []
    stage(
        world.listing(),
        world.bucket,
        world.paths,
        applied=world.applied,
        deadline=Deadline.after(SystemClock(), 20),
        tell=lambda done, whole: told.append((done, whole)),
    )

    assert [(done, 21) for done in range(6, 22)] == told


def test_what_was_fetched_is_counted_in_objects_and_bytes(world: World) -> None:
    world.upload({"api/a": b"12345", "common/b": b"123"})
    staged = world.stage()

    assert (staged.fetched, staged.received) == (3, 8 + len(VARS["api/vars.yaml"]))


def test_a_failing_download_is_told_and_no_live_file_has_changed(world: World) -> None:
    world.deploy({"api/a": b"one"})
    before = world.live()
    world.upload({"api/a": b"two", "api/bad": b"x"})
    world.bucket.broken[f"{BASE}api/bad"] = AwsError("reading it", "it broke", "run it again")

    with pytest.raises(AwsError, match="it broke"):
        world.stage()
    assert before == world.live()


def test_a_full_disk_while_downloading_is_an_error_of_the_host(world: World) -> None:
    world.upload({"api/bad": b"x"})
    world.bucket.broken[f"{BASE}api/bad"] = OSError(28, "No space left on device")

    with pytest.raises(HostError, match="No space left on device") as caught:
        world.stage()
    assert "free some space" in caught.value.next_step


def test_a_download_that_hangs_does_not_keep_the_run_past_its_deadline(world: World) -> None:
    world.upload({"api/a": b"x"})

    class Hanging(FakeBucket):
        """Never gives an object."""

        def download(self, item: RemoteObject, path: Path) -> str:
            threading.Event().wait(30)
            raise AssertionError("unreachable")

    hanging = Hanging(world.bucket.objects)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="syncing the bundle"):
        stage(
            world.listing(),
            hanging,
            world.paths,
            applied={},
            deadline=Deadline.after(SystemClock(), 0.1),
            tell=lambda _, __: None,
        )
    assert time.monotonic() - began < 2


def test_objects_are_downloaded_side_by_side_but_not_all_at_once(world: World) -> None:
    world.upload({f"api/{number:03}": b"x" for number in range(40)})
    lock, under_way, most = threading.Lock(), [0], [0]

    class Slow(FakeBucket):
        """Counts how many downloads are under way."""

        def download(self, item: RemoteObject, path: Path) -> str:
            with lock:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            time.sleep(0.005)
            with lock:
                under_way[0] -= 1
            return super().download(item, path)

    world.bucket = Slow(world.bucket.objects)
    world.stage()

    assert 1 < most[0] <= crew.MOST


FILE = BundleFile("api/a", "etag", 3, hashlib.sha256(b"one").hexdigest(), 0o644)


def test_the_digest_of_a_bundle_depends_on_paths_contents_and_modes_and_on_nothing_else() -> None:
    base = digest_of({"api/a": FILE})
    other = BundleFile("api/a", "other etag", 4, FILE.sha256, 0o644)

    assert base == digest_of({"api/a": other})
    assert len({base, digest_of({"api/b": FILE}), digest_of({}), digest_of({"api/a": FILE, "api/b": FILE})}) == 4
    assert base != digest_of({"api/a": BundleFile("api/a", "etag", 3, FILE.sha256, 0o755)})
    assert digest_of({"a": FILE, "b": FILE}) == digest_of({"b": FILE, "a": FILE})


# --- folders that are empty


def test_an_empty_folder_of_the_bundle_is_staged_and_told_until_it_is_there(world: World) -> None:
    markers = {"api/": b"", "api/tls/": b"", "api/deep/er/": b"", "common/spool/": b""}
    world.upload(markers)
    staged = world.stage()

    assert staged.folders == ("api/deep/er", "api/tls", "common/spool")
    assert all((staged.folder / path).is_dir() for path in staged.folders)
    assert staged.differs
    world.deploy(markers)
    again = world.deploy(markers)
    assert again.folders == ()
    assert not again.differs


def test_a_link_to_a_folder_elsewhere_is_as_good_as_an_empty_folder(world: World, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "db").write_bytes(b"precious")
    world.deploy({})
    world.file("api/data").symlink_to(disk)
    world.upload({"api/data/": b"", "api/a": b"one"})
    staged = world.stage()

    assert staged.folder == world.paths.staging
    assert staged.folders == ()
    assert (staged.folder / "api/data/db").read_bytes() == b"precious"
    discard(world.paths)
    assert (disk / "db").read_bytes() == b"precious"


def test_a_marker_of_a_folder_that_also_has_files_asks_for_nothing_more(world: World) -> None:
    tree = {"api/conf/": b"", "api/conf/a": b"one"}
    world.deploy(tree)

    assert world.deploy(tree).folders == ()


# --- what a former bundle brought


def test_a_file_of_the_host_is_shown_in_a_folder_that_only_the_former_bundle_had(world: World) -> None:
    world.deploy({"api/old/theirs": b"one", "api/old/deep/theirs": b"one"})
    world.plant({"api/old/mine": b"mine"})
    world.upload({})
    staged = world.stage()

    assert (staged.folder / "api/old/mine").read_bytes() == b"mine"
    assert not (staged.folder / "api/old/theirs").exists()
    assert not (staged.folder / "api/old/deep").exists()


@pytest.mark.parametrize(("old", "new"), [("api/conf", "api/conf/a"), ("api/conf/a", "api/conf")])
def test_a_file_may_become_a_folder_and_a_folder_a_file(world: World, old: str, new: str) -> None:
    world.deploy({old: b"one"})
    world.upload({new: b"two"})
    staged = world.stage()

    assert (staged.folder / new).read_bytes() == b"two"
    assert staged.removed == (old,)


def test_a_link_that_leads_nowhere_is_something_that_would_be_replaced(world: World) -> None:
    world.deploy({})
    world.file("api/a").symlink_to("nowhere")
    world.upload({"api/a": b"one"})

    assert (world.stage().added, world.stage().changed) == ((), ("api/a",))


# --- a bundle that is replaced meanwhile


@pytest.mark.slow
def test_one_answer_that_does_not_come_holds_up_no_other_object(world: World) -> None:
    names = [f"api/{number:03}" for number in range(40)]
    world.upload(dict.fromkeys(names, b"x"))
    others = threading.Event()

    class Silent(FakeBucket):
        """Keeps a core busy, so that one thread is left; then one object comes only after all others."""

        def download(self, item: RemoteObject, path: Path) -> str:
            end = time.monotonic() + 0.03
            while item.key < f"{BASE}api/020" and time.monotonic() < end:
                pass
            if item.key.endswith("/030"):
                assert others.wait(20)
            digest = super().download(item, path)
            if len(self.downloaded) == len(self.objects) - 1:
                others.set()
            return digest

    world.bucket = Silent(world.bucket.objects)
    staged = world.stage()

    assert staged.fetched == len(names) + 1


class Moving(FakeBucket):
    """One object is another by the time it is fetched; fetching the others takes a moment."""

    def __init__(self, objects: Mapping[str, bytes], moved: str) -> None:
        super().__init__(objects)
        self._moved = moved
        self.under_way = 0
        self.begun = 0

    def download(self, item: RemoteObject, path: Path) -> str:
        self.begun += 1
        if item.key == self._moved:
            raise BundleMoved(f"reading {item.key}", "it was replaced", "run it again")
        self.under_way += 1
        time.sleep(0.05)
        digest = super().download(item, path)
        self.under_way -= 1
        return digest


def test_an_object_that_was_replaced_ends_the_sync_with_no_thread_left_at_work_on_the_tree(world: World) -> None:
    world.upload({f"api/{number:03}": b"x" for number in range(200)})
    bucket = Moving(world.bucket.objects, f"{BASE}api/004")
    world.bucket = bucket

    with pytest.raises(BundleMoved, match="it was replaced"):
        world.stage()
    begun = bucket.begun
    assert bucket.under_way == 0
    assert begun <= 2 * crew.MOST, "the rest is not fetched any more"
    time.sleep(0.1)
    assert bucket.begun == begun


def test_staging_again_after_that_begins_with_an_empty_tree(world: World) -> None:
    world.upload({"api/a": b"one", "api/gone": b"x"})
    fine = world.bucket
    world.bucket = Moving(fine.objects, f"{BASE}api/gone")
    with pytest.raises(BundleMoved):
        world.stage()
    world.bucket = fine
    world.upload({"api/a": b"two"})
    staged = world.stage()

    assert (staged.folder / "api/a").read_bytes() == b"two"
    assert {path.name for path in (staged.folder / "api").iterdir()} == {"a", "vars.yaml"}


# --- room on the disk


class FullDisk:
    """What `os.statvfs` says of a file system with so much left."""

    def __init__(self, free: int, inodes: int = 1000, all_inodes: int = 1000) -> None:
        self.f_frsize, self.f_bavail = 4096, free // 4096
        self.f_files, self.f_favail = all_inodes, inodes


def disk(monkeypatch: pytest.MonkeyPatch, there: FullDisk) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: there)


def test_a_disk_without_room_is_told_before_anything_is_fetched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.upload({"api/big": b"x" * 8192})
    disk(monkeypatch, FullDisk(RESERVED_BYTES + 8192))

    with pytest.raises(
        HostError, match=r"needs 12\.0 KiB, 64\.0 MiB are free and 64\.0 MiB of them are left"
    ) as caught:
        world.stage()
    assert world.bucket.downloaded == []
    assert caught.value.exit_status == 74
    assert "free some space" in caught.value.next_step


def test_a_disk_without_inodes_is_told_as_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    disk(monkeypatch, FullDisk(RESERVED_BYTES * 2, inodes=2))

    refuse_without_room(tmp_path, [1, 1])
    with pytest.raises(HostError, match="needs 3 inodes, 2 are free"):
        refuse_without_room(tmp_path, [1, 1, 1])


def test_a_file_system_that_counts_no_inodes_has_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    disk(monkeypatch, FullDisk(RESERVED_BYTES * 2, inodes=0, all_inodes=0))

    refuse_without_room(tmp_path, [1, 1, 1])


def test_a_full_disk_is_no_matter_when_nothing_is_to_be_fetched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deploy({"api/a": b"one"})
    disk(monkeypatch, FullDisk(0, inodes=0))

    assert not world.deploy({"api/a": b"one"}).differs
