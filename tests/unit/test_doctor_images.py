"""The images that `doctor` finds in a project's files, from the bucket and the host, without Compose."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent import compose_file
from agent.aws.ecr import Login
from agent.aws.s3 import RemoteObject
from agent.compose_file.filling import UNKNOWN
from agent.doctor import compose_files, images, registry
from agent.doctor.bundle_files import BundleFiles
from agent.doctor.facts import Facts
from agent.errors import AccessDenied, AgentError, ComposeFileError
from agent.secret import Secret
from agent.steps import state
from agent.steps.bundle import Entry, Listing
from agent.steps.records import BundleFile
from agent.steps.state import State
from agent.variables import manifest
from tests.unit.fakes import FakeClock
from tests.unit.test_doctor import facts_of
from tests.unit.test_interpolation import COMPOSE as BINARY

SERVICES = """
x-image: &image {image: "${ECR_REGISTRY}/app:${ECR_TAG}"}
services:
  api: {<<: *image}
  otel: {image: "otel/collector:${OTEL_TAG:-0.98}"}
  tools: {image: tools, profiles: [debug]}
  own: {build: ., image: own}
"""
VALUES = {"ECR_REGISTRY": "r.test", "ECR_TAG": "1"}


def found(folder: Path, values: Mapping[str, str | None], **files: str) -> dict[str, str]:
    """The images by name, each with why it is not known; `main` is the compose file, `a__b` lies in the folder a."""
    for name, text in files.items():
        path = folder / ("compose.yaml" if name == "main" else name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    composed = compose_file.read([folder / "compose.yaml"], lambda path: path.name)
    return {image.name: image.why for image in images.of(composed, values)}


def test_images_are_named_as_compose_would_name_them(tmp_path: Path) -> None:
    assert found(tmp_path, VALUES, main=SERVICES) == {"r.test/app:1": "", "otel/collector:0.98": ""}


@pytest.mark.parametrize(("profiles", "wanted"), [("", False), ("a,debug", True), ("a", False), ("*", True)])
def test_a_service_with_a_profile_counts_when_one_of_its_own_is_active(
    tmp_path: Path, profiles: str, *, wanted: bool
) -> None:
    assert ("tools" in found(tmp_path, {**VALUES, "COMPOSE_PROFILES": profiles}, main=SERVICES)) is wanted


@pytest.mark.parametrize(
    ("image", "name", "why"),
    [
        ("x:${SECRET_TAG}", f"x:{UNKNOWN}", "not known here: SECRET_TAG"),
        ("x:${NOBODY}", "x:", "no value: NOBODY"),
        ("x:${NOBODY-}", "x:", ""),
        ("x:${", UNKNOWN, "Compose refuses it"),
        ("x:${NOBODY:?}", UNKNOWN, "Compose refuses it"),
        ("x:${COMPOSE_PROJECT_NAME}", f"x:{UNKNOWN}", "not known here: COMPOSE_PROJECT_NAME"),
    ],
)
def test_an_image_that_cannot_be_told_is_there_all_the_same_and_says_why(
    tmp_path: Path, image: str, name: str, why: str
) -> None:
    made = found(tmp_path, {"SECRET_TAG": None}, main=json.dumps({"services": {"x": {"image": image}}}))

    assert list(made) == [name]
    assert made[name].startswith(why)
    assert bool(made[name]) is bool(why)


INCLUDING = """
include:
- sub/a.yaml
- {path: [sub/b.yaml, b2.yaml], project_directory: other, env_file: [more.yaml]}
services:
  x: {extends: {file: base/base.yaml, service: y}}
