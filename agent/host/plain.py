"""Paths and files as text, for `status`: to load `pathlib` takes a sixth of what that command takes."""

from __future__ import annotations

import os

STATUS = "/run/delphi-agent/status.json"
"""What the running or the last run is doing or did."""


def below(root: str, path: str) -> str:
    """Where the absolute `path` of the host lies below `root`."""
    return os.path.join(os.getcwd(), root, path.lstrip("/"))  # noqa: PTH109, PTH118 - without pathlib


def read(path: str | os.PathLike[str]) -> bytes:
    """A whole file; raises `OSError`."""
    with open(path, "rb") as file:  # noqa: PTH123 - without pathlib
        return file.read()
