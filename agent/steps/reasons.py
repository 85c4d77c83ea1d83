"""Why a service is created or recreated, in words: what differs between its container and what Compose would make.

Compose itself only says that a hash differs. Values are compared in memory, and only their names are told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal, Protocol

from agent.dataclass import dataclass
from agent.host import json_input
from agent.host.engine_answers import Container
from agent.steps import mounted
from agent.steps.compose import Model
from agent.steps.mounted import Labels
from agent.steps.service import Service

# Names that are told of one kind; the rest is counted.
MOST_NAMES = 8

Action = Literal["create", "recreate", "remove", "start", "unchanged", "unknown"]
# The one that says most of a service with several containers comes first.
_RANKS: Mapping[str, Action] = {
    "recreated": "recreate",
    "created": "create",
    "removed": "remove",
    "started": "start",
    "unchanged": "unchanged",
}


@dataclass(frozen=True)
class Fate:
    """What happens to one service, and why; without a reason when nothing happens."""

    service: str
    action: Action
    reasons: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


class Images(Protocol):
    """What is asked of the engine."""

    def image_id(self, reference: str) -> str | None:
        """The id of the image with this name, None when the host does not have it."""

    def image_environment(self, identity: str) -> Collection[str]:
        """The names that an image gives to its containers."""


def fates(
    model: Model,
    before: Sequence[Container],
    actions: Mapping[str, str],
    labels: Labels,
    images: Images,
    *,
    forced: str | None = None,
) -> list[Fate]:
    """What happens to each service of the model, and to each that it lacks, by the containers as they were before.

    `actions` are Compose's, by container; `forced` is the flag for which everything is replaced.
    """
    acted = {item.name: _action(item, model, before, actions) for item in model.services}
    recreated = {name for name, action in acted.items() if action == "recreate"}

    def why(item: Service) -> tuple[str, ...]:
        if acted[item.name] != "recreate":
            return _otherwise(item, acted[item.name], before)
        if forced:
            return (forced,)
        old = next(one for one in before if one.service == item.name)
        return tuple(_reasons(item, old, labels.get(item.name, {}), images, recreated))

    found = [Fate(item.name, acted[item.name], why(item)) for item in model.services]
    known = {item.name for item in model.services}
    gone = {one.service for one in before if one.service not in known and actions.get(one.name) == "removed"}
    return found + [Fate(name, "remove", ("no longer in the compose file",)) for name in sorted(gone)]


def _action(item: Service, model: Model, before: Sequence[Container], actions: Mapping[str, str]) -> Action:
    own = {one.name for one in before if one.service == item.name}
    others = {one.name for one in before} - own
    words = {word for name, word in actions.items() if name in own}
    words |= {
        word
        for name, word in actions.items()
        if word in {"created", "started"} and name not in own | others and item.owns(name, model.name)
    }
    if "recreated" in words and not own:
        return "create"
    return next((action for word, action in _RANKS.items() if word in words), "unchanged")


def _otherwise(item: Service, action: Action, before: Sequence[Container]) -> tuple[str, ...]:
    own = [one for one in before if one.service == item.name]
    if action == "create":
        return ("not there yet",) if not own else (f"{len(own)} of {item.replicas} containers are there",)
    if action == "remove":
        return (f"{len(own)} containers are there, {item.replicas} are wanted",)
    if action == "start":
        return tuple({f"it is {one.state}": None for one in own if one.state != "running"})
    return ()


def _reasons(
    item: Service,
    old: Container,
    labels: Mapping[str, str],
    images: Images,
    recreated: Collection[str],
) -> Iterator[str]:
    told = [
        *_image(item, old, images),
        *_environment(item, old, images),
        *_mounted(old.labels, labels),
        *(f"it lives in the namespace of {name}" for name in item.along if name in recreated),
    ]
    yield from told or ["its definition in the compose file"]


def _image(item: Service, old: Container, images: Images) -> Iterator[str]:
    if item.image is None:
        return
    if old.reference != item.image:
        yield f"image {old.reference} -> {item.image}"
        return
    now = images.image_id(item.image)
    if now is None:
        yield f"image {item.image} is not on the host any more"
    elif now != old.image:
        yield f"image moved ({item.image}, {now.removeprefix('sha256:')[: mounted.SHORT]})"


def _environment(item: Service, old: Container, images: Images) -> Iterator[str]:
    changed = {name for name, value in item.environment.items() if old.environment.get(name) != value}
    gone = old.environment.keys() - item.environment.keys()
    if gone:
        gone -= set(images.image_environment(old.image))
    if changed or gone:
        yield f"environment {_listed(changed | gone)}"


def _mounted(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    if old.get(mounted.BUNDLE) != new.get(mounted.BUNDLE):
        named = _differing(old.get(mounted.FILES), new.get(mounted.FILES))
        unknown = " (new, or not known from before)" if mounted.BUNDLE not in old else ""
        yield f"mounted {'file' if len(named) == 1 else 'files'} {_listed(named)}".rstrip() + unknown
    if old.get(mounted.CONTENTS) != new.get(mounted.CONTENTS):
        yield f"content of {_listed(_differing(old.get(mounted.CONTENTS), new.get(mounted.CONTENTS)))}"


def _differing(old: str | None, new: str | None) -> set[str]:
    """The names whose digests differ. A label that somebody else wrote over has none."""
    before, now = _names(old), _names(new)
    return {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}


def _names(label: str | None) -> Mapping[str, object]:
    try:
        found = json_input.loads(label or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    more = len(every) - MOST_NAMES
    return ", ".join(every[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
