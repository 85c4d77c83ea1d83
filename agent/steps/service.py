"""One service of the project, as `docker compose config` shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from agent.dataclass import dataclass
from agent.secret import Secret


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service of the model. `mounts` are the absolute paths of the host that it sees.

    `environment` is what Compose gives its containers, `granted` the contents of configs and secrets that are made from
    text or a variable, by name (`secret token`). `along` are the services whose network or other namespace it lives in:
    it is replaced along with them. `platform` is that of its image, empty when it is the host's.
    """

    name: str
    image: str | None
    replicas: int
    mounts: tuple[str, ...]
    container_name: str | None = None
    environment: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    granted: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    along: tuple[str, ...] = ()
    platform: str = ""

    def owns(self, container: str, project: str) -> bool:
        """Whether a container of this name would be one of this service's."""
        number = container.removeprefix(f"{project}-{self.name}-")
        return container == self.container_name or (number != container and number.isdecimal())


def read(name: str, data: Mapping[str, Any], document: Mapping[str, Any], env: Mapping[str, Secret]) -> Service:
    """A service of `docker compose config`'s document; `env` is what Compose itself was given."""
    deploy = data.get("deploy") or {}
    binds = [str(volume["source"]) for volume in data.get("volumes") or () if volume.get("type") == "bind"]
    granted: dict[str, Secret] = {}
    for kind in ("config", "secret"):
        defined = document.get(f"{kind}s") or {}
        for source in (item["source"] for item in data.get(f"{kind}s") or ()):
            origin = defined.get(source) or {}
            if origin.get("file"):
                binds.append(str(origin["file"]))
            elif "content" in origin or "environment" in origin:
                granted[f"{kind} {source}"] = _content(origin, env)
    return Service(
        name=name,
        image=data.get("image"),
        replicas=int(data.get("scale", deploy.get("replicas", 1))),
        mounts=tuple(sorted(binds)),
        container_name=data.get("container_name"),
        environment=_environment(data.get("environment") or {}),
        granted=granted,
        along=tuple(_along(data)),
        platform=str(data.get("platform") or ""),
    )


def _environment(given: Mapping[str, Any]) -> dict[str, Secret]:
    """What the containers get; `config` prints a dollar sign as two, and null for what is set nowhere."""
    return {key: Secret(str(value).replace("$$", "$")) for key, value in given.items() if value is not None}


def _content(origin: Mapping[str, Any], env: Mapping[str, Secret]) -> Secret:
    if "content" in origin:
        return Secret(str(origin["content"]))
    return env.get(str(origin["environment"]), Secret(""))


def _along(data: Mapping[str, Any]) -> Iterator[str]:
    for key in ("network_mode", "ipc", "pid"):
        kind, _, service = str(data.get(key) or "").partition(":")
        if kind == "service":
            yield service
