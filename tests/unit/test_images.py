"""The images of a release: which have to be pulled, which are missing, what their ids are, and putting them back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ImageMissing, RegistryError
from agent.host.engine_answers import Image
from agent.steps import images
from agent.steps.compose import Model
from agent.steps.service import Service

HOST = "registry.example.com:5000"
API, DB = f"{HOST}/api:1", f"{HOST}/db"
PINNED = f"{HOST}/api@sha256:aa"


class Store:
    """An engine's images, by every name that they have."""

    def __init__(self, *present: Image) -> None:
        self.images = {image.id: image for image in present}
        self.names = {name: image.id for image in present for name in (*image.tags, *image.digests)}
        self.tagged: list[str] = []

    def image(self, reference: str) -> Image | None:
        return self.images.get(self.names.get(reference, reference))

    def tag_image(self, identity: str, repository: str, tag: str) -> None:
        assert identity in self.images, f"the engine has no image {identity}"
        assert ":" not in tag
        assert ":" not in repository.rpartition("/")[2]
        self.names[f"{repository}:{tag}"] = identity
        if tag == "latest":
            self.names[repository] = identity
        self.tagged.append(f"{repository}:{tag}")


class Registry:
    """What pulling by digest brings into a store."""

    def __init__(self, store: Store, *kept: Image) -> None:
        self.pulled: list[str] = []
        self._store = store
        self._kept = {name: image for image in kept for name in image.digests}

    def pull(self, name: str) -> None:
        self.pulled.append(name)
        if name not in self._kept:
            raise ImageMissing("pulling the images", f"manifest for {name} not found", "push it")
        image = self._kept[name]
        self._store.images[image.id] = image
        self._store.names[name] = image.id


def model(*services: Service) -> Model:
    return Model(name="api", services=services, warnings=())


def service(name: str, image: str | None, replicas: int = 1) -> Service:
    return Service(name=name, image=image, replicas=replicas, mounts=())


# --- which have to be pulled


def test_every_image_is_asked_for_once_with_all_its_services_for_its_tag_may_have_moved() -> None:
    store = Store(Image("sha256:1", (API,)))
    seen = model(service("api", API), service("db", DB), service("job", API), service("own", None))

    assert images.to_pull(store, seen) == {DB: ["db"], API: ["api", "job"]}


def test_an_image_that_is_pinned_and_here_need_not_be_asked_for() -> None:
    assert images.to_pull(Store(Image("sha256:1", (), (PINNED,))), model(service("api", PINNED))) == {}
    assert images.to_pull(Store(), model(service("api", PINNED))) == {PINNED: ["api"]}


# --- which are missing


def test_an_image_is_the_same_one_when_the_registry_has_its_digest_under_the_same_name() -> None:
    elsewhere = f"{HOST}/copy/api@sha256:bb"
    store = Store(
        Image("sha256:1", (API,), (elsewhere, PINNED), "linux/amd64"),
        Image("sha256:2", (DB,), (f"{DB}@sha256:cc",), "linux/amd64"),
    )
    seen = model(service("api", API), service("db", DB), service("gone", f"{HOST}/gone:1"))
    there = images.in_doubt(store, seen, [API, DB, f"{HOST}/gone:1"], "x86_64")

    assert set(there) == {API, DB}
    assert images.unmoved(there, {API: "sha256:aa", DB: "sha256:cc"}) == {API, DB}
    assert images.unmoved(there, {API: "sha256:bb"}) == frozenset()
    assert images.unmoved(there, {}) == frozenset()


@pytest.mark.parametrize(
    ("wanted", "platform", "machine"),
    [
        ("linux/arm64", "linux/amd64", "x86_64"),
        ("", "linux/arm64", "x86_64"),
        ("", "linux/amd64", "riscv64"),
        ("", "", "x86_64"),
    ],
    ids=["its service names one", "it was pulled for another", "a machine with variants", "none that is known"],
)
def test_an_image_of_another_platform_than_the_hosts_is_always_pulled(wanted: str, platform: str, machine: str) -> None:
    store = Store(Image("sha256:1", (API,), (PINNED,), platform))
    seen = model(replace(service("api", API), platform=wanted))

    assert images.in_doubt(store, seen, [API], machine) == {}


def test_a_host_that_has_what_would_be_started_is_fine() -> None:
    seen = model(service("api", API), service("off", DB, replicas=0), service("own", None))

    images.expect(Store(Image("sha256:1", (API,)), Image("sha256:2", ("api-own",))), seen)


def test_one_missing_image_is_told_with_its_service() -> None:
    with pytest.raises(ImageMissing) as caught:
        images.expect(Store(), model(service("api", API)))

    assert str(caught.value) == (f"looking for the images on this host: api needs {API}, which is not on this host")
    assert caught.value.details == ()
    assert "without --skip-images" in caught.value.next_step


def test_every_missing_image_is_told_with_its_service_and_one_to_be_built_is_missing_too() -> None:
    with pytest.raises(ImageMissing) as caught:
        images.expect(Store(), model(service("api", API), service("own", None)))

    assert caught.value.details == (
        f"api needs {API}, which is not on this host",
        "own needs api-own, which is not on this host",
    )


# --- ids


