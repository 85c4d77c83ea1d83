"""Containers that Compose had made to replace others when it was ended, and had not yet given their names.

It makes the new container as `ID_NAME`, with the first twelve digits of the old one's id, then stops and removes the
old one, then renames the new one. Where both are there its next `up` takes them for two of one service, removes one and
fails: the name of the other is in use. The engine goes on with what it was asked for, also when Compose is gone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from agent.dataclass import dataclass
from agent.host.engine_answers import Container

_NAME = re.compile(r"([0-9a-f]{12})_(.+)")


class Engine(Protocol):
    """What is asked of the Docker engine."""

    def remove_container(self, container: Container) -> None:
        """Remove a container; its volumes stay."""

    def rename_container(self, container: Container, name: str) -> None:
        """Give a container another name."""

    def goes_away(self, container: Container) -> bool:
        """Wait for a container that is being removed; false when it stays."""


@dataclass(frozen=True)
class Finished:
    """What was done, a line for each; and the containers that seem to run, but are to be stopped before they are used.

    To look at, a container runs until the stop is over that Compose may have asked for: nobody would start it again.
    """

    told: tuple[str, ...]
    doubtful: tuple[Container, ...]


def finish(engine: Engine, containers: Sequence[Container]) -> Finished:
    """Remove each that has never run beside the one it was to replace, name it where that one is gone.

    Whose data it would have taken over is then still there, or is in it.
    """
    told: list[str] = []
    doubtful: list[Container] = []
    for item in containers:
        match = _NAME.fullmatch(item.name)
        # The label says which one it replaces: by its id, since Compose 2.39 by its name.
        if item.state != "created" or not item.replaces or match is None:
            continue
        digits, name = match.groups()
        others = [other for other in containers if other.id.startswith(digits) or other.name == name]
        if all(other.state in {"removing", "dead"} and engine.goes_away(other) for other in others):
            engine.rename_container(item, name)
            told.append(f"{item.name} was renamed to {name}: Compose was ended before it could do that")
            continue
        engine.remove_container(item)
        told.append(f"{item.name} was removed: Compose was ended before it could take the place of {name}")
        doubtful += (other for other in others if other.state in {"running", "paused", "restarting"})
    return Finished(tuple(told), tuple(doubtful))
