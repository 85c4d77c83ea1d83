"""One label per service with a digest of the bundle's files that are mounted into it.

Compose replaces a container when its labels change: so a changed `Caddyfile` replaces exactly the services that see it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Set as AbstractSet
from pathlib import Path

from agent.host import files
from agent.steps.compose import LABEL, Model, Service


def override(model: Model, services: Path, bundle: AbstractSet[str]) -> bytes:
    """A compose file (JSON is YAML) that sets the label for every service that sees a file of the bundle.

    The contents are read from the live files, so that a local edit that `--skip-fetch` keeps counts as a change too.
    """
    digests = {service.name: _digest(service, services, bundle) for service in model.services}
    labelled = {name: {"labels": {LABEL: digest}} for name, digest in digests.items() if digest}
    return json.dumps({"services": labelled}, indent=1).encode() + b"\n"


def _digest(service: Service, services: Path, bundle: AbstractSet[str]) -> str | None:
    seen = sorted({path for mount in service.mounts for path in _below(Path(mount), services, bundle)})
    if not seen:
        return None
    total = hashlib.sha256()
    for path in seen:
        with files.naming(f"reading {services / path}"):
            mode = (services / path).stat().st_mode & 0o7777
            total.update(f"{path}\0{files.sha256(services / path)}\0{mode:o}\n".encode())
    return total.hexdigest()


def _below(mount: Path, services: Path, bundle: AbstractSet[str]) -> list[str]:
    """The bundle's files that are the mounted path or lie in the mounted folder, and are there."""
    if not mount.is_relative_to(services):
        return []
    relative = mount.relative_to(services)
    return [path for path in bundle if Path(path).is_relative_to(relative) and (services / path).is_file()]
