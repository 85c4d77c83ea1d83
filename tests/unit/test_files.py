"""Files are replaced whole, with the right mode from the first byte; what has to go is overwritten first."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import HostError
from agent.host import files
from tests.unit.children import python


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_written_with_its_mode(tmp_path: Path) -> None:
    files.write(tmp_path / "x", b"new", 0o640)

    assert (tmp_path / "x").read_bytes() == b"new"
    assert mode(tmp_path / "x") == 0o640


def test_a_file_is_replaced_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        files.write(path, b"new", 0o600)

        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("durable", [True, False])
def test_a_failure_while_writing_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, *, durable: bool) -> None:
    # A limit on the size of files makes write(2) fail in the middle, as a full disk does.
    path = tmp_path / "x"
    path.write_bytes(b"old")
    code = f"""
        import resource, signal
        from pathlib import Path
        from agent.errors import HostError
        from agent.host import files

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            files.write(Path({str(path)!r}), b"n" * 100_000, 0o600, durable={durable})
        except HostError as error:
            print(error)
    """

    assert python(code).out == f"writing {path}: File too large\n"
    assert path.read_bytes() == b"old"
    assert [path] == list(tmp_path.iterdir())


def test_the_mode_is_right_before_the_first_byte_is_written(tmp_path: Path) -> None:
    # The audit hook sees every open and chmod; the size of the temporary file at the chmod tells the order.
    code = f"""
        import os, sys
        from pathlib import Path
        from agent.host import files

        os.umask(0)
        seen = []
        def hook(event, args):
            if event == "os.chmod" and isinstance(args[0], int):
                seen.append(("chmod", oct(args[1]), os.fstat(args[0]).st_size))
            if event == "open" and isinstance(args[0], str) and args[2] & os.O_CREAT:
                seen.append(("create", args[2] & os.O_EXCL != 0))
            if event == "os.rename":
                seen.append(("rename", oct(os.stat(args[0]).st_mode & 0o7777)))
        sys.addaudithook(hook)
        files.write(Path({str(tmp_path / "x")!r}), b"secret" * 1000, 0o600)
        print(seen)
    """

    assert python(code).out == "[('create', True), ('chmod', '0o600', 0), ('rename', '0o600')]\n"


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files.write(tmp_path / "x", b"", 0o644)
        files.make_folder(tmp_path / "folder", 0o755)
    finally:
        os.umask(before)

    assert mode(tmp_path / "x") == 0o644
    assert mode(tmp_path / "folder") == 0o755


def test_writing_where_no_folder_is_says_so(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file or directory") as caught:
        files.write(tmp_path / "none" / "x", b"", 0o644)

    assert f"writing {tmp_path / 'none' / 'x'}" == caught.value.doing
    assert caught.value.exit_status == 74


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "sudo"),
        (errno.EPERM, "sudo"),
        (errno.EIO, "look at the path"),
    ],
)
def test_an_error_of_the_system_gets_the_step_that_mends_it(number: int, hint: str) -> None:
    with pytest.raises(HostError) as caught, files.naming("doing it"):
        raise OSError(number, os.strerror(number))

    assert str(caught.value) == f"doing it: {os.strerror(number)}"
    assert hint in caught.value.next_step
    assert isinstance(caught.value.__cause__, OSError)


def test_what_is_no_error_of_the_system_passes_through() -> None:
    with pytest.raises(ValueError, match="mine"), files.naming("doing it"):
        raise ValueError("mine")


def test_a_folder_that_is_there_gets_the_wanted_mode(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir(mode=0o777)
    files.make_folder(tmp_path / "x", 0o700)

    assert mode(tmp_path / "x") == 0o700


def test_a_file_where_a_folder_has_to_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")

    with pytest.raises(HostError, match="making the folder"):
        files.make_folder(tmp_path / "x", 0o755)


def test_a_json_document_keeps_the_order_of_its_keys_and_has_a_line_for_each(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x", {"b": 1, "a": [2]}, 0o644)

    assert (tmp_path / "x").read_text() == '{\n"b": 1,\n"a": [2]\n}\n'


@given(content=st.binary(max_size=3000))
def test_the_digest_is_that_of_the_content(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("digest") / "x"
    path.write_bytes(content)

    assert hashlib.sha256(content).hexdigest() == files.sha256(path)


@pytest.mark.parametrize("size", [0, 11, 1 << 20, (1 << 20) + 1])
def test_erasing_overwrites_every_byte_before_the_name_goes(tmp_path: Path, size: int) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"s" * size)
    with path.open("rb") as reader:
        assert files.erase(path)

        assert bytes(size) == reader.read()
    assert list(tmp_path.iterdir()) == []


def test_erasing_nothing_does_nothing(tmp_path: Path) -> None:
    assert not files.erase(tmp_path / "none")


def test_erasing_a_link_leaves_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"not ours")
    (tmp_path / ".env").symlink_to("real")

    assert files.erase(tmp_path / ".env")
    assert (tmp_path / "real").read_bytes() == b"not ours"
    assert not (tmp_path / ".env").is_symlink()


def test_erasing_a_folder_by_mistake_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="erasing"):
        files.erase(tmp_path)


def test_erasing_a_folder_overwrites_all_that_is_in_it_but_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"not ours")
    folder = tmp_path / "docker"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "config.json").write_bytes(b"token")
    (folder / "deep" / "deeper" / "x").write_bytes(b"more")
    (folder / "deep" / "link").symlink_to(outside)
    with (folder / "config.json").open("rb") as reader:
        files.erase_folder(folder)

        assert reader.read() == bytes(5)
    assert not folder.exists()
    assert (outside / "file").read_bytes() == b"not ours"
    files.erase_folder(folder)
