"""Staging and applying: against a model, with random bundles, and with the traps written out."""

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

from agent.aws.s3 import RemoteObject
from agent.errors import AwsError, DeadlineExceeded, HostError
from agent.host.clock import Deadline, SystemClock
from agent.host.paths import Paths
from agent.steps import apply as applying
from agent.steps import bundle
from agent.steps.bundle import Listing
from agent.steps.stage import DOWNLOADS, Staged, digest_of, discard, stage
from agent.steps.state import BundleFile
from tests.unit.fakes import FakeBucket

BASE = "deployments/acme/main/"
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
    """A host and a bucket; `deploy` is what a run does with a bundle."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        self.bucket = FakeBucket()
        self.applied: dict[str, BundleFile] = {}
        self.recorded: list[set[str]] = []

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

    def apply(self, staged: Staged) -> None:
        applying.apply(staged, self.paths.services, lambda files: self.recorded.append(set(files)))
        self.applied = {**self.applied, **staged.files}

    def verified(self, staged: Staged) -> None:
        applying.remove(staged.removed, self.paths.services)
        self.applied = dict(staged.files)
        discard(self.paths.staging)

    def deploy(self, tree: Tree) -> Staged:
        self.upload(tree)
        staged = self.stage()
        self.apply(staged)
        self.verified(staged)
        return staged

    def live(self) -> dict[str, bytes]:
        return tree_of(self.paths.services, skip=self.paths.staging)

    def plant(self, tree: Tree) -> None:
        for path, content in tree.items():
            (self.paths.services / path).parent.mkdir(parents=True, exist_ok=True)
            (self.paths.services / path).write_bytes(content)

    def file(self, path: str) -> Path:
        return self.paths.services / path


def tree_of(folder: Path, skip: Path | None = None) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not (skip is not None and path.is_relative_to(skip))
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


VARS = {"api/vars.yaml": b"service: api"}


@settings(deadline=None, max_examples=60)
@given(old=BUNDLES, new=BUNDLES, local=LOCALS)
def test_any_bundle_over_any_other_gives_the_new_one_and_leaves_the_files_of_the_host(
    old: Tree, new: Tree, local: Tree
) -> None:
    with tempfile.TemporaryDirectory() as root:
        world = World(Path(root))
        world.deploy(old)
        world.plant(local)
        before = world.live()
        world.upload(new)

        staged = world.stage()
        assert before == world.live()
        world.apply(staged)
        assert {**before, **VARS, **new} == world.live()
        world.verified(staged)
        assert {**VARS, **new, **local} == world.live()
        assert not world.paths.staging.exists()

        changed = {path for path in new if path in old and old[path] != new[path]}
        assert changed == set(staged.changed)
        assert set(new) - set(old) == set(staged.added)
        assert set(old) - set(new) == set(staged.removed)
        assert {f"{BASE}{path}" for path in changed | (set(new) - set(old))} == set(world.bucket.downloaded)


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
        discard(world.paths.staging)

        assert before == world.live()
        assert not world.paths.staging.exists()


def test_an_unchanged_file_is_staged_as_another_name_of_the_live_one(world: World) -> None:
    world.deploy({"api/a": b"one"})
    staged = world.stage()

    assert world.file("api/a").samefile(staged.folder / "api/a")


def test_discarding_does_not_follow_the_links_to_files_of_the_host(world: World) -> None:
    world.deploy({"api/a": b"one"})
    world.plant({"api/data/db": b"precious", "api/tls/key.pem": b"precious"})
    staged = world.stage()
    assert (staged.folder / "api/data/db").read_bytes() == b"precious"
    discard(staged.folder)

    assert world.file("api/data/db").read_bytes() == b"precious"
    assert world.file("api/tls/key.pem").read_bytes() == b"precious"


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


def test_a_live_file_with_another_mode_is_put_right(world: World) -> None:
    world.deploy({"api/a": b"one"})
    world.file("api/a").chmod(0o666)
    world.deploy({"api/a": b"one"})

    assert mode(world.file("api/a")) == 0o644


def test_a_live_file_that_is_gone_is_fetched_again(world: World) -> None:
    world.deploy({"api/a": b"one"})
    world.file("api/a").unlink()
    staged = world.deploy({"api/a": b"one"})

    assert staged.added == ("api/a",)
    assert world.file("api/a").read_bytes() == b"one"


def test_a_live_link_where_a_file_belongs_is_replaced_and_not_written_through(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours")
    world.deploy({"api/a": b"one"})
    world.file("api/a").unlink()
    world.file("api/a").symlink_to(outside)
    world.deploy({"api/a": b"one"})

    assert not world.file("api/a").is_symlink()
    assert outside.read_bytes() == b"not ours"


def test_a_file_of_a_former_host_set_up_without_a_record_is_fetched(world: World) -> None:
    world.plant({"api/a": b"one"})
    staged = world.deploy({"api/a": b"one"})

    assert staged.changed == ("api/a",)
    assert world.bucket.downloaded.count(f"{BASE}api/a") == 1


def test_a_file_that_the_new_bundle_lacks_goes_only_after_the_release_is_verified(world: World) -> None:
    world.deploy({"api/a": b"one", "api/conf/b": b"two"})
    world.upload({"api/a": b"one"})
    staged = world.stage()
    world.apply(staged)

    assert staged.removed == ("api/conf/b",)
    assert world.file("api/conf/b").read_bytes() == b"two"
    world.verified(staged)
    assert not world.file("api/conf").exists()


def test_a_removed_file_is_not_in_the_staged_tree(world: World) -> None:
    world.deploy({"api/docker-compose.override.yaml": b"{}"})
    world.upload({})

    assert not (world.stage().folder / "api/docker-compose.override.yaml").exists()


def test_a_folder_that_still_holds_a_file_of_the_host_stays(world: World) -> None:
    world.deploy({"api/conf/b": b"two"})
    world.plant({"api/conf/local": b"mine"})
    world.deploy({})

    assert world.file("api/conf/local").read_bytes() == b"mine"


def test_the_folder_of_the_role_stays_when_it_is_empty(world: World) -> None:
    world.plant({"api/a": b"one"})
    applying.remove(("api/a",), world.paths.services)

    assert world.file("api").is_dir()


def test_removing_what_an_operator_has_already_removed_with_its_folder_does_nothing(world: World) -> None:
    world.plant({"api/x": b""})
    applying.remove(("api/conf/deep/b", "api/conf/c"), world.paths.services)

    assert world.live() == {"api/x": b""}


def test_removing_follows_no_link_that_took_the_place_of_a_folder(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b").write_bytes(b"not ours")
    world.plant({"api/x": b""})
    world.file("api/conf").symlink_to(outside)
    applying.remove(("api/conf/b",), world.paths.services)

    assert (outside / "b").read_bytes() == b"not ours"


def test_scripts_are_executable_and_nothing_else_is(world: World) -> None:
    world.deploy({"api/init.sh": b"echo", "api/run": b"#!/bin/sh\n", "api/x": b"#", "api/conf/y": b"", "api/sh": b"x"})

    modes = {path: mode(world.file(path)) for path in ("api/init.sh", "api/run", "api/x", "api/conf/y", "api/sh")}
    assert modes == {"api/init.sh": 0o755, "api/run": 0o755, "api/x": 0o644, "api/conf/y": 0o644, "api/sh": 0o644}
    assert mode(world.file("api/conf")) == mode(world.file("api")) == mode(world.paths.services) == 0o755


def test_modes_do_not_depend_on_the_umask(world: World) -> None:
    before = os.umask(0o077)
    try:
        world.deploy({"api/init.sh": b"echo", "api/conf/y": b"", "common/deep/z": b""})
    finally:
        os.umask(before)

    assert [mode(world.file(path)) for path in ("api/init.sh", "api/conf/y", "common/deep/z")] == [0o755, 0o644, 0o644]
    assert [mode(world.file(path)) for path in ("api", "api/conf", "common/deep")] == [0o755] * 3


def test_the_staged_tree_is_for_nobody_else(world: World) -> None:
    world.upload({})

    assert mode(world.stage().folder) == 0o700


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


def test_all_files_of_the_bundle_are_recorded_before_the_first_one_is_moved(world: World) -> None:
    world.upload({"api/a": b"one"})
    staged = world.stage()
    seen: list[dict[str, bytes]] = []
    applying.apply(staged, world.paths.services, lambda _: seen.append(world.live()))

    assert seen == [{}]


def test_a_run_killed_in_the_middle_of_applying_is_finished_by_the_next(world: World) -> None:
    world.deploy({"api/a": b"one", "api/b.sh": b"two"})
    world.upload({"api/a": b"ONE", "api/b.sh": b"TWO"})
    staged = world.stage()
    # The record is written, one of two files is moved, then the process is gone.
    world.applied = {**world.applied, **staged.files}
    (staged.folder / "api/a").replace(world.file("api/a"))
    world.deploy({"api/a": b"ONE", "api/b.sh": b"TWO"})

    assert world.live() == {**VARS, "api/a": b"ONE", "api/b.sh": b"TWO"}


def test_a_link_in_the_place_of_a_folder_is_never_followed(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    world.plant({"api/x": b""})
    world.file("api/conf").symlink_to(outside)
    world.upload({"api/conf/a": b"one"})
    staged = world.stage()

    with pytest.raises(HostError, match="it is a link to"):
        world.apply(staged)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(("there", "brought"), [("api/conf/a", "api/conf"), ("api/conf", "api/conf/a")])
def test_a_file_of_the_host_in_the_way_is_told_before_anything_changes(world: World, there: str, brought: str) -> None:
    world.deploy({"api/a": b"old", "common/z": b"old"})
    world.plant({there: b"mine"})
    before = world.live()
    world.upload({"api/a": b"new", brought: b"theirs", "common/z": b"new"})
    staged = world.stage()

    with pytest.raises(HostError, match="conf") as caught:
        world.apply(staged)
    assert before == world.live()
    assert caught.value.exit_status == 74
    assert world.recorded[1:] == []


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

    assert 1 < most[0] <= DOWNLOADS


FILE = BundleFile("api/a", "etag", 3, hashlib.sha256(b"one").hexdigest(), 0o644)


def test_the_digest_of_a_bundle_depends_on_paths_contents_and_modes_and_on_nothing_else() -> None:
    base = digest_of({"api/a": FILE})
    other = BundleFile("api/a", "other etag", 4, FILE.sha256, 0o644)

    assert base == digest_of({"api/a": other})
    assert len({base, digest_of({"api/b": FILE}), digest_of({}), digest_of({"api/a": FILE, "api/b": FILE})}) == 4
    assert base != digest_of({"api/a": BundleFile("api/a", "etag", 3, FILE.sha256, 0o755)})
    assert digest_of({"a": FILE, "b": FILE}) == digest_of({"b": FILE, "a": FILE})
