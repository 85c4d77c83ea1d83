"""Asking Compose: what the project is, what it would do, and to do it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.errors import AccessDenied, AgentError, ComposeFileError, HostError, ImageMissing, RegistryError
from agent.host.clock import Deadline
from agent.host.command import Commands, Finished
from agent.steps.project import Project

LABEL = "io.delphi-agent.bundle"


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service of the model. `mounts` are the absolute paths of the host that it sees."""

    name: str
    image: str | None
    replicas: int
    mounts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Model:
    """The project as Compose reads it, without any value."""

    name: str
    services: tuple[Service, ...]
    warnings: tuple[str, ...]

    @property
    def images(self) -> tuple[str, ...]:
        """Every image once, in the order of their names."""
        return tuple(sorted({service.image for service in self.services if service.image}))


@dataclass(frozen=True)
class Plan:
    """What `up` would do: the containers that it would create, replace, start or remove, by name."""

    actions: Mapping[str, str]

    @property
    def changes(self) -> dict[str, str]:
        """Only what is not `unchanged` and not a finished one-shot that would merely run again."""
        return {name: what for name, what in self.actions.items() if what in {"created", "recreated", "removed"}}


def read_model(project: Project, commands: Commands, deadline: Deadline) -> Model:
    """The project's model; `ComposeFileError` with Compose's own words when it refuses the files."""
    finished = commands.run(project.config(), deadline)
    if not finished.ok:
        _expect_plugin(project, commands, deadline)
        raise _refused(f"reading the compose files of {project.shown}", project, finished)
    try:
        document = json.loads(finished.out)
    except ValueError as error:
        raise ComposeFileError(
            f"reading the compose files of {project.shown}",
            "`docker compose config` printed no JSON",
            "see that the Compose plugin is version 2 or later: `docker compose version`",
        ) from error
    services = document.get("services") or {}
    return Model(
        name=document["name"],
        services=tuple(_service(name, services[name], document) for name in sorted(services)),
        warnings=tuple(dict.fromkeys(_warnings(finished))),
    )


def _expect_plugin(project: Project, commands: Commands, deadline: Deadline) -> None:
    """Without the plugin the docker command complains about options that it does not know."""
    asked = commands.run(project.version(), deadline)
    if not asked.ok:
        raise HostError(
            "looking for Docker Compose",
            _last(asked),
            "install the Compose plugin, version 2 (package docker-compose-plugin)",
        )


def _refused(doing: str, project: Project, finished: Finished) -> ComposeFileError:
    details = [project.said(line) for line in finished.tail()[:-1]]
    cause = project.said(_last(finished))
    return ComposeFileError(doing, cause, "correct the compose file in the bundle", details=details)


def _service(name: str, data: Mapping[str, Any], document: Mapping[str, Any]) -> Service:
    deploy = data.get("deploy") or {}
    binds = [str(volume["source"]) for volume in data.get("volumes") or () if volume.get("type") == "bind"]
    for kind in ("configs", "secrets"):
        defined = document.get(kind) or {}
        names = [item["source"] for item in data.get(kind) or ()]
        binds += [str(defined[item]["file"]) for item in names if (defined.get(item) or {}).get("file")]
    return Service(
        name=name,
        image=data.get("image"),
        replicas=int(data.get("scale", deploy.get("replicas", 1))),
        mounts=tuple(sorted(binds)),
    )


def _warnings(finished: Finished) -> list[str]:
    lines = finished.err.decode("utf-8", "replace").splitlines()
    found = [re.search(r'level=warning msg="((?:[^"\\]|\\.)*)"', line) for line in lines]
    return [match[1].replace('\\"', '"') for match in found if match]


def pull(project: Project, commands: Commands, deadline: Deadline, tell: Callable[[int], None]) -> None:
    """Pull every image; `tell` hears for how many services it is done."""
    done: set[str] = set()

    def hear(line: str) -> None:
        match = re.match(r"(\S+) Pulled\b", line)
        if match:
            done.add(match[1])
            tell(len(done))

    finished = commands.run(project.pull(), deadline, on_line=hear)
    if not finished.ok:
        raise _pull_error(finished)


# Compose gives one exit status for all failed pulls: only the words of the registry tell them apart.
_MISSING = re.compile(
    r"manifest unknown|manifest for \S+ not found|not found: manifest|repository does not exist|name unknown"
)
_REFUSED = re.compile(r"unauthorized|no basic auth credentials|denied|authentication required|401 Unauth|403 Forbid")


def _pull_error(finished: Finished) -> AgentError:
    cause, details = _last(finished), finished.tail()[:-1]
    text = "\n".join(finished.tail(50))
    doing = "pulling the images"
    if _MISSING.search(text):
        step = "push the image, or correct ECR_TAG in the bootstrap file (`aws ecr describe-images` lists the tags)"
        return ImageMissing(doing, cause, step, details=details)
    if _REFUSED.search(text):
        step = (
            "give the instance ecr:BatchGetImage and ecr:GetDownloadUrlForLayer on the repository, and see that"
            " ECR_REGISTRY is the registry of the image"
        )
        return AccessDenied(doing, cause, step, details=details)
    if "no space left on device" in text:
        step = "free some space (`df -h`, `docker system df`), then run it again"
        return HostError(doing, cause, step, details=details)
    step = "see that this host reaches the registry (proxy, DNS, route), then run it again"
    return RegistryError(doing, cause, step, details=details)


def plan(project: Project, commands: Commands, deadline: Deadline, *, recreate: bool) -> Plan:
    """What `up` would do now, by Compose's own dry run (its hashes cannot be compared from outside)."""
    finished = commands.run(project.dry_run(recreate=recreate), deadline)
    if not finished.ok:
        raise _refused(f"asking Compose what it would do in {project.shown}", project, finished)
    return Plan(_actions(finished.err.decode("utf-8", "replace").splitlines()))


def up(project: Project, commands: Commands, deadline: Deadline, *, recreate: bool, pull: bool) -> Finished:
    """Start the project; a failure is for the caller to judge together with the containers' state."""
    return commands.run(project.up(recreate=recreate, pull=pull), deadline)


_WORDS = {"Creating": "created", "Recreate": "recreated", "Recreated": "recreated", "Removed": "removed"}


def _actions(lines: Sequence[str]) -> dict[str, str]:
    """Containers by name with what happens to them, from Compose's progress lines (`Container api-1  Recreate`)."""
    actions: dict[str, str] = {}
    for line in lines:
        match = re.search(r"Container (\S+) +(Running|Created|Creating|Recreated?|Removed|Started)\s*$", line)
        if match is None:
            continue
        # While it is replaced, a container has its id before its name.
        name, word = re.sub(r"^[0-9a-f]{12}_", "", match[1]), match[2]
        if actions.get(name) not in {"created", "recreated", "removed"}:
            actions[name] = _WORDS.get(word, "started" if word == "Started" else "unchanged")
    return actions


def actions_of(finished: Finished) -> dict[str, str]:
    """What `up` did, by container name."""
    return _actions(finished.err.decode("utf-8", "replace").splitlines())


def _last(finished: Finished) -> str:
    tail = finished.tail(1)
    return tail[0] if tail else f"`docker compose` exited with {finished.status} and said nothing"
