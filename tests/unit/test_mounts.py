"""Mount points that a manifest asks for: there, mounted, and big enough, or told all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import HostError
from agent.steps import mounts
from agent.steps.mounts import Mount


def mountinfo(tmp_path: Path, *points: Path, options: str = "rw,relatime", of_all: str = "rw") -> Path:
    """As the kernel writes it (proc_pid_mountinfo(5))."""
    names = (str(point).replace(" ", "\\040") for point in points)
    lines = (f"36 35 8:1 / {name} {options} shared:1 - ext4 /dev/sda1 {of_all}\n" for name in names)
    path = tmp_path / "mountinfo"
    path.write_text("".join(lines))
    return path


def fault(tmp_path: Path, info: Path, *wanted: Mount) -> HostError:
    with pytest.raises(HostError) as caught:
        mounts.expect(wanted, lambda path: tmp_path / path.lstrip("/"), info)
    return caught.value


def cause(tmp_path: Path, info: Path, *wanted: Mount) -> str:
    found = fault(tmp_path, info, *wanted)
    assert "/etc/fstab" in found.next_step
    return found.cause


def fstab(tmp_path: Path, text: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/fstab").write_text(text)


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


def test_too_little_room_is_told_with_both_figures_and_no_advice_to_format(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    told = fault(tmp_path, mountinfo(tmp_path, tmp_path / "data"), Mount(path="/data", free=1 << 60))

    assert " free, 1073741824.0 GiB are wanted: /data" in told.cause
    assert "free some space on /data" in told.next_step
    assert "mkfs" not in told.next_step


@pytest.mark.parametrize(("options", "of_all"), [("ro,relatime", "rw"), ("rw", "ro,errors=remount-ro")])
def test_a_mount_that_is_read_only_is_not_writable_and_nobody_is_told_to_format_it(
    tmp_path: Path, options: str, of_all: str
) -> None:
    (tmp_path / "data").mkdir()
    info = mountinfo(tmp_path, tmp_path / "data", options=options, of_all=of_all)

    told = fault(tmp_path, info, Mount(path="/data", writable=True))

    assert told.cause == "Data directory is not writable: /data"
    assert "mount -o remount,rw /data" in told.next_step
    assert "mkfs" not in told.next_step
    mounts.expect([Mount(path="/data")], lambda path: tmp_path / path[1:], info)


def test_of_two_mounts_at_one_place_the_upper_one_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lower = mountinfo(tmp_path, tmp_path / "data", options="ro").read_text()
    info = mountinfo(tmp_path, tmp_path / "data")
    info.write_text(lower + info.read_text())

    mounts.expect([Mount(path="/data", writable=True)], lambda path: tmp_path / path[1:], info)


def test_a_mount_point_that_comes_later_is_one_that_fstab_has_and_mounts_by_itself(tmp_path: Path) -> None:
    fstab(
        tmp_path,
        "# UUID=0 /commented ext4 defaults 0 2\n"
        "UUID=1\t/mnt/data\text4\tdefaults,nofail 0 2\nUUID=2 /mnt/media\\040data/ xfs nofail\n"
        "UUID=3 /by-hand ext4 noauto\nUUID=4 /there ext4 nofail 0 2\nUUID=5 none swap sw 0 0\nnonsense\n"
        "UUID=6 /short ext4\n",
    )
    (tmp_path / "there").mkdir()
    wanted = [
        Mount(path=path)
        for path in ("/mnt/data", "/mnt/media data", "/by-hand", "/there", "/commented", "/no", "/short")
    ]

    late = mounts.late(wanted, lambda path: tmp_path / path[1:], mountinfo(tmp_path, tmp_path / "there"))

    assert late == ["/mnt/data", "/mnt/media data", "/short"]


def test_without_fstab_nothing_comes_later(tmp_path: Path) -> None:
    assert mounts.late([Mount(path="/data")], lambda path: tmp_path / path[1:], mountinfo(tmp_path)) == []


def test_the_kernel_s_own_table_is_read() -> None:
    mounts.expect([Mount(path="/proc")], Path)


def test_a_host_without_proc_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    with pytest.raises(HostError, match="mountinfo"):
        mounts.expect([Mount(path="/data")], lambda path: tmp_path / path[1:], tmp_path / "absent/mountinfo")
