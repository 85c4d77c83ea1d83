"""The proof that a machine image carries nothing of the host that it is made of: by place, and by content."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.host.paths import Paths
from agent.secret import Secret

# Below these nothing of a host is written: packages, images' layers (they come from a registry), the kernel's own.
_SKIPPED = frozenset(
    "/usr/bin /usr/sbin /usr/lib /usr/lib32 /usr/lib64 /usr/libexec /usr/share /usr/include /usr/src /boot /proc /sys"
    " /dev /run /var/lib/docker /var/lib/containerd /var/lib/dpkg /var/lib/rpm /var/cache".split()
)
# What must not be there at all, whatever it holds. A pattern, and what it is.
_FORBIDDEN = (
    ("opt/deployment/.env", "the bootstrap file"),
    ("opt/services/*/.env", "a resolved environment"),
    ("opt/services/*/.ecr-tag", "the deployed tag"),
    ("var/lib/delphi-agent/*", "what the agent remembers of this host"),
    ("var/lib/docker/containers/*", "a container: the engine would start it under another host's identity"),
    ("etc/delphi-agent/docker-proxy.env", "the proxy of the Docker engine"),
    ("etc/docker/key.json", "the Docker engine's key"),
    ("var/lib/cloud/instances/*", "another instance's user data"),
    ("root/.aws/credentials", "AWS keys"),
    ("home/*/.aws/credentials", "AWS keys"),
)
# A value that is shorter is found everywhere.
_SHORTEST = 8


def findings(paths: Paths, known: Mapping[str, Secret]) -> Iterator[str]:
    """What is still there; `known` are secrets and identities of this host by what they are. Never a value."""
    for pattern, what in _FORBIDDEN:
        for path in sorted(paths.root.glob(pattern)):
            yield f"{paths.shown(path)}: {what}"
    machine_id = paths.at("/etc/machine-id")
    if machine_id.is_file() and machine_id.read_bytes().strip() not in {b"", b"uninitialized"}:
        yield f"{paths.shown(machine_id)}: the machine id"
    sought = {what: value.reveal().encode() for what, value in known.items() if len(value.reveal()) >= _SHORTEST}
    if sought:
        for path in _written(paths):
            for what in _held(path, sought):
                yield f"{paths.shown(path)}: {what}"


def _written(paths: Paths) -> Iterator[Path]:
    """Every regular file on the root's file system, but for what no host writes."""
    device = paths.root.stat().st_dev
    for folder, folders, names in os.walk(paths.root):
        here = Path(folder)
        folders[:] = [name for name in folders if paths.shown(here / name) not in _SKIPPED]
        folders[:] = [name for name in folders if (here / name).lstat().st_dev == device]
        for name in names:
            found = (here / name).lstat()
            # Its device says nothing: on an overlay files of the lower layer have that one's.
            if stat.S_ISREG(found.st_mode) and found.st_size:
                yield here / name


def _held(path: Path, sought: Mapping[str, bytes]) -> list[str]:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return [what for what, value in sought.items() if content.find(value) >= 0]
    except (OSError, ValueError):
        return []  # gone meanwhile, or grown empty
