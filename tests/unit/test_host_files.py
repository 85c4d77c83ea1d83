"""Files made from variables: below the role's folder only, replaced as a whole, left alone when nothing changed."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from agent.errors import AgentError, HostError, UnresolvedError
from agent.secret import Secret
from agent.steps import file_digests, host_files
from agent.steps.compose import Model
from agent.steps.host_files import HostFile, Ready
from agent.steps.mounted import CONTENTS, labels
from agent.steps.service import Service

ME = f"{os.getuid()}:{os.getgid()}"
KEY = Secret("ab" * 32)


def ready(path: str = "media/tls/key.pem", content: bytes = b"key", mode: int = 0o600) -> Ready:
    return Ready(path=path, content=content, mode=mode, uid=os.getuid(), gid=os.getgid())


def prepared(*declared: HostFile, **values: str) -> tuple[Ready, ...]:
    return host_files.prepare(declared, {name: Secret(value) for name, value in values.items()}, "media", "vars.yaml")


def test_a_value_becomes_a_file_of_its_mode_and_owner(tmp_path: Path) -> None:
    [made] = prepared(HostFile(variable="A", path="tls/key.pem", mode=0o640, owner=ME), A="the key\n")

    host_files.write(made, tmp_path)

    file = tmp_path / "media/tls/key.pem"
    assert file.read_text() == "the key\n"
    assert file.stat().st_mode & 0o7777 == 0o640
    assert (file.stat().st_uid, file.stat().st_gid) == (os.getuid(), os.getgid())
    assert [path.name for path in file.parent.iterdir()] == ["key.pem"]


def test_base64_is_decoded_with_line_breaks_in_it_or_without() -> None:
    whole = base64.encodebytes(bytes(range(256))).decode()

    [made] = prepared(HostFile(variable="A", path="a", owner=ME, encoded=True), A=whole)

    assert made.content == bytes(range(256))


def test_a_variable_without_a_value_leaves_its_file_as_it_is() -> None:
    assert prepared(HostFile(variable="A", path="a", owner=ME), HostFile(variable="B", path="b", owner=ME), B="") == ()


def test_everything_that_stands_in_the_way_is_told_at_once_without_a_value() -> None:
    with pytest.raises(AgentError) as caught:
        prepared(
            HostFile(variable="CERT", path="a", encoded=True, line=3, column=5),
            HostFile(variable="GONE", path="b", required=True, line=4, column=5),
            HostFile(variable="OTHER", path="c", owner="nobody-here", line=5, column=5),
            CERT="no base64!",
            OTHER="x",
        )

    unresolved, host = caught.value.parts()
    assert isinstance(unresolved, UnresolvedError)
    assert unresolved.details == (
        "vars.yaml:3:5: a: the value of CERT is not base64",
        "vars.yaml:4:5: b: GONE has no value, and the file is required",
    )
    assert isinstance(host, HostError)
    assert host.details == ("vars.yaml:5:5: c: this host has no owner nobody-here",)
    assert "no base64!" not in f"{unresolved} {unresolved.details}"
    assert "the value of CERT is not base64; GONE has no value" in unresolved.cause


@pytest.mark.parametrize("text", ["YQ", "YQ==YQ==", "Y Q=*", "ÄÖ"])
def test_what_only_looks_like_base64_is_refused(text: str) -> None:
    assert host_files.content_of(HostFile(variable="A", path="a", encoded=True), Secret(text)) is None


def test_an_owner_is_found_by_name_or_number() -> None:
    assert host_files.owner_of("root") == (0, 0)
    assert host_files.owner_of("0:12345") == (0, 12345)
    assert host_files.owner_of("54321") == (54321, 54321)
    assert host_files.owner_of("root:nogroup-here") is None


def test_a_file_that_is_as_wanted_is_not_written_again(tmp_path: Path) -> None:
    host_files.write(ready(), tmp_path)

    assert host_files.differing([ready()], tmp_path) == []
    assert host_files.differing([ready(content=b"new")], tmp_path)
    assert host_files.differing([ready(mode=0o640)], tmp_path)


def test_a_link_in_the_file_s_place_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    (tmp_path / "media/tls").mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "media/tls/key.pem").symlink_to(victim)

    assert host_files.differing([ready(content=b"mine")], tmp_path)
    host_files.write(ready(), tmp_path)

    assert victim.read_text() == "mine"
    assert not (tmp_path / "media/tls/key.pem").is_symlink()


def test_a_folder_that_is_a_link_is_refused_before_and_while_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "media/tls").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(HostError, match="is a link or a file, and no folder"):
        host_files.expect_room([ready()], tmp_path)
    with pytest.raises(HostError):
        host_files.write(ready(), tmp_path)

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_empty_folder_that_the_engine_makes_for_a_missing_mount_becomes_the_file(tmp_path: Path) -> None:
    (tmp_path / "media/tls/key.pem").mkdir(parents=True)

    host_files.expect_room([ready()], tmp_path)
    host_files.write(ready(), tmp_path)

    assert (tmp_path / "media/tls/key.pem").read_bytes() == ready().content


def test_a_folder_in_the_file_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "media/tls/key.pem").mkdir(parents=True)
    (tmp_path / "media/tls/key.pem/mine").write_text("mine")

    with pytest.raises(HostError, match="a folder has this name"):
        host_files.expect_room([ready()], tmp_path)


def test_what_a_killed_run_has_left_half_written_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "media/tls").mkdir(parents=True)
    (tmp_path / "media/tls/.key.pem.delphi-agent").write_text("half")

    host_files.write(ready(), tmp_path)

    assert [path.name for path in (tmp_path / "media/tls").iterdir()] == ["key.pem"]


def label(tmp_path: Path, mount: str, written: dict[str, str]) -> str | None:
    service = Service(name="web", image="x", replicas=1, mounts=(str(tmp_path / mount),))
    made = labels(Model(name="media", services=(service,), warnings=()), tmp_path, set(), None, written=written)
    return made.get("web", {}).get(CONTENTS)


def test_only_a_service_that_mounts_the_file_is_labelled_with_it(tmp_path: Path) -> None:
    written = file_digests.digests([ready()], KEY)

    assert label(tmp_path, "media/tls", written)
    assert label(tmp_path, "media/tls/key.pem", written)
    assert label(tmp_path, "media/data", written) is None


def test_the_digest_is_keyed_and_the_same_before_and_after_writing(tmp_path: Path) -> None:
    host_files.write(ready(), tmp_path)
    planned = file_digests.digests([ready()], KEY)

    assert planned == file_digests.digests_of_live(["media/tls/key.pem", "media/absent"], tmp_path, KEY)
    assert planned != file_digests.digests([ready()], Secret("cd" * 32))
    assert planned != file_digests.digests([ready(content=b"other")], KEY)
    assert planned != file_digests.digests([ready(mode=0o644)], KEY)


def test_what_a_sensitive_file_holds_is_learnt_in_plain_text() -> None:
    [secret] = host_files.secrets([ready(), ready("media/public")], {"media/tls/key.pem"})

    assert secret.reveal() == "key"
