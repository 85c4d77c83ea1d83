"""What makes a host this host: everything that a machine image must not carry to the instances that are made of it.

The list is that of systemd's "Building Images Safely" (https://systemd.io/BUILDING_IMAGES), of `cloud-init clean`, of
Docker's own identity files, and of this agent.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent.dataclass import dataclass
from agent.host import files, json_input
from agent.host.paths import Paths
from agent.steps.daemon_proxy import DROP_IN, ENVIRONMENT
from agent.steps.foreign_proxy import MARK
from agent.steps.state import State

_ECR = (".amazonaws.com", ".amazonaws.com.cn")


@dataclass(frozen=True)
class Removed:
    """One thing that was there and is not any more: its path, as the host names it, and what it was."""

    path: str
    what: str


def remove(paths: Paths, kept: State, *, ssh_keys: bool) -> Iterator[Removed]:
    """Remove every trace of this host, the agent's own last: a run that is cut short finds the rest again."""
    for pattern, what, how in (*_OF_THE_HOST, *(_SSH_KEYS if ssh_keys else ())):
        for path in sorted(paths.root.glob(pattern)):
            if how(path):
                yield Removed(paths.shown(path), what)
    yield from _logins(paths)
    yield from _handed_over(paths)
    yield from _brought(paths, kept)
    if _erase(paths.bootstrap):
        yield Removed(paths.shown(paths.bootstrap), "the bootstrap file")
    for folder, but in ((paths.run, paths.lock), (paths.state, None)):
        yield from _emptied(paths, folder, but)


def _erase(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        files.erase_folder(path)
        return True
    return files.erase(path)


def _remove(path: Path) -> bool:
    """Not overwritten: logs may be large, and hold no secret in plain text."""
    with files.naming(f"removing {path}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return True


def _empty(path: Path) -> bool:
    """An empty machine-id is a new one at the next start (machine-id(5)); without the file /etc may be read-only."""
    if path.is_symlink() or not path.stat().st_size:
        return False
    with files.naming(f"emptying {path}"):
        path.write_bytes(b"")
    return True


def _unlink_unless_link(path: Path) -> bool:
    return False if path.is_symlink() else _remove(path)


_Trace = tuple[str, str, Callable[[Path], bool]]
_SSH_KEYS: tuple[_Trace, ...] = (("etc/ssh/ssh_host_*", "a key of the SSH server", _erase),)
_OF_THE_HOST: tuple[_Trace, ...] = (
    ("etc/machine-id", "the machine id", _empty),
    ("var/lib/dbus/machine-id", "a copy of the machine id", _unlink_unless_link),
    ("var/lib/systemd/random-seed", "the random seed", _erase),
    ("var/lib/systemd/credential.secret", "the host's key for systemd credentials", _erase),
    ("etc/docker/key.json", "the Docker engine's key", _erase),
    ("var/lib/docker/engine-id", "the Docker engine's id", _remove),
    ("var/lib/cloud/instance", "cloud-init's instance", _remove),
    ("var/lib/cloud/instances", "cloud-init's instances and their user data", _erase),
    ("var/lib/cloud/data", "cloud-init's results", _remove),
    ("var/lib/cloud/sem", "what cloud-init has done", _remove),
    ("var/log/cloud-init*.log", "cloud-init's log", _remove),
    ("var/log/journal/*", "the journal", _remove),
)


def _logins(paths: Paths) -> Iterator[Removed]:
    for path in (*sorted(paths.root.glob("home/*/.docker/config.json")), paths.at("/root/.docker/config.json")):
        if registries := _forget_logins(path):
            yield Removed(paths.shown(path), f"logins to {', '.join(registries)}")


def _forget_logins(path: Path) -> list[str]:
    """Take the logins to ECR out of a Docker configuration; those to other registries are somebody's decision."""
    try:
        config: Any = json_input.loads(path.read_bytes())
        found = [name for name in config["auths"] if is_ecr(name)]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    if found:
        config["auths"] = {name: auth for name, auth in config["auths"].items() if not is_ecr(name)}
        files.rewrite(path, json.dumps(config, indent=1).encode())
    return found


def is_ecr(registry: str) -> bool:
    """Whether a registry is ECR, by its name."""
    host = registry.removeprefix("https://").partition("/")[0]
    return ".dkr.ecr" in host and host.endswith(_ECR)


def _handed_over(paths: Paths) -> Iterator[Removed]:
    """The proxy that the agent gave the Docker engine, with its password."""
    drop_in = paths.at(DROP_IN)
    if drop_in.is_file() and drop_in.read_text(errors="replace").startswith(MARK):
        _remove(drop_in)
        yield Removed(paths.shown(drop_in), "the proxy of the Docker engine")
    environment = paths.at(ENVIRONMENT)
    if _erase(environment):
        yield Removed(paths.shown(environment), "the proxy of the Docker engine")


def _brought(paths: Paths, kept: State) -> Iterator[Removed]:
    """What bundles brought, what was made from variables, and the tag; a file that the agent did not bring stays."""
    present = [path for path in kept.applied if _is_there(paths.services, path)]
    tags = sorted(paths.services.glob("*/.ecr-tag"))
    opened = kept.journal.originals if kept.journal else {}
    made = sorted(path for path in {*kept.made, *opened} if path not in kept.applied)
    known = [path for path in made if _is_there(paths.services, path) and files.erase(paths.services / path)]
    for path in present:
        files.erase(paths.services / path)
    files.remove_below(paths.services, [*present, *made], kept.folders)
    for path in known:
        yield Removed(paths.shown(paths.services / path), "made from a variable")
    if present:
        yield Removed(paths.shown(paths.services), f"{len(present)} files of the bundle")
    for tag in tags:
        _remove(tag)
        yield Removed(paths.shown(tag), "the deployed tag")


def _is_there(services: Path, path: str) -> bool:
    """Whether the file is there, and not behind a folder that is a link: what is there is somebody else's."""
    return not files.behind_a_link(services, path) and (services / path).is_file()


def _emptied(paths: Paths, folder: Path, but: Path | None) -> Iterator[Removed]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path != but and _erase(path):
            yield Removed(paths.shown(path), "kept by the agent")
