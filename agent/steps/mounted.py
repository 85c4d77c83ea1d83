"""Labels that tell what a service sees beside its definition: files of the bundle, and contents made from values.

Compose replaces a container when its labels change: so a changed `Caddyfile`, or a changed value behind a `secrets:`
entry (which Compose itself does not look at), replaces exactly the services that see it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from agent.host import files, json_input
from agent.secret import Secret
from agent.steps.compose import Model
from agent.steps.service import Service

# One digest of everything.
BUNDLE = "io.delphi-agent.bundle"
# The beginning of each file's digest, by its path, so that a changed one can be named.
FILES = "io.delphi-agent.files"
# The same for configs and secrets that are made from values: keyed, since a short value could be guessed from a hash.
CONTENTS = "io.delphi-agent.contents"
# A label is read by people and kept by the engine: above this only the one digest is there.
MOST_NAMED = 50
SHORT = 12

Labels = Mapping[str, Mapping[str, str]]


def labels(
    model: Model,
    services: Path,
    bundle: AbstractSet[str],
    key: Secret | None,
    *,
    find: Callable[[str], Path] | None = None,
    written: Mapping[str, str] | None = None,
) -> dict[str, dict[str, str]]:
    """The labels of every service that sees a file of the bundle or a content that is made from a value.

    `written` are keyed digests of files that the manifest wants made from variables, by path.

    Files are read where `find` says (in the staged tree, for a plan), else in the live folders: a local edit that
    `--skip-fetch` keeps counts as a change too.
    """
    find = find or services.joinpath
    made = {item.name: _labels(item, services, bundle, key, find) for item in model.services}
    for item in model.services:
        _add_written(made[item.name], item, services, written or {})
    return {name: found for name, found in made.items() if found}


def override(made: Labels) -> bytes:
    """A compose file (JSON is YAML) that sets these labels."""
    # Compose replaces what follows a dollar sign, unless it is doubled.
    doubled = {name: {label: text.replace("$", "$$") for label, text in found.items()} for name, found in made.items()}
    document = {"services": {name: {"labels": found} for name, found in doubled.items()}}
    return json.dumps(document, indent=1).encode() + b"\n"


def _labels(
    service: Service, services: Path, bundle: AbstractSet[str], key: Secret | None, find: Callable[[str], Path]
) -> dict[str, str]:
    made: dict[str, str] = {}
    digests = {path: _digest(find(path)) for path in _seen(service, services, bundle, find)}
    if digests:
        lines = (f"{path}\0{digest}\n" for path, digest in digests.items())
        made[BUNDLE] = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    if 0 < len(digests) <= MOST_NAMED:
        made[FILES] = _compact({path: digest[:SHORT] for path, digest in digests.items()})
    if service.granted and key is not None:
        made[CONTENTS] = _compact({name: _keyed(key, name, value) for name, value in sorted(service.granted.items())})
    return made


def _add_written(made: dict[str, str], service: Service, services: Path, written: Mapping[str, str]) -> None:
    mounts = [Path(mount) for mount in service.mounts]
    seen = {path for path in written if any((services / path).is_relative_to(mount) for mount in mounts)}
    if seen:
        contents = json_input.loads(made.get(CONTENTS, "{}"))
        made[CONTENTS] = _compact({**contents, **{f"file {path}": written[path] for path in sorted(seen)}})


def _compact(named: Mapping[str, str]) -> str:
    return json.dumps(named, separators=(",", ":"))


def _digest(path: Path) -> str:
    with files.naming(f"reading {path}"):
        return hashlib.sha256(f"{files.sha256(path)} {path.stat().st_mode & 0o7777:o}".encode()).hexdigest()


def _keyed(key: Secret, name: str, value: Secret) -> str:
    text = f"content={name}={value.reveal()}".encode("utf-8", "surrogateescape")
    return hmac.digest(bytes.fromhex(key.reveal()), text, "sha256").hex()[:SHORT]


def _seen(service: Service, services: Path, bundle: AbstractSet[str], find: Callable[[str], Path]) -> list[str]:
    return sorted({path for mount in service.mounts for path in _below(Path(mount), services, bundle, find)})


def _below(mount: Path, services: Path, bundle: AbstractSet[str], find: Callable[[str], Path]) -> list[str]:
    """The bundle's files that are the mounted path or lie in the mounted folder, and are there."""
    if not mount.is_relative_to(services):
        return []
    relative = mount.relative_to(services)
    return [path for path in bundle if Path(path).is_relative_to(relative) and find(path).is_file()]
