"""What the host remembers, and which images may go: never those of the current and the previous release."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import HostError
from agent.host.engine import Image
from agent.steps import release as releases
from agent.steps.release import prune
from agent.steps.state import KEEP_RELEASES, BundleFile, Release, State, load, save
from tests.unit.fakes import FakeEngine

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
STATE = State(instance_id="i-1", applied={FILE.path: FILE}, releases=(RELEASE,))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def recorded(folder: Path, kept: State, tag: str = "v1", verified_at: str = RELEASE.verified_at) -> State:
    made = replace(RELEASE, tag=tag, verified_at=verified_at)
    return releases.record(folder / "state", kept, made, folder / ".ecr-tag")


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

    assert state == State(instance_id="i-2", applied=STATE.applied)
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
    assert "mv " in caught.value.next_step


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
    assert not (tmp_path / "state" / "history.jsonl").exists()


def test_the_last_releases_are_kept_and_the_history_has_all(tmp_path: Path) -> None:
    kept = State(instance_id="i-1")
    for number in range(1, 6):
        kept = recorded(tmp_path, kept, tag=f"v{number}")
    lines = (tmp_path / "state" / "history.jsonl").read_text().splitlines()

    assert [5 - KEEP_RELEASES + place for place in range(1, KEEP_RELEASES + 1)] == [one.number for one in kept.releases]
    assert [json.loads(line)["tag"] for line in lines] == ["v1", "v2", "v3", "v4", "v5"]
    assert mode(tmp_path / "state" / "history.jsonl") == 0o600


def test_a_tag_file_that_already_says_so_is_left_alone(tmp_path: Path) -> None:
    recorded(tmp_path, STATE)
    before = (tmp_path / ".ecr-tag").stat()
    recorded(tmp_path, STATE)

    assert before.st_ino == (tmp_path / ".ecr-tag").stat().st_ino


REPOSITORY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/delphi/api"


def engine(*images: Image, in_use: tuple[str, ...] = (), held: tuple[str, ...] = ()) -> FakeEngine:
    return FakeEngine(images=images, in_use=in_use, held=held)


def kept_images(*identities: str) -> State:
    made = [
        replace(RELEASE, number=number, images={"api": identity}) for number, identity in enumerate(identities, start=1)
    ]
    return State(instance_id="i-1", releases=tuple(made))


def test_images_of_the_current_and_the_previous_release_stay() -> None:
    host = engine(*(Image(f"sha256:{number}", (f"{REPOSITORY}:v{number}",)) for number in (1, 2, 3)))

    assert prune(host, kept_images("sha256:1", "sha256:2", "sha256:3"), [f"{REPOSITORY}:v3"]) == [f"{REPOSITORY}:v1"]


def test_images_that_a_container_has_stay() -> None:
    host = engine(Image("sha256:1", (f"{REPOSITORY}:v1",)), in_use=("sha256:1",))

    assert prune(host, kept_images("sha256:9"), [f"{REPOSITORY}:v3"]) == []


def test_images_of_another_repository_stay() -> None:
    host = engine(
        Image("sha256:1", ("redis:7",)),
        Image("sha256:2", (f"{REPOSITORY}-other:v1",)),
        Image("sha256:3", (f"{REPOSITORY}:v1", "mine:latest")),
    )

    assert prune(host, kept_images(), [f"{REPOSITORY}:v3"]) == []


def test_an_image_that_the_engine_still_needs_is_not_told_as_gone() -> None:
    host = engine(
        Image("sha256:1", (f"{REPOSITORY}:v1", f"{REPOSITORY}:v2")),
        Image("sha256:2", (), (f"{REPOSITORY}@sha256:2",)),
        Image("sha256:3", (), ("other.example.com/app@sha256:3",)),
        Image("sha256:4", ()),
        held=(f"{REPOSITORY}:v1",),
    )

    assert prune(host, kept_images(), [f"{REPOSITORY}:v3"]) == [f"{REPOSITORY}:v2", "sha256:2"]


@given(
    st.lists(st.sampled_from("abcdef"), max_size=5),
    st.sets(st.sampled_from("abcdef")),
    st.sets(st.sampled_from("abcdef")),
)
def test_whatever_is_on_the_host_nothing_that_is_needed_goes(
    history: list[str], present: set[str], in_use: set[str]
) -> None:
    host = engine(*(Image(name, (f"{REPOSITORY}:{name}",)) for name in sorted(present)), in_use=tuple(in_use))
    prune(host, kept_images(*history), [f"{REPOSITORY}:a"])
    needed = set(history[-2:]) | in_use

    assert {f"{REPOSITORY}:{name}" for name in present - needed} == set(host.removed)


NAME = st.sampled_from(["api", "delphi/api", "a_b/c-d", "x.y", "7"])
HOST = st.sampled_from(["", "localhost:5000/", "registry.example.com/", "10.0.0.1:443/", f"{REPOSITORY}/"])
TAG = st.sampled_from(["", ":latest", ":v1.2.3-rc_1", ":7"])
DIGEST = st.sampled_from(["", f"@sha256:{'0' * 64}"])


@given(HOST, NAME, TAG, DIGEST)
def test_the_repository_is_the_reference_without_tag_and_digest(host: str, name: str, tag: str, digest: str) -> None:
    assert f"{host}{name}" == releases._repository(f"{host}{name}{tag}{digest}")
