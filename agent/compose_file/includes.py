"""The entries of `include`: which files each brings, and from where theirs are found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agent.compose_file import interpolation, yaml_source
from agent.compose_file.finding import Place
from agent.compose_file.interpolation import Literal
from agent.compose_file.yaml_source import Source
from agent.dataclass import dataclass

if TYPE_CHECKING:
    from yaml import Node


@dataclass(frozen=True)
class Named:
    """A file that is named at `place`. `path` is None when it cannot be followed: made from variables, or elsewhere."""

    place: Place
    path: Path | None


@dataclass(frozen=True)
class Include:
    """One entry: its files belong together, and the paths in them begin at `folder`."""

    files: tuple[Named, ...]
    env_files: tuple[Named, ...]
    folder: Path


def read(source: Source, root: Node, folder: Path) -> Iterator[Include]:
    """The entries of one document, whose own paths begin at `folder`."""
    for item in yaml_source.items(yaml_source.value(root, "include")):
        long = yaml_source.is_a(item, "mapping")
        files = _named(source, yaml_source.value(item, "path") if long else item, folder)
        its_folder = literal_path(yaml_source.text(yaml_source.value(item, "project_directory")), folder)
        if its_folder is None:
            its_folder = next((file.path.parent for file in files if file.path), folder)
        env_files = _named(source, yaml_source.value(item, "env_file"), folder)
        if not env_files:
            env_files = (Named(source.place(item), its_folder / ".env"),)
        yield Include(files, env_files, its_folder)


def _named(source: Source, node: Node | None, folder: Path) -> tuple[Named, ...]:
    return tuple(
        Named(source.place(one), literal_path(yaml_source.text(one), folder)) for one in yaml_source.items(node)
    )


def literal_path(written: str | None, folder: Path) -> Path | None:
    """A path that can be followed here: neither from another place (`oci:`, `https:`) nor made from variables."""
    parts = interpolation.parse(written or "")
    texts = [part.text for part in parts if isinstance(part, Literal)]
    if not written or "://" in written or written.startswith("oci:") or len(texts) < len(parts):
        return None
    return folder / "".join(texts)