def test_each_name_is_remembered_with_its_id_and_the_digest_of_its_own_repository() -> None:
    elsewhere = "mirror.example.com/api@sha256:bb"
    store = Store(Image("sha256:1", (API,), (elsewhere, PINNED)), Image("sha256:2", (DB,)))

    assert images.identities(store, model(service("api", API), service("db", DB), service("x", "x:1"))) == (
        {API: "sha256:1", DB: "sha256:2"},
        {API: PINNED},
    )


def test_docker_hub_s_images_are_known_by_their_short_names() -> None:
    store = Store(Image("sha256:1", ("docker.io/library/redis:7",), ("redis@sha256:aa",)))

    assert images.identities(store, model(service("redis", "docker.io/library/redis:7")))[1] == {
        "docker.io/library/redis:7": "redis@sha256:aa"
    }


# --- putting back


def test_names_that_have_their_images_are_left_alone() -> None:
    store = Store(Image("sha256:1", (API,)))

    assert images.put_back(store, {API: "sha256:1"}, {}, Registry(store).pull) == []
    assert store.tagged == []


def test_a_name_that_has_moved_gets_its_image_back_without_a_pull() -> None:
    store = Store(Image("sha256:1", (), (PINNED,)), Image("sha256:2", (API,)))
    registry = Registry(store)

    assert images.put_back(store, {API: "sha256:1"}, {API: PINNED}, registry.pull) == [API]
    assert (store.names[API], registry.pulled) == ("sha256:1", [])


def test_an_image_that_the_host_has_lost_is_pulled_by_its_digest() -> None:
    store = Store(Image("sha256:2", (API,)))
    registry = Registry(store, Image("sha256:1", (), (PINNED,)))

    assert images.put_back(store, {API: "sha256:1"}, {API: PINNED}, registry.pull) == [API]
    assert (store.names[API], registry.pulled) == ("sha256:1", [PINNED])


def test_names_get_their_images_again_as_far_as_those_are_there() -> None:
    store = Store(Image("sha256:1", (), ()), Image("sha256:2", (API,), ()))

    images.name_again(
        store,
        {API: "sha256:1", DB: "sha256:gone", PINNED: "sha256:1"},
        instead_of={API: "sha256:2", DB: "sha256:2", PINNED: "sha256:2"},
    )

    assert store.tagged == [API]
    assert store.names[API] == "sha256:1"


def test_a_name_that_somebody_else_has_moved_stays() -> None:
    store = Store(Image("sha256:1", (), ()), Image("sha256:2", (), ()), Image("sha256:3", (API,), ()))

    images.name_again(store, {API: "sha256:1"}, instead_of={API: "sha256:2"})

    assert store.tagged == []


def test_a_name_without_a_tag_is_put_back_as_latest() -> None:
    store = Store(Image("sha256:1", ()))

    assert images.put_back(store, {DB: "sha256:1"}, {}, Registry(store).pull) == [DB]
    assert store.tagged == [f"{DB}:latest"]


def test_a_name_that_is_a_digest_is_pulled_and_gets_no_tag() -> None:
    store = Store()
    registry = Registry(store, Image("sha256:1", (), (PINNED,)))

    assert images.put_back(store, {PINNED: "sha256:1"}, {}, registry.pull) == [PINNED]
    assert (store.tagged, registry.pulled) == ([], [PINNED])


def test_what_is_gone_from_host_and_registry_is_told_and_no_name_moves() -> None:
    store = Store(Image("sha256:1", ()), Image("sha256:9", (API,)))
    wanted = {API: "sha256:1", DB: "sha256:2", f"{HOST}/x:1": "sha256:3"}
    with pytest.raises(ImageMissing) as caught:
        images.put_back(store, wanted, {DB: f"{HOST}/db@sha256:cc"}, Registry(store).pull)

    told = "\n".join(caught.value.details)
    assert "manifest for registry.example.com:5000/db@sha256:cc not found" in told
    assert f"{HOST}/x:1: sha256:3 is not on this host any more, and no registry is known to have it" in told
    assert store.tagged == []


def test_a_digest_that_brings_another_image_is_not_taken_for_the_one() -> None:
    store = Store()
    registry = Registry(store, Image("sha256:9", (), (PINNED,)))
    with pytest.raises(ImageMissing, match="is another image"):
        images.put_back(store, {API: "sha256:1"}, {API: PINNED}, registry.pull)

    assert store.tagged == []


def test_a_registry_that_cannot_be_asked_is_another_error() -> None:
    def broken(name: str) -> None:
        raise RegistryError("pulling the images", f"{name}: i/o timeout", "try again")

    with pytest.raises(RegistryError):
        images.put_back(Store(), {API: "sha256:1"}, {API: PINNED}, broken)


NAMES = st.sampled_from([f"{HOST}/{name}" for name in ("a:1", "a:2", "b", "c:1")])
IDS = st.sampled_from(["sha256:1", "sha256:2", "sha256:3"])


@given(st.dictionaries(NAMES, IDS), st.dictionaries(NAMES, IDS))
def test_whatever_the_names_were_they_are_as_remembered_afterwards(now: dict[str, str], then: dict[str, str]) -> None:
    store = store_of({*now.values(), *then.values()})
    store.names.update(now)
    moved = images.put_back(store, then, {}, Registry(store).pull)

    assert {name: store.names[name] for name in then} == then
    assert set(moved) == {name for name in then if now.get(name) != then[name]}
    assert images.put_back(store, then, {}, Registry(store).pull) == []


def store_of(identities: Iterable[str]) -> Store:
    return Store(*(Image(identity, ()) for identity in identities))
