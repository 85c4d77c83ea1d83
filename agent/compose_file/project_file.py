"""The compose files of a project together: `read`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.compose_file import env_file, includes, service, uses, yaml_source
from agent.compose_file.files import Disk, Files
from agent.compose_file.finding import Finding, Place, error
from agent.compose_file.service import Service
from agent.compose_file.uses import Use
from agent.compose_file.yaml_source import Source
from agent.dataclass import dataclass

if TYPE_CHECKING:
    from yaml import Node

_FIX = "correct the file where the bundle is made"


@dataclass(frozen=True, kw_only=True)
class ComposeFile:
    """What the files say. `findings` are what Compose would refuse; `whole` is false when a file could not be parsed.

    `files` are all that were read, those that `include` and `extends` bring among them. `unread` are the includes that
    could not be followed, each with its place and why; `defaults` are the names that the env files of includes set, for
    where nothing else gives them a value.
    """

    files: tuple[Path, ...]
    services: tuple[Service, ...]
    uses: tuple[Use, ...]
    findings: tuple[Finding, ...]
    whole: bool = True
    unread: tuple[str, ...] = ()
    defaults: frozenset[str] = frozenset()


_DISK = Disk()


def read(paths: Sequence[Path], shown: Callable[[Path], str] = str, files: Files = _DISK) -> ComposeFile:
    """Read a project's files, in the order of Compose's `-f`; `shown` is what messages call a file.

    Raises nothing but what `files` raise that is no `OSError`.
    """
    reader = _Reader(shown, files)
    services: dict[str, Service | None] = {}
    folder = paths[0].parent if paths else Path()
    for path in paths:
        _lay_over(services, reader.layer(path, folder))
    settled = tuple(reader.settle(item) for item in services.values() if item is not None)
    if paths and reader.whole and not settled:
        text = "no `services`: there is nothing to start"
        reader.findings.append(error(Place(shown(paths[0])), "compose-file-invalid", text, _FIX))
    return ComposeFile(
        files=tuple(source.path for source in reader.sources.values()),
        services=settled,
        uses=tuple(dict.fromkeys(reader.uses)),
        findings=tuple(dict.fromkeys([*reader.findings, *_without_image(settled)])),
        whole=reader.whole,
        unread=tuple(dict.fromkeys(reader.unread)),
        defaults=frozenset(reader.defaults),
    )


@dataclass
class _Reader:
    shown: Callable[[Path], str]
    files: Files
    sources: dict[Path, Source] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    whole: bool = True
    unread: list[str] = field(default_factory=list)
    defaults: set[str] = field(default_factory=set)
    _granted: dict[str, str] = field(default_factory=dict)
    _layers: set[Path] = field(default_factory=set)

    def settle(self, item: Service) -> Service:
        """Add the variables that reach a service through the secrets and configs that it is granted."""
        return replace(item, takes=item.takes | {self._granted[name] for name in item.secrets if name in self._granted})

    def layer(self, path: Path, folder: Path) -> dict[str, Service | None]:
        """The services of one file and of those that it includes; None for one that it takes away (`!reset`)."""
        if path.resolve() in self._layers:
            return {}
        self._layers.add(path.resolve())
        source = self._open(path)
        services: dict[str, Service | None] = {}
        for root in source.documents:
            for included, its_folder in self._included(source, root, folder):
                _lay_over(services, self.layer(included, its_folder))
            for name, entry in yaml_source.entries(yaml_source.value(root, "services")).items():
                gone = yaml_source.is_reset(entry.value)
                _lay_over(services, {name: None if gone else self._service(source, root, name, folder, ())})
        return services

    def _open(self, path: Path) -> Source:
        known = self.sources.get(path.resolve())
        if known:
            return known
        source = yaml_source.load(path, self.shown(path), self.files)
        self.sources[path.resolve()] = source
        self.findings += source.findings
        self.whole = self.whole and (bool(source.documents) or not source.findings)
        found, faults = uses.interpolated(source, source.documents)
        self.uses += found
        self.findings += faults
        for root in source.documents:
            if not yaml_source.is_a(root, "mapping") and not yaml_source.is_null(root):
                text = "a compose file must be a mapping with `services`"
                self.findings.append(error(source.place(root), "compose-file-invalid", text, _FIX))
            self._note_passed(source, root)
        return source

    def _note_passed(self, source: Source, root: Node) -> None:
        for entry in yaml_source.entries(yaml_source.value(root, "services")).values():
            build = yaml_source.value(entry.value, "build")
            self.uses += uses.passed(source, yaml_source.value(entry.value, "environment"))
            self.uses += uses.passed(source, yaml_source.value(build, "args"))
        for kind in ("secrets", "configs"):
            for name, entry in yaml_source.entries(yaml_source.value(root, kind)).items():
                node = yaml_source.value(entry.value, "environment")
                variable = yaml_source.text(node)
                if node is not None and variable and "$" not in variable:
                    self.uses.append(uses.named(source, node, variable))
                    self._granted[name] = variable

    def _service(self, source: Source, root: Node, name: str, folder: Path, above: tuple[str, ...]) -> Service:
        """One service with what it extends, which may lie in another file."""
        entry = yaml_source.entries(yaml_source.value(root, "services"))[name]
        made = service.read(source, name, entry.value, folder, self.files)
        made = replace(made, place=source.place(entry.key))
        extends = yaml_source.value(entry.value, "extends")
        if extends is None:
            return made
        base_name = yaml_source.text(extends) or yaml_source.text(yaml_source.value(extends, "service")) or ""
        file = yaml_source.value(extends, "file")
        base_source, base_root = source, root
        if file is not None:
            path = includes.literal_path(yaml_source.text(file), folder)
            if path is None:
                return replace(made, complete=False)
            if not self.files.is_file(path):
                self._missing(source.place(file))
                return replace(made, complete=False)
            base_source, folder = self._open(path), path.parent
            roots = [one for one in base_source.documents if base_name in _services(one)]
            base_root = roots[0] if roots else root
        key = f"{base_source.name}:{base_name}"
        if key in above or base_name not in _services(base_root):
            text = "`extends` names no other service" if key not in above else "`extends` leads back to itself"
            self.findings.append(error(source.place(extends), "compose-file-invalid", text, _FIX))
            return replace(made, complete=False)
        base = self._service(base_source, base_root, base_name, folder, (*above, key))
        return replace(made.over(base), place=made.place)

    def _included(self, source: Source, root: Node, folder: Path) -> Iterator[tuple[Path, Path]]:
        """The files that are included, each with the folder in which its own paths begin."""
        for include in includes.read(source, root, folder):
            for file in include.files:
                if file.path is None:
                    self.unread.append(f"{file.place}: what is included is named by variables, or lies elsewhere")
                elif not self.files.is_file(file.path):
                    self.unread.append(f"{file.place}: the file that is included is not there")
                    self._missing(file.place)
                else:
                    yield file.path, include.folder
            for file in include.env_files:
                if file.path is None:
                    self.unread.append(f"{file.place}: the env file of an include is named by variables")
                else:
                    self.defaults |= env_file.read(file.path, self.files).sets

    def _missing(self, place: Place) -> None:
        text = "names a file that is not there"
        self.findings.append(error(place, "compose-file-invalid", text, "add the file to the bundle"))


def _services(root: Node) -> Mapping[str, object]:
    return yaml_source.entries(yaml_source.value(root, "services"))


def _lay_over(services: dict[str, Service | None], upper: Mapping[str, Service | None]) -> None:
    for name, item in upper.items():
        below = services.get(name)
        services[name] = item.over(below) if item is not None and below is not None else item


def _without_image(services: tuple[Service, ...]) -> Iterator[Finding]:
    for item in services:
        if item.complete and not item.image and not item.builds:
            yield error(
                item.place,
                "service-without-image",
                f"service {item.name} has neither `image` nor `build`; Compose refuses the project",
                "give it an image",
            )
