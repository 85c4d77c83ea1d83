"""What the Docker engine's answers mean: containers and images as the rest of the agent knows them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from agent.dataclass import dataclass
from agent.host import processes
from agent.secret import Secret

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
ONE_OFF_LABEL = "com.docker.compose.oneoff"
REPLACE_LABEL = "com.docker.compose.replace"
OWN_LABELS = "io.delphi-agent."


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container as the engine sees it now. `health` is None when it has no health check.

    `reference` is the image's name when it was made, `labels` are the agent's own, `environment` is what it was given
    by Compose and by its image. `up` is for how many seconds it has run, None when the kernel does not show it.
    `replaces` is the id of the container in whose place Compose made it.
    """

    id: str
    name: str
    service: str
    image: str
    state: str
    exit_code: int
    restarts: int
    restart_policy: str
    started: dt.datetime | None
    health: str | None
    health_log: str = field(default="", repr=False)
    finished: dt.datetime | None = None
    reference: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)
    environment: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    up: float | None = None
    replaces: str = ""


@dataclass(frozen=True)
class Image:
    """One image on the host, with its tags and the digests under which it was pulled (`name@sha256:...`).

    `platform` is what it runs on (`linux/amd64`); a list of images does not say it.
    """

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...] = ()
    platform: str = ""


def image_of(data: Mapping[str, Any]) -> Image:
    """The engine lists an untagged image with `<none>:<none>` or with nothing, by its version."""
    tags, digests = (data.get(key) or () for key in ("RepoTags", "RepoDigests"))
    return Image(
        data["Id"],
        tuple(tag for tag in tags if tag != "<none>:<none>"),
        tuple(digest for digest in digests if not digest.startswith("<none>@")),
        f"{data['Os']}/{data['Architecture']}" if data.get("Architecture") else "",
    )


def container_of(data: Mapping[str, Any]) -> Container:
    """A container as the engine inspects it."""
    state, config = data["State"], data["Config"]
    labels = config.get("Labels") or {}
    given = (entry.partition("=") for entry in config.get("Env") or ())
    health = state.get("Health") or {}
    log: Sequence[Mapping[str, Any]] = health.get("Log") or ()
    pid = state.get("Pid") or 0
    return Container(
        id=data["Id"],
        name=data["Name"].lstrip("/"),
        service=labels.get(SERVICE_LABEL, ""),
        image=data["Image"],
        state=state["Status"],
        exit_code=state["ExitCode"],
        restarts=data.get("RestartCount", 0),
        restart_policy=data["HostConfig"].get("RestartPolicy", {}).get("Name") or "no",
        started=_time(state.get("StartedAt", "")),
        health=health.get("Status") if health.get("Status") != "none" else None,
        health_log=(log[-1].get("Output") or "").strip() if log else "",
        finished=_time(state.get("FinishedAt", "")),
        reference=config.get("Image", ""),
        labels={name: value for name, value in labels.items() if name.startswith(OWN_LABELS)},
        environment={name: Secret(value) for name, _, value in given},
        up=processes.age(pid) if pid else None,
        replaces=labels.get(REPLACE_LABEL, ""),
    )


def _time(text: str) -> dt.datetime | None:
    """An RFC 3339 time with nanoseconds, as Go prints it; None for Go's zero time."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", text)
    if match is None or text.startswith("0001-"):
        return None
    return dt.datetime.fromisoformat(f"{match[1]}+00:00")
