"""Applying what was staged: against a model, with random bundles, and with the traps written out."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import HostError
from agent.host import files
from agent.host.clock import Deadline, SystemClock
from agent.host.paths import Paths
from agent.steps import apply as applying
from agent.steps import bundle, state
from agent.steps import journal as journals
from agent.steps import release as releases
from agent.steps import undo as undoing
from agent.steps.journal import Edit
from agent.steps.records import Release
from agent.steps.stage import Staged, digest_of, discard, stage
from agent.steps.state import State
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


RELEASE = Release(
    number=0, role="api", slug="acme", ref="main", tag="v1", bundle="", images={}, verified_at="2026-01-02T03:04:05Z"
)


class World:
    """A host and a bucket; `deploy` is what a run does with a bundle."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        self.bucket = FakeBucket()
        self.kept = State(instance_id="i-1")
        self.edits: list[Edit] = []
        self.lost: tuple[str, ...] = ()

    def upload(self, tree: Tree) -> None:
        self.bucket.objects = {f"{BASE}api/vars.yaml": b"service: api"}
        self.bucket.objects |= {f"{BASE}{path}": content for path, content in tree.items()}
        self.bucket.downloaded.clear()

    def stage(self) -> Staged:
        return stage(
            bundle.find(self.bucket, "acme", "main", "api"),
            self.bucket,
            self.paths,
            applied=self.kept.applied,
            deadline=Deadline.after(SystemClock(), 20),
            tell=lambda _, __: None,
        )

    def apply(self, staged: Staged) -> None:
        """The calls of `apply_bundle`, which has the step around them."""
        services = self.paths.services
        early = applying.in_the_way(staged)
        applying.check(staged, services, early)
        paths = (*staged.added, *staged.changed, *staged.removed)
        made = applying.missing_folders(staged, services)
        journal, edits = journals.begin(self.kept, paths, services, self.paths.state)
        journal = replace(journal, folders=(*journal.folders, *made))
        self.edits = list(edits)
        folders = self.kept.folders.union(made)
        self.save(applied={**self.kept.applied, **staged.files}, journal=journal, folders=folders)
        applying.apply(staged, services, early, folders)
        self.save(journal=replace(journal, applying=False))

    def verified(self, staged: Staged) -> None:
        """The calls of `keep_release`."""
        files.remove_below(self.paths.services, staged.removed, self.kept.folders)
        journal = self.kept.journal
        applied = {path: file for path, file in self.kept.applied.items() if path not in staged.removed}
        self.kept = replace(self.kept, applied=applied)
        number = self.kept.current.number if self.kept.current else 0
        release = replace(RELEASE, number=number, bundle=digest_of(staged.files))
        self.kept = releases.record(self.paths.state, self.kept, release)
        assert releases.write_tag(self.file("api/.ecr-tag"), "v1") == []
        if journal is not None:
            journals.seal(journal, self.paths.state)
        discard(self.paths)

    def undo(self) -> None:
        """The calls of `take_back`."""
        if self.kept.journal is not None:
            self.save(journal=replace(self.kept.journal, applying=True))
        undone = undoing.undo(self.kept, self.paths.services, self.paths.state)
        self.kept, self.edits, self.lost = undone.state, list(undone.edits), undone.lost
        state.save(self.paths.state, self.kept)

    def save(self, **changes: Any) -> None:  # noqa: ANN401 - fields of State, each of its own type
        self.kept = replace(self.kept, **changes)
        state.save(self.paths.state, self.kept)

    def restart(self) -> None:
        """What the next process knows."""
        self.kept, _ = state.load(self.paths.state, "i-1")

    def deploy(self, tree: Tree) -> Staged:
        self.upload(tree)
        staged = self.stage()
        self.apply(staged)
        self.verified(staged)
        return staged

    def live(self) -> dict[str, bytes]:
        """The live files, without the tag that the agent itself writes."""
        found = tree_of(self.paths.services, skip=self.paths.staging)
        found.pop("api/.ecr-tag", None)
        return found

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
@pytest.mark.slow
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


