"""`--output`: a file is replaced whole, what is no file is written into and stays what it is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.cli import output
from agent.errors import HostError

DATA = b"API_KEY=canary\n"


def test_a_new_file_and_one_that_is_replaced_have_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "env"
    for _ in range(2):
        output.write(path, DATA, 0o600)
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (DATA, 0o600)
        path.chmod(0o644)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("old")
    (tmp_path / "link").symlink_to("env")

    output.write(tmp_path / "link", DATA, 0o600)

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "env").read_bytes() == DATA


def test_a_device_gets_it_and_stays_a_device() -> None:
    ours, theirs = os.openpty()
    name = os.ttyname(theirs)

    output.write(Path(name), DATA, 0o600)

    assert stat.S_ISCHR(Path(name).stat().st_mode)
    assert os.read(ours, 100).replace(b"\r\n", b"\n") == DATA
    os.close(ours)
    os.close(theirs)


def test_a_pipe_with_a_name_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()

    output.write(path, DATA, 0o600)

    reader.join(10)
    assert read == [DATA]
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_standard_output_that_is_a_file_gets_it_after_what_is_in_it(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    script = (
        f"from pathlib import Path; from agent.cli import output; output.write(Path('/dev/stdout'), {DATA!r}, 0o600)"
    )

    with path.open(mode) as file:
        subprocess.run([sys.executable, "-c", script], stdout=file, check=True)

    assert path.read_bytes() == (DATA if mode == "wb" else b"before\n" + DATA)


def test_standard_output_that_is_a_pipe_gets_it() -> None:
    script = (
        f"from pathlib import Path; from agent.cli import output; output.write(Path('/dev/stdout'), {DATA!r}, 0o600)"
    )

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout == DATA


@pytest.mark.parametrize("name", ["", "absent/env", "/dev/full"], ids=["a folder", "no folder", "a full disk"])
def test_what_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(HostError, match="writing "):
        output.write(tmp_path / name, DATA, 0o600)


OTHER = 65534


@pytest.fixture
def for_all(tmp_path: Path) -> Path:
    """A folder like /tmp."""
    if os.geteuid() != 0:
        pytest.skip("only root can make what belongs to somebody else")
    folder = tmp_path / "for-all"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.mark.parametrize("kind", ["link", "link to a link", "pipe"])
def test_what_another_user_has_put_there_in_a_folder_for_all_is_no_way_to_a_file(for_all: Path, kind: str) -> None:
    victim, path = for_all.parent / "victim", for_all / "support.tar.gz"
    victim.write_bytes(b"whole")
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(victim)
    os.chown(path, OTHER, OTHER, follow_symlinks=False)
    named = path
    if kind == "link to a link":
        named = for_all.parent / "mine"
        named.symlink_to(path)

    with pytest.raises(HostError, match="another user's") as caught:
        output.write(named, DATA, 0o600)

    assert caught.value.next_step == "name a file in a folder of your own"
    assert victim.read_bytes() == b"whole"


def test_one_s_own_link_in_a_folder_for_all_is_followed(for_all: Path) -> None:
    (for_all / "mine").symlink_to(for_all.parent / "file")

    output.write(for_all / "mine", DATA, 0o600)

    assert (for_all.parent / "file").read_bytes() == DATA


def test_another_user_s_file_in_a_folder_for_all_is_replaced_and_not_written_into(for_all: Path) -> None:
    path = for_all / "file"
    path.write_bytes(b"")
    os.chown(path, OTHER, OTHER)
    with path.open("rb") as theirs:
        output.write(path, DATA, 0o600)

        assert theirs.read() == b""
    assert (path.stat().st_uid, path.read_bytes()) == (os.geteuid(), DATA)


def test_links_without_an_end_are_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(HostError, match="Too many levels of symbolic links"):
        output.write(tmp_path / "loop", DATA, 0o600)
