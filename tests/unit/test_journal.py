"""The way back across file systems, where keeping is no link: a copy has to be all that the file was."""

from __future__ import annotations

import os
import stat
import struct
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.steps import journal as journals
from agent.steps.state import State
from tests.unit.test_apply import World

# A file system of its own on every Linux.
ELSEWHERE = Path("/dev/shm")
ROOT = os.geteuid() == 0
OWNER = (12, 34) if ROOT else (os.geteuid(), os.getegid())
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
ATTRIBUTES = {"user.note": b"by hand", **({"security.capability": CAPABILITY} if ROOT else {})}
THEN = 1_000_000_000_123_456_789


@dataclass(frozen=True)
class Facts:
    """All that a file is, but for where it lies."""

    content: bytes
    owner: tuple[int, int]
    mode: int
    changed: int
    attributes: dict[str, bytes]


def facts(path: Path) -> Facts:
    status = path.stat()
    attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    owner = (status.st_uid, status.st_gid)
    return Facts(path.read_bytes(), owner, stat.S_IMODE(status.st_mode), status.st_mtime_ns, attributes)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A host whose /var/lib is not on the file system of its /opt."""
    if ELSEWHERE.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip(f"{ELSEWHERE} is no other file system")
    with tempfile.TemporaryDirectory(dir=ELSEWHERE) as other:
        state = World(tmp_path).paths.state
        state.parent.mkdir(parents=True)
        state.symlink_to(other)
        yield World(tmp_path)


def dress(path: Path, mode: int = 0o640) -> Facts:
    """Give a file what a plain copy of its bytes would lose."""
    os.chown(path, *OWNER)
    for name, value in ATTRIBUTES.items():
        os.setxattr(path, name, value)
    path.chmod(mode)
    os.utime(path, ns=(THEN, THEN))
    return facts(path)


@pytest.mark.parametrize("mode", [0o640, 0o4751, 0o400])
def test_a_file_that_is_kept_on_another_file_system_comes_back_as_it_was(world: World, mode: int) -> None:
    world.deploy({"api/a": b"good"})
    live = world.file("api/a")
    before = dress(live, mode)

    world.upload({"api/a": b"bad"})
    world.apply(world.stage())
    kept = journals.folder(world.paths.state, 1) / "api/a"
    assert live.read_bytes() == b"bad"
    assert kept.stat().st_dev != live.stat().st_dev
    assert facts(kept) == before

    world.undo()
    assert facts(live) == before
    assert [path.name for path in live.parent.iterdir() if path.name.startswith(".d")] == []


def test_a_link_is_kept_on_another_file_system_as_a_link_with_its_owner(world: World) -> None:
    world.deploy({"api/a": b"good"})
    link = world.file("api/a")
    link.unlink()
    link.symlink_to("elsewhere")
    os.chown(link, *OWNER, follow_symlinks=False)

    world.upload({"api/a": b"bad"})
    world.apply(world.stage())
    assert link.read_bytes() == b"bad"
    world.undo()

    status = link.lstat()
    assert (str(link.readlink()), status.st_uid, status.st_gid) == ("elsewhere", *OWNER)


def test_a_copy_is_for_nobody_else_while_it_is_written(tmp_path: Path) -> None:
    source, target = tmp_path / "key", tmp_path / "copy"
    os.mkfifo(source, 0o600)  # a file whose end is awaited, so that there is time to look
    before = os.umask(0)
    copying = threading.Thread(target=journals.copy, args=(source, target), daemon=True)
    try:
        copying.start()
        with source.open("wb") as writing:
            while not target.exists():
                assert copying.is_alive()
            mode = stat.S_IMODE(target.stat().st_mode)
            writing.write(b"a key")
        copying.join(10)
    finally:
        os.umask(before)

    assert mode == 0o600
    assert target.read_bytes() == b"a key"


def test_what_cannot_be_looked_at_is_not_taken_for_absent(tmp_path: Path) -> None:
    # Only the file system can refuse a look to root; a name that is too long it refuses to everybody.
    path = f"api/{'x' * 300}"
    (tmp_path / "services/api").mkdir(parents=True)

    with pytest.raises(HostError, match=r"keeping .*: File name too long"):
        journals.begin(State(instance_id="i-1"), [path], tmp_path / "services", tmp_path / "state")
