"""Mount points that a manifest asks for: there, mounted, and big enough, or told all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import HostError
from agent.steps import mounts
from agent.steps.mounts import Mount


def mountinfo(tmp_path: Path, *points: Path) -> Path:
    """As the kernel writes it (proc_pid_mountinfo(5))."""
    lines = (
        "36 35 8:1 / {} rw,relatime shared:1 - ext4 /dev/sda1 rw\n".format(str(point).replace(" ", "\\040"))
        for point in points
    )
    path = tmp_path / "mountinfo"
    path.write_text("".join(lines))
    return path


def cause(tmp_path: Path, info: Path, *wanted: Mount) -> str:
    with pytest.raises(HostError) as caught:
        mounts.expect(wanted, lambda path: tmp_path / path.lstrip("/"), info)
    assert "/etc/fstab" in caught.value.next_step
    return caught.value.cause


def test_a_mount_point_passes_below_any_root_and_with_blanks_in_its_name(tmp_path: Path) -> None:
    for name in ("mnt/data", "mnt/media data"):
        (tmp_path / name).mkdir(parents=True)
    info = mountinfo(tmp_path, tmp_path / "mnt/data", tmp_path / "mnt/media data")
    wanted = [Mount(path="/mnt/data", writable=True, free=1), Mount(path="/mnt/media data")]

    mounts.expect(wanted, lambda path: tmp_path / path.lstrip("/"), info)


def test_a_link_to_a_mount_point_passes(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "volume")

    mounts.expect([Mount(path="/data")], lambda path: tmp_path / path[1:], mountinfo(tmp_path, tmp_path / "volume"))


def test_what_is_missing_and_what_is_only_a_folder_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()

    told = cause(tmp_path, mountinfo(tmp_path), *(Mount(path=f"/{name}") for name in ("gone", "plain", "file/x")))

    assert told == (
        "Data directory does not exist: /gone; Data directory is not a mount point: /plain;"
        " Data directory cannot be read (Not a directory): /file/x"
    )
    assert "cannot be read" in cause(tmp_path, mountinfo(tmp_path), Mount(path="/loop"))


def test_too_little_room_is_told_with_both_figures(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    info = mountinfo(tmp_path, tmp_path / "data")

    assert "GiB free, 1024.0 GiB are wanted: /data" in cause(
        tmp_path, info, Mount(path="/data", free=1 << 40)
    ) or "are wanted: /data" in cause(tmp_path, info, Mount(path="/data", free=1 << 60))


def test_the_kernel_s_own_table_is_read() -> None:
    mounts.expect([Mount(path="/proc")], Path)


def test_a_host_without_proc_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    with pytest.raises(HostError, match="mountinfo"):
        mounts.expect([Mount(path="/data")], lambda path: tmp_path / path[1:], tmp_path / "absent/mountinfo")
