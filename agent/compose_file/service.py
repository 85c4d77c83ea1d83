"""One service of a compose file, as far as it can be known without an engine and without values."""

from __future__ import annotations

from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.compose_file import env_file, interpolation, uses, yaml_source
from agent.compose_file.files import Files
from agent.compose_file.finding import Place
from agent.compose_file.interpolation import Reference
from agent.compose_file.yaml_source import Source
from agent.dataclass import dataclass

if TYPE_CHECKING:
    from yaml import Node


@dataclass(frozen=True)
class EnvFile:
    """An entry of `env_file`. `path` is None when only the host knows it: absolute, or made from variables."""

    path: Path | None
    required: bool
    place: Place


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service with what its override files, `extends` and `env_file` add.

    `environment` are the names that its containers see, `takes` the variables that reach it in any way; `complete` is
    false when a part of it cannot be read here, so that both may lack names. `image` is as it is written.

    Of what the files below say nothing counts if it `stands_alone`; else all but the keys in `alone` (`!reset`,
    `!override`) and the environment's names in `unset`.
    """

    name: str
    place: Place
    image: str | None = None
    image_place: Place | None = None
    builds: bool = False
    container_name: str | None = None
    environment: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()
    env_file: tuple[EnvFile, ...] = ()
    profiles: tuple[str, ...] = ()
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    complete: bool = True
    alone: frozenset[str] = frozenset()
    stands_alone: bool = False
    unset: frozenset[str] = frozenset()

    def over(self, base: Service) -> Service:
        """This service laid over `base`, as Compose lays an override file over the one before."""
        if self.stands_alone:
            return self
        base = base._without(self.alone, self.unset)
        return replace(
            self,
            place=base.place,
            image=self.image or base.image,
            image_place=self.image_place or base.image_place,
            builds=self.builds or base.builds,
            container_name=self.container_name or base.container_name,
            environment=self.environment | base.environment,
            takes=self.takes | base.takes,
            env_file=base.env_file + self.env_file,
            profiles=tuple(dict.fromkeys(base.profiles + self.profiles)),
            secrets=self.secrets | base.secrets,
            complete=self.complete and base.complete,
        )

    def _without(self, keys: frozenset[str], variables: frozenset[str]) -> Service:
        """What is left of it without these keys, and these names in its environment."""
        empty = Service(name=self.name, place=self.place)
        gone = {field: getattr(empty, field) for key in keys for field in _FIELDS.get(key, ())}
        made = replace(self, **gone)
        return replace(made, environment=made.environment - variables)


# What a service has of which key. Secrets and configs are one here: where one of both is taken away, they stay.
_FIELDS = {
    "image": ("image", "image_place"),
    "build": ("builds",),
    "container_name": ("container_name",),
    "environment": ("environment",),
    "env_file": ("env_file",),
    "profiles": ("profiles",),
}


def read(source: Source, name: str, node: Node, folder: Path, files: Files) -> Service:
    """Read one entry of `services`; its paths begin at `folder`. What has another shape than Compose's is left out."""
    given = {key: entry.value for key, entry in yaml_source.entries(node).items()}
    fields = {key: value for key, value in given.items() if not yaml_source.is_reset(value)}
    image, environment = fields.get("image"), fields.get("environment")
    variables = yaml_source.entries(environment)
    build = fields.get("build")
    used, _ = uses.interpolated(source, (node,))
    passed = [*uses.passed(source, environment), *uses.passed(source, yaml_source.value(build, "args"))]
    named = tuple(_env_files(source, fields.get("env_file"), folder))
    there = {item.path for item in named if item.path and files.is_file(item.path)}
    texts = [env_file.read(path, files) for path in there]
    return Service(
        name=name,
        place=source.place(node),
        image=yaml_source.text(image),
        image_place=source.place(image) if image is not None else None,
        builds=build is not None,
        container_name=yaml_source.text(fields.get("container_name")),
        environment=_names(environment).union(*(text.sets for text in texts)),
        takes=frozenset(use.name for use in (*used, *passed)).union(*(text.takes for text in texts)),
        env_file=named,
        profiles=tuple(filter(None, map(yaml_source.text, yaml_source.items(fields.get("profiles"))))),
        secrets=frozenset(_grants(fields.get("secrets"))) | frozenset(_grants(fields.get("configs"))),
        complete=all(item.path and (item.path in there or not item.required) for item in named),
        alone=frozenset(key for key, value in given.items() if key not in fields or yaml_source.is_override(value)),
        stands_alone=yaml_source.is_override(node),
        unset=frozenset(name for name, entry in variables.items() if yaml_source.is_reset(entry.value)),
    )


def _names(environment: Node | None) -> frozenset[str]:
    if environment is not None and yaml_source.is_a(environment, "mapping"):
        entries = yaml_source.entries(environment)
        return frozenset(name for name, entry in entries.items() if not yaml_source.is_reset(entry.value))
    written = (yaml_source.text(item) or "" for item in yaml_source.items(environment))
    return frozenset(name for text in written if (name := text.partition("=")[0]) and "$" not in name)


def _grants(node: Node | None) -> list[str]:
    items = yaml_source.items(node)
    texts = (yaml_source.text(item) or yaml_source.text(yaml_source.value(item, "source")) for item in items)
    return [text for text in texts if text]


def _env_files(source: Source, node: Node | None, folder: Path) -> list[EnvFile]:
    found = []
    for item in yaml_source.items(node):
        at = yaml_source.value(item, "path") if yaml_source.is_a(item, "mapping") else item
        written = yaml_source.text(at)
        if at is None or not written:
            continue
        required = (yaml_source.text(yaml_source.value(item, "required")) or "true").lower() != "false"
        unknown = written.startswith(("/", "~")) or any(
            isinstance(part, Reference) for part in interpolation.parse(written)
        )
        found.append(EnvFile(None if unknown else folder / written, required, source.place(at)))
    return found
