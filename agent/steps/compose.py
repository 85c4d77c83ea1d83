"""Asking Compose: what the project is, what it would do, and to do it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from agent.dataclass import dataclass
from agent.errors import AgentError, ComposeFileError, EngineError, HostError
from agent.host import json_input
from agent.host.clock import Deadline
from agent.host.command import Commands, Finished
from agent.steps import service
from agent.steps.project import Project
from agent.steps.service import Service


@dataclass(frozen=True, kw_only=True)
class Model:
    """The project as Compose reads it. Values are only in it as `Secret`."""

    name: str
    services: tuple[Service, ...]
    warnings: tuple[str, ...]
    networks: tuple[str, ...] = ()

    @property
    def images(self) -> tuple[str, ...]:
        """Every image once, in the order of their names."""
        return tuple(sorted({item.image for item in self.services if item.image}))


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
        document = json_input.loads(finished.out)
    except ValueError as error:
        raise ComposeFileError(
            f"reading the compose files of {project.shown}",
            "`docker compose config` printed no JSON",
            "see that the Compose plugin is version 2 or later: `docker compose version`",
        ) from error
    services = document.get("services") or {}
    return Model(
        name=document["name"],
        services=tuple(service.read(name, services[name], document, project.env) for name in sorted(services)),
        warnings=tuple(dict.fromkeys(_warnings(finished))),
        networks=tuple(str(item.get("name", name)) for name, item in (document.get("networks") or {}).items() if item),
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


def _refused(doing: str, project: Project, finished: Finished) -> AgentError:
    """Compose gives one status for all: its words, or the lack of them, tell whose fault it is."""
    details = [project.said(line) for line in finished.tail()[:-1]]
    cause = project.said(_last(finished))
    if finished.status < 0:
        return HostError(doing, cause, "see what ended it (`dmesg`: out of memory?), then run it again")
    if re.search(r"Cannot connect to the Docker daemon|error during connect|request returned \w+ \w+ Error", cause):
        return EngineError(doing, cause, "see why the engine is in trouble: `journalctl -u docker`, then run it again")
    return ComposeFileError(doing, cause, "correct the compose file in the bundle", details=details)


def _warnings(finished: Finished) -> list[str]:
    lines = finished.err.decode("utf-8", "replace").splitlines()
    found = [re.search(r'level=warning msg="((?:[^"\\]|\\.)*)"', line) for line in lines]
    return [match[1].replace('\\"', '"') for match in found if match]


def stand_ins(model: Model) -> bytes | None:
    """A compose file for dry runs only: configs and secrets made from values become empty files.

    A dry run wants to put such a content into a container that it did not make, and fails (`Could not find the file /
    in container`, Compose 2.26). What a service is granted stays the same, and so does its hash.
    """
    parts: dict[str, list[str]] = {"config": [], "secret": []}
    for granted in sorted({name for item in model.services for name in item.granted}):
        kind, _, name = granted.partition(" ")
        parts[kind].append(f"{json.dumps(name)}: {{file: /dev/null, content: !reset null, environment: !reset null}}")
    lines = [f"{kind}s: {{{', '.join(items)}}}\n" for kind, items in parts.items() if items]
    return "".join(lines).encode() or None


def plan(
    project: Project,
    model: Model,
    commands: Commands,
    deadline: Deadline,
    *,
    recreate: bool,
    may_be_silent: Callable[[], bool] = lambda: False,
) -> Plan:
    """What `up` would do now, by Compose's own dry run (its hashes cannot be compared from outside).

    `may_be_silent` says whether all containers there are of a kind that Compose says nothing of.
    """
    doing = f"asking Compose what it would do in {project.shown}"
    finished = commands.run(project.dry_run(recreate=recreate), deadline)
    if not finished.ok:
        raise _refused(doing, project, finished)
    actions = _actions(finished.err.decode("utf-8", "replace").splitlines())
    if not actions and any(item.replicas for item in model.services) and not may_be_silent():
        # It names containers that stay as they are too: silence is no answer, least of all "nothing to do".
        raise HostError(
            doing,
            "it names no container, not even one that stays as it is",
            "see that the Compose plugin is version 2 or later: `docker compose version`",
        )
    return Plan(actions)


def up(
    project: Project,
    commands: Commands,
    deadline: Deadline,
    *,
    recreate: bool,
    pull: bool,
    watch: Callable[[], None] | None = None,
) -> Finished:
    """Start the project; a failure is for the caller to judge together with the containers' state.

    What `watch` raises ends it (see `Commands.run`).
    """
    return commands.run(project.up(recreate=recreate, pull=pull), deadline, watch=watch)


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


def left_undone(plan: Plan, finished: Finished) -> bool:
    """Whether `up` names no container though something was to change: then the containers are those of before."""
    return bool(plan.changes) and not actions_of(finished)


def _last(finished: Finished) -> str:
    tail = finished.tail(1)
    if tail:
        return tail[0]
    how = f"was ended by signal {-finished.status}" if finished.status < 0 else f"exited with {finished.status}"
    return f"`docker compose` {how} and said nothing"
