"""Why a service is recreated: one row per difference between its container and what Compose would make."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from agent.host.engine_answers import Container
from agent.secret import Secret
from agent.steps.compose import Model
from agent.steps.mounted import BUNDLE, CONTENTS, FILES
from agent.steps.reasons import MOST_NAMES, Fate, fates
from agent.steps.service import Service
from tests.unit.fakes import HEALTHY


class Images:
    """The host's images by name, and what each gives to its containers."""

    def __init__(self, ids: Mapping[str, str], environment: Collection[str] = ("PATH",)) -> None:
        self._ids, self._environment = ids, environment

    def image_id(self, reference: str) -> str | None:
        return self._ids.get(reference)

    def image_environment(self, identity: str) -> Collection[str]:
        assert identity == "sha256:1", "only the image of the container is asked about"
        return self._environment


def secrets(**values: str) -> dict[str, Secret]:
    return {name: Secret(value) for name, value in values.items()}


SERVICE = Service(name="api", image="app:1", replicas=1, mounts=(), environment=secrets(A="1", B="2"))
OLD = replace(HEALTHY, reference="app:1", environment=secrets(A="1", B="2", PATH="/bin"))
IMAGES = Images({"app:1": "sha256:1"})


def fate(
    service: Service = SERVICE,
    old: Container | None = OLD,
    labels: Mapping[str, str] | None = None,
    *,
    images: Images = IMAGES,
    action: str = "recreated",
    forced: str | None = None,
) -> Fate:
    model = Model(name="api", services=(service,), warnings=())
    before = [old] if old else []
    [found] = fates(model, before, {"api-api-1": action}, {"api": labels or {}}, images, forced=forced)
    return found


def files(**digests: str) -> dict[str, str]:
    return {BUNDLE: "+".join(digests.values()), FILES: json.dumps({f"api/{name}": v for name, v in digests.items()})}


@pytest.mark.parametrize(
    ("service", "old", "labels", "reason"),
    [
        (replace(SERVICE, image="app:2"), OLD, {}, "image app:1 -> app:2"),
        (SERVICE, replace(OLD, image="sha256:1", reference="app:1"), {}, "its definition in the compose file"),
        (replace(SERVICE, environment=secrets(A="1", B="3")), OLD, {}, "environment B"),
        (replace(SERVICE, environment=secrets(A="x", B="3", C="4")), OLD, {}, "environment A, B, C"),
        (replace(SERVICE, environment=secrets(A="1")), OLD, {}, "environment B"),
        (SERVICE, replace(OLD, labels=files(x="1", y="1")), files(x="1", y="2"), "mounted file api/y"),
        (SERVICE, replace(OLD, labels=files(x="1", y="1")), files(z="1"), "mounted files api/x, api/y, api/z"),
        (SERVICE, replace(OLD, labels=files(x="1")), {}, "mounted file api/x"),
        (SERVICE, OLD, files(x="1"), "mounted file api/x (new, or not known from before)"),
        (SERVICE, replace(OLD, labels={BUNDLE: "1"}), {BUNDLE: "2"}, "mounted files"),
        (SERVICE, replace(OLD, labels={BUNDLE: "1", FILES: "{"}), {BUNDLE: "2", FILES: "[]"}, "mounted files"),
        (
            SERVICE,
            replace(OLD, labels={CONTENTS: '{"secret a":"1","secret b":"1"}'}),
            {CONTENTS: '{"secret a":"1","secret b":"2"}'},
            "content of secret b",
        ),
        (
            replace(SERVICE, image="app:2", environment=secrets(A="2", B="2")),
            OLD,
            {},
            "image app:1 -> app:2; environment A",
        ),
    ],
)
def test_what_differs_is_the_reason(service: Service, old: Container, labels: dict[str, str], reason: str) -> None:
    assert Fate("api", "recreate", tuple(reason.split("; "))) == fate(service, old, labels)


def test_a_tag_that_names_another_image_now_has_moved() -> None:
    images = Images({"app:1": "sha256:0123456789abcdef"})

    assert fate(images=images).reasons == ("image moved (app:1, 0123456789ab)",)


def test_an_image_that_the_host_has_lost_is_told() -> None:
    assert fate(images=Images({})).reasons == ("image app:1 is not on the host any more",)


def test_what_an_image_gives_is_no_variable_that_was_taken_away() -> None:
    old = replace(OLD, environment=secrets(A="1", B="2", PATH="/bin", JAVA_HOME="/j"))

    assert fate(old=old, images=Images({"app:1": "sha256:1"}, ("PATH", "JAVA_HOME"))).text == (
        "its definition in the compose file"
    )


def test_many_names_are_counted() -> None:
    many = secrets(**{f"V{number}": "x" for number in range(MOST_NAMES + 2)})

    assert fate(replace(SERVICE, environment={**SERVICE.environment, **many})).text.endswith("V7 and 2 more")


def test_no_value_is_in_a_reason() -> None:
    service = replace(SERVICE, environment=secrets(A="hunter2", B="hunter3"))

    assert "hunter" not in f"{fate(service)!r} {fate(service).text}"


def test_a_flag_that_replaces_everything_is_the_only_reason() -> None:
    assert fate(replace(SERVICE, image="app:2"), forced="--force-recreate").reasons == ("--force-recreate",)


@pytest.mark.parametrize(
    ("old", "action", "expected"),
    [
        (None, "created", Fate("api", "create", ("not there yet",))),
        (OLD, "unchanged", Fate("api", "unchanged")),
        (replace(OLD, state="exited"), "started", Fate("api", "start", ("it is exited",))),
        (OLD, "removed", Fate("api", "remove", ("1 containers are there, 1 are wanted",))),
    ],
)
def test_what_is_not_replaced_has_a_reason_of_its_own(old: Container | None, action: str, expected: Fate) -> None:
    assert expected == fate(old=old, action=action)


def test_a_service_that_lives_in_another_one_s_namespace_goes_with_it() -> None:
    side = replace(SERVICE, name="side", along=("api",), environment=secrets(A="1", B="2"))
    model = Model(name="api", services=(replace(SERVICE, environment=secrets(A="9", B="2")), side), warnings=())
    before = [OLD, replace(OLD, id="c2", name="api-side-1", service="side")]

    found = fates(model, before, {"api-api-1": "recreated", "api-side-1": "recreated"}, {}, IMAGES)

    assert [one.reasons for one in found] == [("environment A",), ("it lives in the namespace of api",)]


def test_a_service_that_the_compose_file_has_no_more_is_removed() -> None:
    model = Model(name="api", services=(SERVICE,), warnings=())
    before = [OLD, replace(OLD, id="c2", name="api-old-1", service="old")]

    found = fates(model, before, {"api-api-1": "unchanged", "api-old-1": "removed"}, {}, IMAGES)

    assert found[1] == Fate("old", "remove", ("no longer in the compose file",))


def test_one_more_replica_is_created_beside_those_that_are_there() -> None:
    model = Model(name="api", services=(replace(SERVICE, replicas=2),), warnings=())

    [found] = fates(model, [OLD], {"api-api-1": "unchanged", "api-api-2": "created"}, {}, IMAGES)

    assert found == Fate("api", "create", ("1 of 2 containers are there",))
