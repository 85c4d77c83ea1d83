"""What the host remembers of its releases."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import HostError
from agent.steps import archive
from agent.steps import release as releases
from agent.steps.records import BundleFile, Release
from agent.steps.state import KEEP_RELEASES, State, load, save

FILE = BundleFile("api/vars.yaml", "etag", 7, "ab" * 32, 0o644)
RELEASE = Release(
    number=1,
    role="api",
    slug="acme",
    ref="main",
    tag="v1",
    bundle="cd" * 32,
    images={"api": "sha256:1"},
    verified_at="2026-01-02T03:04:05+00:00",
)
STATE = State(instance_id="i-1", applied={FILE.path: FILE}, releases=(RELEASE,), made={"api/tls/privkey.pem": "0a1b"})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def recorded(folder: Path, kept: State, tag: str = "v1", verified_at: str = RELEASE.verified_at) -> State:
    made = replace(RELEASE, tag=tag, verified_at=verified_at)
    kept = releases.record(folder / "state", kept, made)
    assert releases.write_tag(folder / ".ecr-tag", tag) == []
    return kept


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path, STATE)

    assert load(tmp_path, "i-1") == (STATE, None)
    assert json.loads((tmp_path / "state.json").read_bytes())["schema"] == 1


def test_the_state_is_for_nobody_else(tmp_path: Path) -> None:
    save(tmp_path / "state", STATE)

    assert (mode(tmp_path / "state"), mode(tmp_path / "state" / "state.json")) == (0o700, 0o600)


def test_a_host_that_never_ran_remembers_nothing(tmp_path: Path) -> None:
    assert (State(instance_id="i-1"), None) == load(tmp_path, "i-1")
    assert State(instance_id="i-1").current is None


def test_on_a_cloned_image_verdicts_are_dropped_with_a_line_and_the_list_of_files_is_kept(tmp_path: Path) -> None:
    save(tmp_path, STATE)
    state, text = load(tmp_path, "i-2")

    assert state == State(instance_id="i-2", applied=STATE.applied, made=STATE.made)
    assert text is not None
    assert "i-1" in text
    assert "i-2" in text


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", "\xff", '{"instance_id": "i", "applied": [{}], "releases": []}', "null", "1"]
)
def test_a_state_that_cannot_be_read_is_told_with_the_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content, "latin-1")

    with pytest.raises(HostError, match="reading") as caught:
        load(tmp_path, "i-1")
    assert caught.value.code == "state-broken"
    assert "state.json.broken" in caught.value.next_step


def test_the_first_release_has_number_one_and_its_tag_is_written_for_operators(tmp_path: Path) -> None:
    kept = recorded(tmp_path, State(instance_id="i-1"), tag="v7")

    assert kept.current is not None
    assert (kept.current.number, kept.current.tag) == (1, "v7")
    assert (tmp_path / ".ecr-tag").read_text() == "v7\n"
    assert mode(tmp_path / ".ecr-tag") == 0o644
    assert kept == load(tmp_path / "state", "i-1")[0]


def test_another_tag_is_another_release(tmp_path: Path) -> None:
    kept = recorded(tmp_path, STATE, tag="v2")

    assert [(item.number, item.tag) for item in kept.releases] == [(1, "v1"), (2, "v2")]


def test_a_rerun_of_the_same_is_no_new_release_and_only_its_time_changes(tmp_path: Path) -> None:
    kept = recorded(tmp_path, STATE, verified_at="later")

    assert len(kept.releases) == 1
    assert kept.current == replace(RELEASE, verified_at="later")


def test_the_last_releases_are_kept_each_with_the_list_of_its_files(tmp_path: Path) -> None:
    kept = State(instance_id="i-1")
    for number in range(1, 6):
        kept = recorded(tmp_path, kept, tag=f"v{number}")

    assert [5 - KEEP_RELEASES + place for place in range(1, KEEP_RELEASES + 1)] == [one.number for one in kept.releases]
    assert [archive.read(tmp_path / "state", item.number) for item in kept.releases] == [{}] * KEEP_RELEASES


def test_a_tag_file_that_already_says_so_is_left_alone(tmp_path: Path) -> None:
    recorded(tmp_path, STATE)
    before = (tmp_path / ".ecr-tag").stat()
    recorded(tmp_path, STATE)

    assert before.st_ino == (tmp_path / ".ecr-tag").stat().st_ino
