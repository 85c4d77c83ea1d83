"""Bootstrap values from the instance itself: the section `delphi` of its user data, and its tags `delphi:NAME`.

    {"delphi": {"ENVIRONMENT": "prod", "HOSTNAME": "api-1", ...}}

User data is JSON, plain or base64; anything else (a script, a cloud-config) is somebody else's and says nothing. Where
both give a name, user data wins. Everything that cannot be a bootstrap file is told at once, never with a value.
"""

from __future__ import annotations

import base64
import binascii
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from agent.aws import imds_facts
from agent.aws.imds import Imds
from agent.dataclass import dataclass
from agent.errors import BootstrapError, counted
from agent.host import json_input
from agent.host.clock import Deadline
from agent.shell import file as shell_file
from agent.shell.word import NAME
from agent.steps import bootstrap

SECTION = "delphi"
TAG_PREFIX = "delphi:"
USER_DATA = "the user data's section `delphi`"
TAGS = "the tags `delphi:NAME`"
HEAD = "# Written by delphi-agent from {source} of this instance. Changes to this file stay.\n"


@dataclass(frozen=True, kw_only=True)
class Found:
    """A bootstrap file that loads; `source` says in words where its values come from."""

    data: bytes = field(repr=False)
    source: str


def find(imds: Imds, path: Path, deadline: Deadline) -> Found | None:
    """What the instance itself gives for the bootstrap file at `path`; None when it gives nothing.

    Three requests, and one for each tag `delphi:NAME`. Raises `BootstrapError` for values that are there and cannot be
    used, `ImdsError` when the metadata service does not answer.
    """
    imds.wait(deadline)
    section = section_of(imds_facts.user_data(imds, deadline) or "")
    tags = imds_facts.tags(imds, deadline, TAG_PREFIX) or {}
    if not section and not tags:
        return None
    source = " and ".join([*([USER_DATA] if section else []), *([TAGS] if tags else [])])
    values = {name.removeprefix(TAG_PREFIX): value for name, value in tags.items()}
    faults = [*_faults(section or {}, USER_DATA), *_faults(values, TAGS), *_open_secrets(values)]
    if faults:
        raise _unusable(source, faults)
    return Found(data=_file({**values, **(section or {})}, source, path), source=source)


def section_of(user_data: str) -> dict[str, Any] | None:
    """The section `delphi`, None for user data that has none. Raises `BootstrapError` when it is no object."""
    document = _json(user_data)
    if document is None:
        try:
            # Blanks and line ends are allowed within base64; what is none raises.
            document = _json(base64.b64decode("".join(user_data.split()), validate=True).decode("utf-8", "replace"))
        except (binascii.Error, ValueError):
            return None
    if not isinstance(document, dict) or SECTION not in document:
        return None
    section = document[SECTION]
    if not isinstance(section, dict):
        raise _unusable(USER_DATA, [f"{USER_DATA}: it must be an object of names and strings"])
    return section


def _json(text: str) -> object:
    try:
        return json_input.loads(text)
    except ValueError:
        return None


def _faults(values: Mapping[str, Any], where: str) -> Iterator[str]:
    for name, value in values.items():
        if not NAME.fullmatch(name):
            yield f"{where}: {name!a:.60} is no name of a variable"
        elif not isinstance(value, str):
            yield f"{where}: {name} must be a string (in quotes)"


def _open_secrets(tags: Mapping[str, str]) -> Iterator[str]:
    """Keys in tags: whoever may describe instances reads them."""
    for name in bootstrap.KEYS[1:]:
        if name in tags:
            yield f"{TAGS}: {name} is a secret and does not belong in a tag; remove it and replace the key"


def _file(values: Mapping[str, str], source: str, path: Path) -> bytes:
    """The file that bash reads as exactly these values, and that loads."""
    lines = [f"{name}={shlex.quote(value) if value else ''}\n" for name, value in values.items()]
    text = HEAD.format(source=source) + "".join(lines)
    # Surrogates (JSON can spell them) are no text that a file could hold.
    data = text.encode("utf-8", "replace")
    read = shell_file.parse(data, source)
    odd = sorted(name for name, value in values.items() if read.values().get(name) != value or "\0" in value)
    if odd:
        raise _unusable(source, [f"{source}: bash would not read this value or name as it is: {name}" for name in odd])
    try:
        bootstrap.understand(data, 0o600, path, source)
    except BootstrapError as error:
        raise _unusable(source, error.details) from error
    return data


def _unusable(source: str, faults: object) -> BootstrapError:
    details = list(faults) if isinstance(faults, list | tuple) else []
    return BootstrapError(
        f"making the bootstrap file from {source}",
        counted(details),
        "correct the instance's user data or tags, or write the file by hand, then run it again",
        details=details,
    )