"""
PARTS = {
    "main": INCLUDING,
    "sub__a": "services: {a: {image: 'a:${OF_DOTENV:-0}', extends: {file: a2.yaml, service: z}}}",
    "sub__a2": "services: {z: {init: true}}",
    "sub__b": "services: {b: {image: 'b:1', extends: {file: o.yaml, service: o}}}",
    "b2": "services: {b: {image: 'b:${OF_MORE:-2}'}}",
    "other__o": "services: {o: {init: true}}",
    "base__base": "services: {y: {image: 'y:${ECR_TAG}', extends: y2}, y2: {image: 'z'}}",
    "more": "OF_MORE=3\n",
}


def test_included_and_extended_files_are_followed_and_their_env_files_are_not_taken_for_known(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/.env").write_text("OF_DOTENV=5\nECR_TAG=9\n")

    made = found(tmp_path, VALUES, **PARTS)

    assert made == {
        f"a:{UNKNOWN}": "not known here: OF_DOTENV",
        f"b:{UNKNOWN}": "not known here: OF_MORE",
        "y:1": "",
    }


@pytest.mark.skipif(not os.access(BINARY, os.X_OK), reason="the lab's Compose is not installed")
def test_compose_itself_finds_the_same_images(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/.env").write_text("OF_DOTENV=5\nECR_TAG=9\n")
    made = found(tmp_path, VALUES, **PARTS)

    done = subprocess.run(
        [BINARY, "-f", tmp_path / "compose.yaml", "--env-file", "/dev/null", "config", "--images"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **VALUES},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    told = {name.replace(UNKNOWN, "?") for name in made}
    assert {name.replace("a:5", "a:?").replace("b:3", "b:?") for name in done.stdout.split()} == told


class Bucket:
    """The objects of a bundle, by path; one whose content is an error raises it."""

    def __init__(self, objects: Mapping[str, str | AgentError]) -> None:
        self.objects = objects
        self.asked: list[str] = []

    def read(self, item: RemoteObject) -> bytes:
        self.asked.append(item.key)
        content = self.objects[item.key]
        if isinstance(content, AgentError):
            raise content
        return content.encode()


def with_bundle(tmp_path: Path, objects: Mapping[str, str | AgentError]) -> tuple[Facts, Bucket]:
    facts, bucket = facts_of(tmp_path, ECR_REGISTRY="r.test", ECR_TAG="1"), Bucket(objects)
    entries = tuple(Entry(path, RemoteObject(path, 1, "etag")) for path in objects)
    facts.listing = Listing(slug="s", ref="v1", role="api", entries=entries, warnings=())
    facts.bucket = bucket  # type: ignore[assignment] # it is asked for nothing but contents
    facts.manifest = manifest.parse(b"service: api\nvariables: [{name: A}]", "vars.yaml", known=())
    return facts, bucket


def test_the_bundle_is_read_with_the_host_s_own_files_between_and_without_what_former_bundles_left(
    tmp_path: Path,
) -> None:
    objects = {
        "api/docker-compose.yaml": "{include: [../common/otel.yaml, own.yaml], services: {x: {image: x}}}",
        "common/otel.yaml": "services: {otel: {image: otel}}",
    }
    facts, bucket = with_bundle(tmp_path, objects)
    folder = facts.role_folder
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("services: {own: {image: own}}")
    (folder / "docker-compose.yaml").write_text("services: {old: {image: old}}")
    (folder / "docker-compose.override.yaml").write_text("services: {former: {image: former}}")
    former = BundleFile("api/docker-compose.override.yaml", "etag", 1, "", 0o644)
    state.save(facts.host.paths.state, State(instance_id="i-1", applied={former.path: former}))

    lines = list(compose_files.read(facts))

    assert [line.why for line in lines] == ["api/docker-compose.yaml, common/otel.yaml, api/own.yaml: 3 services"]
    assert {service.image for service in facts.composed.services} == {"x", "otel", "own"}
    assert sorted(bucket.asked) == sorted(objects)


def test_an_override_file_of_the_bundle_is_read(tmp_path: Path) -> None:
    facts, _ = with_bundle(
        tmp_path,
        {
            "api/docker-compose.yaml": "services: {x: {image: x}}",
            "api/docker-compose.override.yaml": "services: {x: {image: y}}",
        },
    )

    list(compose_files.read(facts))

    assert [service.image for service in facts.composed.services] == ["y"]


def test_a_bundle_without_a_compose_file_or_with_one_that_compose_refuses_is_a_fault(tmp_path: Path) -> None:
    facts, _ = with_bundle(tmp_path, {"api/vars.yaml": ""})
    with pytest.raises(ComposeFileError, match=r"docker-compose\.yaml is there"):
        list(compose_files.read(facts))

    facts, _ = with_bundle(tmp_path, {"api/compose.yaml": "include: [no.yaml]\nservices: {x: {image: 'a:${'}}"})
    lines = list(compose_files.read(facts))

    assert {(line.state, line.exit_code) for line in lines} == {("fail", 65)}
    assert [line.why for line in lines if "api/compose.yaml:1:11" in line.why]


def test_an_object_that_may_not_be_read_is_told_as_such(tmp_path: Path) -> None:
    denied = AccessDenied("reading it", "s3:GetObject", "allow it")
    facts, _ = with_bundle(tmp_path, {"api/compose.yaml": denied})

    with pytest.raises(AccessDenied, match="s3:GetObject"):
        list(compose_files.read(facts))


def test_a_host_s_env_file_is_none_that_an_include_would_see(tmp_path: Path) -> None:
    facts, bucket = with_bundle(tmp_path, {})
    facts.role_folder.mkdir(parents=True)
    (facts.role_folder / ".env").touch()
    assert facts.listing is not None

    files = BundleFiles(facts.listing, facts.bucket, facts.host.paths.services, ())

    assert not files.is_file(facts.role_folder / ".env")
    with pytest.raises(FileNotFoundError):
        files.read(facts.role_folder / ".env")
    assert bucket.asked == []


def test_every_image_that_is_not_asked_for_is_named(tmp_path: Path) -> None:
    text = "services: {a: {image: 'busybox:1'}, b: {image: 'r.test/b:${A}'}, c: {image: 'r.test/c:${NOBODY}'}}"
    facts, _ = with_bundle(tmp_path, {"api/compose.yaml": text})
    list(compose_files.read(facts))
    facts.login = Login("r.test", "AWS", Secret("token"))

    lines = list(registry.images(facts, FakeClock().deadline()))

    assert [line.state for line in lines] == ["ok", "warn", "warn"]
    assert "busybox:1" in lines[0].why
    assert lines[1].why == "not asked for: r.test/b:${A} (b): not known here: A"
    assert lines[2].why == "not asked for: r.test/c:${NOBODY} (c): no value: NOBODY"


def test_a_compose_file_that_is_nested_too_deep_is_a_fault_that_names_the_line(tmp_path: Path) -> None:
    # PyYAML alone ends the process at this.
    facts, _ = with_bundle(tmp_path, {"api/compose.yaml": "services:\n" + "- " * 200_000})

    [line] = list(compose_files.read(facts))

    assert line.why.startswith("reading api/compose.yaml:2:")
    assert "nested too deep" in line.why
