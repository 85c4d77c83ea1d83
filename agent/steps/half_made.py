"""Containers that Compose had made to replace others when it was ended, and had not yet given their names.

It makes the new container as `ID_NAME`, with the first twelve digits of the old one's id, then removes the old one,
then renames the new one. Where both are there its next `up` takes them for two of one service, removes one and fails:
the name of the other is in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent.host.engine_answers import Container

_ID_DIGITS = 12


class Engine(Protocol):
    """What is asked of the Docker engine."""

    def remove_container(self, container: Container) -> None:
        """Remove a container; its volumes stay."""

    def rename_container(self, container: Container, name: str) -> None:
        """Give a container another name."""


def finish(engine: Engine, containers: Sequence[Container]) -> list[str]:
    """Remove each that has never run beside the one it was to replace, name it where that one is gone; a line for each.

    Whose data it would have taken over is then still there, or is in it.
    """
    told = []
    for item in containers:
        prefix = f"{item.replaces[:_ID_DIGITS]}_"
        if item.state != "created" or not item.replaces or not item.name.startswith(prefix):
            continue
        name = item.name.removeprefix(prefix)
        if any(other.id == item.replaces or other.name == name for other in containers):
            engine.remove_container(item)
            told.append(f"{item.name} was removed: Compose was ended before it could take the place of {name}")
        else:
            engine.rename_container(item, name)
            told.append(f"{item.name} was renamed to {name}: Compose was ended before it could do that")
    return told
