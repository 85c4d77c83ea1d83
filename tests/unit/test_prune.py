"""Which images may go: never those of the current and the previous release, nor another project's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.host import image_names
from agent.host.engine_answers import Image
from agent.steps.prune import prune
from agent.steps.records import Release
from agent.steps.state import State
from tests.unit.fakes import FakeEngine

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
    assert f"{host}{name}" == image_names.repository(f"{host}{name}{tag}{digest}")


@pytest.mark.parametrize("name", ["redis", "docker.io/redis", "docker.io/library/redis:7", "index.docker.io/redis@x"])
def test_docker_hub_s_own_images_go_by_their_short_name(name: str) -> None:
    assert image_names.repository(name) == "redis"


@pytest.mark.parametrize(
    ("name", "tag"),
    [("redis", "latest"), ("host:5000/redis", "latest"), ("host:5000/a/redis:7", "7"), ("redis:7@sha256:0", "7")],
)
def test_a_name_without_a_tag_means_latest(name: str, tag: str) -> None:
    assert image_names.tag(name) == tag


def test_an_image_that_a_release_names_stays_also_when_none_of_its_services_has_a_container() -> None:
    host = engine(Image("sha256:7", (f"{REPOSITORY}-job:v1",)), Image("sha256:8", (f"{REPOSITORY}-job:v0",)))
    named = replace(RELEASE, references={f"{REPOSITORY}-job:v1": "sha256:7"})

    assert prune(host, State(instance_id="i-1", releases=(named,)), [f"{REPOSITORY}-job:v1"]) == [
        f"{REPOSITORY}-job:v0"
    ]


def test_a_repository_that_only_an_older_release_used_is_cleared_as_well() -> None:
    host = engine(Image("sha256:7", (f"{REPOSITORY}-old:v1",)))
    releases = [replace(RELEASE, references={f"{REPOSITORY}-old:v1": "sha256:7"}), RELEASE, RELEASE]

    assert prune(host, State(instance_id="i-1", releases=tuple(releases)), [f"{REPOSITORY}:v1"]) == [
        f"{REPOSITORY}-old:v1"
    ]


def test_what_a_moved_tag_left_behind_goes_unless_it_is_needed() -> None:
    left = [Image(f"sha256:{number}", (), (f"{REPOSITORY}@sha256:{number}",)) for number in (1, 2, 3)]
    host = engine(*left, in_use=("sha256:3",))

    assert prune(host, kept_images("sha256:2"), [f"{REPOSITORY}:v3"]) == ["sha256:1"]
