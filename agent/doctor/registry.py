"""The registry: it can be reached, takes the token, and has the images that the project names."""

from __future__ import annotations

import http
from collections.abc import Iterator
from functools import partial

from agent.aws.ecr import MANIFESTS, Login
from agent.doctor import images as project_images
from agent.doctor import registry_wire
from agent.doctor.facts import Facts
from agent.doctor.images import Image
from agent.doctor.line import Line, fail, ok, warn
from agent.errors import AccessDenied, AgentError, ImageMissing, RegistryError
from agent.host import image_names
from agent.host.clock import Deadline
from agent.host.side_by_side import SideBySide
from agent.report.words import amount

_UNKNOWN = (
    "give the names in it a value (vars.yaml, bootstrap file); `delphi-agent plan` shows what Compose makes of it"
)


def images(facts: Facts, deadline: Deadline) -> Iterator[Line]:
    """Every image of the project that lies in this registry is there, under the tag that is wanted."""
    if facts.login is None:
        yield ok("not asked: the registry is not ECR, the host's own logins are used")
        return
    login = facts.login
    wanted = list(_of_project(facts))
    names = sorted({image.name for image in wanted if not image.why})
    mine = [name for name in names if name.startswith(f"{login.registry}/")]
    try:
        with SideBySide(deadline) as group:
            for name in mine:
                group.start(f"asking for {name}", partial(_expect, facts, login, name, deadline))
    except AgentError as error:
        yield from (fail(part) for part in error.parts())
    else:
        others = [name for name in names if name not in mine]
        more = f"; of other registries, not asked for: {', '.join(others)}" if others else ""
        yield ok(f"{amount(len(mine), 'image')} in the registry{more}")
    for image in wanted:
        if image.why:
            yield warn(f"not asked for: {image.text}: {image.why}", _UNKNOWN)


def _of_project(facts: Facts) -> Iterator[Image]:
    """The images of the project, as far as they can be told without Compose."""
    settled = facts.resolution
    environment = {name: value.reveal() for name, value in settled.environment.items()} if settled else None
    return project_images.of(
        facts.composed, project_images.values_of(facts.bootstrap.variables, facts.manifest, environment)
    )


def _expect(facts: Facts, login: Login, name: str, deadline: Deadline) -> None:
    """Raise for an image that cannot be pulled: its manifest is asked for, and not fetched."""
    repository = image_names.repository(name).partition("/")[2]
    which = name.partition("@")[2] or image_names.tag(name)
    headers = {"Authorization": login.authorization, "Accept": MANIFESTS}
    answer = registry_wire.head(facts, login.registry, f"/v2/{repository}/manifests/{which}", headers, deadline)
    facts.compare_clock(answer.date)
    status = answer.status
    doing = f"asking the registry for {name}"
    if status == http.HTTPStatus.NOT_FOUND:
        raise ImageMissing(
            doing, "the registry has no such image", "push it, or correct ECR_TAG (`aws ecr describe-images`)"
        )
    if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        raise AccessDenied(
            doing,
            f"the registry refuses (HTTP {status})",
            "give the instance ecr:BatchGetImage and ecr:GetDownloadUrlForLayer on the repository",
        )
    if status != http.HTTPStatus.OK:
        raise RegistryError(
            doing, f"HTTP {status} {answer.reason}", "run it again; if it stays so, look at the registry"
        )