def test_a_live_file_with_another_mode_is_put_right(world: World) -> None:
    world.deploy({"api/a": b"one"})
    world.file("api/a").chmod(0o666)
    world.deploy({"api/a": b"one"})

    assert mode(world.file("api/a")) == 0o644


def test_a_live_link_where_a_file_belongs_is_replaced_and_not_written_through(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours")
    world.deploy({"api/a": b"one"})
    world.file("api/a").unlink()
    world.file("api/a").symlink_to(outside)
    world.deploy({"api/a": b"one"})

    assert not world.file("api/a").is_symlink()
    assert outside.read_bytes() == b"not ours"


def test_a_file_that_the_new_bundle_lacks_goes_only_after_the_release_is_verified(world: World) -> None:
    world.deploy({"api/a": b"one", "api/conf/b": b"two"})
    world.upload({"api/a": b"one"})
    staged = world.stage()
    world.apply(staged)

    assert staged.removed == ("api/conf/b",)
    assert world.file("api/conf/b").read_bytes() == b"two"
    world.verified(staged)
    assert not world.file("api/conf").exists()


def test_a_folder_that_still_holds_a_file_of_the_host_stays(world: World) -> None:
    world.deploy({"api/conf/b": b"two"})
    world.plant({"api/conf/local": b"mine"})
    world.deploy({})

    assert world.file("api/conf/local").read_bytes() == b"mine"


def test_the_folder_of_the_role_stays_when_it_is_empty(world: World) -> None:
    world.plant({"api/a": b"one"})
    files.remove_below(world.paths.services, ("api/a",), {"api"})

    assert world.file("api").is_dir()


def test_removing_what_an_operator_has_already_removed_with_its_folder_does_nothing(world: World) -> None:
    world.plant({"api/x": b""})
    files.remove_below(world.paths.services, ("api/conf/deep/b", "api/conf/c"), {"api/conf"})

    assert world.live() == {"api/x": b""}


def test_removing_follows_no_link_that_took_the_place_of_a_folder(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b").write_bytes(b"not ours")
    world.plant({"api/x": b""})
    world.file("api/conf").symlink_to(outside)
    files.remove_below(world.paths.services, ("api/conf/b",), {"api/conf"})

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
    assert world.kept.journal is None


# --- the way back

SWAPPED = st.sampled_from(["api/x", "api/x/y", "api/x/y/z", "common/x", "common/x/y", "api/w"])


def without_clashes(paths: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in paths.items() if not any(other.startswith(f"{path}/") for other in paths)}


SWAPPING = st.dictionaries(SWAPPED, CONTENTS, max_size=4).map(without_clashes)


@settings(deadline=None, max_examples=80)
@given(old=BUNDLES, new=BUNDLES, old_swapped=SWAPPING, new_swapped=SWAPPING, local=LOCALS)
@pytest.mark.slow
def test_undoing_gives_back_every_byte_and_mode_whatever_the_new_bundle_was(
    old: Tree, new: Tree, old_swapped: Tree, new_swapped: Tree, local: Tree
) -> None:
    with tempfile.TemporaryDirectory() as root:
        world = World(Path(root))
        world.deploy({**old, **old_swapped})
        world.plant(local)
        before = snapshot(world)
        world.upload({**new, **new_swapped})
        world.apply(world.stage())
        assert {**VARS, **new, **new_swapped}.items() <= world.live().items()
        world.undo()

        assert before == snapshot(world)
        assert world.stage().removed == tuple(sorted({*old, *old_swapped} - {*new, *new_swapped}))


def snapshot(world: World) -> dict[str, tuple[bytes, int]]:
    return {path: (data, mode(world.file(path))) for path, data in world.live().items()}


def test_a_file_that_becomes_a_folder_and_a_folder_that_becomes_a_file_are_swapped(world: World) -> None:
    world.deploy({"api/x": b"one", "api/y/z": b"two"})
    world.deploy({"api/x/a": b"three", "api/y": b"four"})

    assert world.live() == {**VARS, "api/x/a": b"three", "api/y": b"four"}


def test_the_empty_folder_that_the_engine_makes_for_a_missing_mount_becomes_the_file(world: World) -> None:
    world.deploy({"api/x": b"one"})
    world.file("api/y").mkdir()
    world.upload({"api/x": b"one", "api/y": b"two"})
    world.apply(world.stage())
    assert world.live() == {**VARS, "api/x": b"one", "api/y": b"two"}

    world.undo()
    assert world.live() == {**VARS, "api/x": b"one"}


def test_a_folder_with_a_file_of_the_host_does_not_become_a_file(world: World) -> None:
    world.deploy({"api/y/z": b"two"})
    world.plant({"api/y/key.pem": b"mine"})
    world.upload({"api/y": b"four"})

    with pytest.raises(HostError, match="the host has a folder"):
        world.apply(world.stage())
    assert world.live() == {**VARS, "api/y/z": b"two", "api/y/key.pem": b"mine"}


def test_a_file_that_somebody_edited_is_overwritten_and_its_content_is_kept_and_named(world: World) -> None:
    world.deploy({"api/a": b"one", "api/b": b"two"})
    world.plant({"api/a": b"edited"})
    world.deploy({"api/a": b"one", "api/b": b"two"})

    assert world.live()["api/a"] == b"one"
    assert [(edit.path, edit.kept.read_bytes()) for edit in world.edits] == [("api/a", b"edited")]
    assert world.edits[0].kept == world.paths.state / "releases/1/replaced/api/a"
    assert mode(world.edits[0].kept) == 0o600


def test_each_of_several_edits_is_kept(world: World) -> None:
    world.deploy({"api/a": b"one"})
    for edit in (b"first", b"second", b"third"):
        world.plant({"api/a": edit})
        world.deploy({"api/a": b"one"})

    kept = journals.folder(world.paths.state, 1) / "api"
    assert {path.read_bytes() for path in kept.iterdir()} == {b"first", b"second", b"third"}


def test_a_file_of_the_scripts_that_differs_is_kept_when_the_first_bundle_replaces_it(world: World) -> None:
    world.plant({"api/a": b"by the scripts"})
    world.deploy({"api/a": b"one"})

    assert [(edit.path, edit.kept.read_bytes()) for edit in world.edits] == [("api/a", b"by the scripts")]


def test_a_link_that_took_the_place_of_a_file_is_put_back_as_a_link(world: World, tmp_path: Path) -> None:
    world.deploy({"api/a": b"one"})
    world.file("api/a").unlink()
    world.file("api/a").symlink_to(tmp_path / "elsewhere")
    world.upload({"api/a": b"two"})
    world.apply(world.stage())
    world.undo()

    assert world.file("api/a").readlink() == tmp_path / "elsewhere"


def test_after_two_failed_deploys_the_way_still_leads_to_the_verified_release(world: World) -> None:
    world.deploy({"api/a": b"good", "api/b": b"good"})
    for tree in ({"api/a": b"bad"}, {"api/a": b"worse", "api/c": b"new"}):
        world.upload(tree)
        world.apply(world.stage())
        discard(world.paths)
    world.undo()

    assert world.live() == {**VARS, "api/a": b"good", "api/b": b"good"}


def test_an_edit_of_a_failed_release_is_kept_too(world: World) -> None:
    world.deploy({"api/a": b"good"})
    world.upload({"api/a": b"bad"})
    world.apply(world.stage())
    discard(world.paths)
    world.plant({"api/a": b"hot fix"})
    world.upload({"api/a": b"better"})
    world.apply(world.stage())

    assert [edit.kept.read_bytes() for edit in world.edits] == [b"hot fix"]
    world.undo()
    assert world.live()["api/a"] == b"good"


def test_what_somebody_made_of_a_file_of_the_failed_release_is_kept_when_it_is_undone(world: World) -> None:
    world.deploy({"api/a": b"good"})
    world.upload({"api/a": b"bad", "api/added": b"bad"})
    world.apply(world.stage())
    world.plant({"api/a": b"hot fix", "api/added": b"hot fix too"})
    world.undo()

    assert world.live() == {**VARS, "api/a": b"good"}
    assert sorted((edit.path, edit.kept.read_bytes()) for edit in world.edits) == [
        ("api/a", b"hot fix"),
        ("api/added", b"hot fix too"),
    ]


def test_a_content_that_is_kept_no_more_is_told_and_not_taken_for_put_back(world: World) -> None:
    world.deploy({"api/a": b"good", "api/b": b"good"})
    world.upload({"api/a": b"bad", "api/b": b"bad"})
    world.apply(world.stage())
    (journals.folder(world.paths.state, 1) / "api/b").unlink()
    world.undo()

    assert world.lost == ("api/b",)
    assert world.live() == {**VARS, "api/a": b"good", "api/b": b"bad"}


def test_a_folder_of_the_host_that_undoing_leaves_empty_stays(world: World) -> None:
    world.deploy({"api/a": b"good"})
    world.file("api/data").mkdir()
    world.upload({"api/a": b"good", "api/data/x": b"new", "api/made/y": b"new"})
    world.apply(world.stage())
    world.undo()

    assert world.file("api/data").is_dir()
    assert not world.file("api/made").exists()


# --- killed at every boundary

_CHANGING = frozenset(
    {
        "os.rename",
        "os.link",
        "os.remove",
        "os.mkdir",
        "os.rmdir",
        "os.chmod",
        "os.symlink",
        "os.truncate",
        "shutil.copyfile",
    }
)


def run_until(boundary: int, work: Callable[[], None]) -> bool:
    """Run `work` in a process that dies, as by SIGKILL, before its change number `boundary`; true if it had so many."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] != 0
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in _CHANGING or writes:
            seen += 1
            if seen == boundary:
                os._exit(9)

    code = 1
    try:
        sys.addaudithook(hook)
        work()
        code = 0
    finally:
        os._exit(code)


OLD = {"api/a": b"old", "api/b": b"old", "api/gone": b"old", "api/x": b"a file", "common/c": b"old"}
NEW = {"api/a": b"new", "api/b": b"old", "api/x/deep": b"a folder", "api/more": b"new", "common/c": b"new"}
HOST = {"api/tls/key.pem": b"mine", "common/data": b"mine"}


@pytest.mark.slow
def test_a_run_killed_before_any_of_its_changes_is_undone_or_goes_on_and_ends_the_same() -> None:
    boundary = 0
    alive = True
    while alive:
        boundary += 1
        with tempfile.TemporaryDirectory() as root:
            world = World(Path(root))
            world.deploy(OLD)
            world.plant(HOST)
            world.upload(NEW)
            staged = world.stage()

            def deploy(world: World = world, staged: Staged = staged) -> None:
                world.apply(staged)
                world.verified(staged)

            alive = run_until(boundary, deploy)
            world.restart()
            if world.kept.journal is not None and world.kept.journal.applying:
                world.undo()
                assert world.live() == {**VARS, **OLD, **HOST}, boundary
            world.deploy(NEW)
            assert world.live() == {**VARS, **NEW, **HOST}, boundary
            assert world.kept.journal is None
    # So many places it can be killed at: the test would be worth nothing if the hook saw none.
    assert boundary > 30


@pytest.mark.slow
def test_a_run_killed_while_it_undoes_is_undone_by_the_next() -> None:
    boundary = 0
    alive = True
    while alive:
        boundary += 1
        with tempfile.TemporaryDirectory() as root:
            world = World(Path(root))
            world.deploy(OLD)
            world.plant(HOST)
            world.upload(NEW)
            world.apply(world.stage())
            alive = run_until(boundary, world.undo)
            world.restart()
            world.undo()
            assert world.live() == {**VARS, **OLD, **HOST}, boundary
    assert boundary > 10
