"""The compose file's images, read as text: no engine, no Compose, and only the file itself, not what it includes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.compose_file import interpolation, yaml_source
from agent.compose_file.interpolation import Literal, Malformed, Part
from agent.doctor.facts import Facts
from agent.errors import ComposeFileError
from agent.steps import project


def of(facts: Facts) -> bytes:
    """The bundle's compose file, or the one on this host when the bundle's could not be had."""
    if facts.compose_data is not None:
        return facts.compose_data
    return read(facts.role_folder, facts.host.paths.shown(facts.role_folder))


def read(folder: Path, shown: str) -> bytes:
    """The compose file in `folder`, which messages call `shown`."""
    path = project.find(folder, shown)[0]
    try:
        return path.read_bytes()
    except OSError as error:
        cause = error.strerror or str(error)
        raise ComposeFileError(f"reading {shown}/{path.name}", cause, "run it as root") from error


def images(data: bytes, values: Mapping[str, str]) -> Iterator[str]:
    """The images' names, `""` for one that `values` do not settle; not those of services that a profile leaves out."""
    source = yaml_source.read(data, "the compose file")
    if source.findings:
        first = source.findings[0]
        raise ComposeFileError("reading the compose file", f"line {first.place.line}: {first.text}", first.next_step)
    root = source.documents[0] if source.documents else None
    profiles = set(values.get("COMPOSE_PROFILES", "").split(","))
    for entry in yaml_source.entries(yaml_source.value(root, "services")).values():
        own = {yaml_source.text(item) for item in yaml_source.items(yaml_source.value(entry.value, "profiles"))}
        written = yaml_source.text(yaml_source.value(entry.value, "image"))
        builds = yaml_source.value(entry.value, "build") is not None
        if written and not builds and (not own or own & profiles):
            yield _filled(interpolation.parse(written), values) or ""


def _filled(parts: tuple[Part, ...], values: Mapping[str, str]) -> str | None:
    """The text with its variables replaced; None when one has no value here."""
    text = ""
    for part in parts:
        if isinstance(part, Literal):
            text += part.text
            continue
        if isinstance(part, Malformed):
            return None
        value: str | None = values.get(part.name)
        if not value and part.operator in (":-", "-"):
            value = _filled(part.argument, values)
        if not value:
            return None
        text += value
    return text
