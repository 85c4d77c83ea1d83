"""What a bundle may cost: how many objects, how many bytes, and whether the disk has room for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from agent.aws.s3 import RemoteObject
from agent.dataclass import dataclass
from agent.errors import BundleError, HostError
from agent.host import files
from agent.report.words import amount, size

# A bundle is configuration: tens of files. These stop a wrong prefix, not a large bundle.
MAX_OBJECTS = 20_000
MAX_BYTES = 5 << 30
# Left free for what else the host writes meanwhile.
RESERVED_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Caps:
    """The most that is taken of a bundle: `CONFIG_MAX_OBJECTS` and `CONFIG_MAX_BYTES` of the bootstrap file."""

    objects: int = MAX_OBJECTS
    total: int = MAX_BYTES

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Caps:
        """What the bootstrap file's variables say, whose shape is checked when the file is read."""
        return cls(
            objects=int(variables.get("CONFIG_MAX_OBJECTS") or MAX_OBJECTS),
            total=int(variables.get("CONFIG_MAX_BYTES") or MAX_BYTES),
        )

    def keep(self, items: Iterable[RemoteObject], where: str) -> Iterator[RemoteObject]:
        """The items as they come; `BundleError` at the first that is too many or too much, and none is read after."""
        seen = total = 0
        for item in items:
            seen, total = seen + 1, total + item.size
            if seen > self.objects:
                held, most = amount(seen, "object"), amount(self.objects, "object")
                raise _too_much(where, held, most, "CONFIG_MAX_OBJECTS")
            if total > self.total:
                held = f"{total:,} bytes ({size(total)}) in {amount(seen, 'object')}"
                raise _too_much(where, held, f"{self.total:,} bytes ({size(self.total)})", "CONFIG_MAX_BYTES")
            yield item


def _too_much(where: str, held: str, most: str, setting: str) -> BundleError:
    return BundleError(
        f"listing {where}",
        f"it holds at least {held}; at most {most} are taken ({setting})",
        f"remove what is no part of the bundle, or set a higher {setting} in the bootstrap file",
    )


def refuse_without_room(folder: Path, sizes: Iterable[int]) -> None:
    """`HostError` when files of these sizes do not fit on the file system of `folder`, with room left for others."""
    with files.naming(f"looking for free space in {folder}"):
        there = os.statvfs(folder)
    block = there.f_frsize or 1
    rounded = [-(-one // block) * block for one in sizes]
    needed, free = sum(rounded), there.f_bavail * block
    # A file system that makes inodes as it goes says that it has none at all.
    short_of_inodes = there.f_files > 0 and len(rounded) > there.f_favail
    if not rounded or (needed + RESERVED_BYTES <= free and not short_of_inodes):
        return
    cause = f"the bundle needs {size(needed)}, {size(free)} are free and {size(RESERVED_BYTES)} of them are left alone"
    if short_of_inodes:
        cause = f"the bundle needs {amount(len(rounded), 'inode')}, {there.f_favail:,} are free (`df -i`)"
    raise HostError(
        f"making room for the bundle in {folder}",
        cause,
        "free some space (`df -h`, `docker system df`), then run it again",
    )
