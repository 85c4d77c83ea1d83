"""Which external secrets a manifest takes from: the ARNs that its `secret: {arn_from: ...}` variables hold."""

from __future__ import annotations

import re

from agent.errors import BootstrapError, counted
from agent.steps.bootstrap import Bootstrap
from agent.steps.bootstrap_shape import REGION
from agent.variables.manifest import Manifest
from agent.variables.remote_index import RemoteIndex

_REGION_PART = 3


def region_of(asked: str) -> str | None:
    """The region in an ARN; None for a name."""
    parts = asked.split(":")
    return parts[_REGION_PART] or None if parts[0] == "arn" and len(parts) > _REGION_PART else None


def can_be_asked(asked: str) -> bool:
    """Whether there is a place to ask for it: an ARN has to have a region, or none, and a name is asked for at home."""
    region = region_of(asked)
    return region is None or re.fullmatch(REGION, region) is not None


def check(manifest: Manifest, bootstrap: Bootstrap) -> None:
    """Raise `BootstrapError` with all ARNs of the bootstrap file that cannot be asked for and that some variable needs.

    Only the manifest tells which variables hold ARNs, so that this is not found when the file is read.
    """
    given = {name: bootstrap.variables.get(name, "") for name in _holders(manifest)}
    faults = [
        f"{bootstrap.path}: {name} must hold an ARN with a region such as eu-central-1"
        for name, asked in given.items()
        if not can_be_asked(asked)
    ]
    if faults:
        raise BootstrapError(
            f"looking for the secrets whose ARNs {bootstrap.path} holds",
            counted(faults),
            "correct these values in the file, and in the cloud-init template that writes it",
            details=faults,
        )


def ids(manifest: Manifest, bootstrap: Bootstrap, remote: RemoteIndex | None = None) -> list[str]:
    """The ARNs that are known (without `remote`: before AWS is asked) and can be asked for, each once."""
    found = (id_of(name, manifest, bootstrap, remote) for name in _holders(manifest))
    return list(dict.fromkeys(asked for asked in found if asked and can_be_asked(asked)))


def has_late_ids(manifest: Manifest, bootstrap: Bootstrap) -> bool:
    """Whether an ARN may itself be a value from AWS."""
    return any(id_of(name, manifest, bootstrap, None) is None for name in _holders(manifest))


def _holders(manifest: Manifest) -> list[str]:
    """The variables whose values are ARNs that some variable takes from."""
    taking = (variable.secret.arn_from for variable in manifest.variables if variable.secret and not variable.local)
    return list(dict.fromkeys(taking))


def id_of(name: str, manifest: Manifest, bootstrap: Bootstrap, remote: RemoteIndex | None) -> str | None:
    """The ARN that the variable `name` holds, None when it has none.

    The bootstrap file comes first: the platform names it as the place of ARNs, and such a one costs no round trip.
    With `remote` None, a variable that AWS may give has none yet.
    """
    if bootstrap.variables.get(name):
        return bootstrap.variables[name]
    declared = manifest.by_name().get(name)
    if declared is None:
        return None
    if not declared.local:
        if remote is None:
            return None
        if value := remote.get(name):
            return value.reveal()
    return declared.default or None
