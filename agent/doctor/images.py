"""The images that a project's services name, read as text: no engine, no Compose. What is not known says why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from agent.compose_file import ComposeFile, Service, interpolation
from agent.compose_file.filling import UNKNOWN, Values, fill
from agent.compose_file.interpolation import Reference
from agent.dataclass import dataclass
from agent.variables.manifest import Manifest

_EVERY_PROFILE = "*"


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image, of `service` or of what is not known. `name` has `UNKNOWN` for what is not known, and `why` says why.

    `text` is how messages call it.
    """

    name: str
    text: str
    why: str = ""


def of(composed: ComposeFile, values: Values) -> Iterator[Image]:
    """The images that a run pulls, each service's own; not those of services that no profile brings in."""
    # Compose itself knows the project's name.
    given: Values = {**dict.fromkeys([*composed.defaults, "COMPOSE_PROJECT_NAME"]), **values}
    for place in composed.unread:
        yield Image(name=UNKNOWN, text="an include", why=place)
    for service in composed.services:
        if not service.builds and _wanted(service, given):
            yield from _image(service, given)


def values_of(
    given: Mapping[str, str], manifest: Manifest, settled: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    """What is known of the variables: all when they are `settled`, else what the bootstrap file alone decides."""
    if settled is not None:
        return {**given, **settled}
    found: dict[str, str | None] = dict(given)
    for item in manifest.variables:
        if not item.local or item.template is not None:
            found[item.name] = None
        elif not given.get(item.name) and item.default is not None:
            found[item.name] = item.default
    return found


def _wanted(service: Service, values: Values) -> bool:
    """Whether a profile of the service is active, or may be."""
    active = set((values.get("COMPOSE_PROFILES") or "").split(","))
    own = [fill(interpolation.parse(written), values) for written in service.profiles]
    known = {name for name in own if name is not None and UNKNOWN not in name}
    return not own or _EVERY_PROFILE in active or bool(known & active) or len(known) < len(set(own))


def _image(service: Service, values: Values) -> Iterator[Image]:
    written = service.image
    text = f"{written} ({service.name})" if written else f"the image of {service.name}"
    if not written:
        # Where all was read, Compose refuses it, which is told elsewhere.
        if not service.complete:
            yield Image(name=UNKNOWN, text=text, why="it extends what cannot be read here")
        return
    parts = interpolation.parse(written)
    name = fill(parts, values)
    if name is None:
        yield Image(name=UNKNOWN, text=text, why="Compose refuses it: it is malformed, or a `${NAME:?}` has no value")
    elif UNKNOWN in name:
        names = sorted(_names(parts, {name for name, value in values.items() if value is None}))
        yield Image(name=name, text=text, why=f"not known here: {', '.join(names)}")
    else:
        blank = sorted(_blank(parts, values))
        yield Image(name=name, text=text, why=f"no value: {', '.join(blank)}" if blank else "")


def _names(parts: tuple[interpolation.Part, ...], among: Collection[str]) -> set[str]:
    found = interpolation.references(parts)
    return {part.name for part in found if isinstance(part, Reference) and part.name in among}


def _blank(parts: tuple[interpolation.Part, ...], values: Values) -> set[str]:
    """The names for which Compose puts nothing, by no intention that is written down."""
    return {
        part.name for part in parts if isinstance(part, Reference) and not part.operator and not values.get(part.name)
    }
