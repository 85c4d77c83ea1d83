"""Tools that check the templates, each where it comes from without touching this machine: unpacked, not installed.

They lie in a folder of /var/tmp that is named after what is in it, and are made once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

_CACHE = Path("/var/tmp/delphi-agent-tools")
_NO_MORE: Mapping[str, str] = {}


def run(
    *argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] = _NO_MORE
) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, with both outputs in one; a proxy that is not there keeps it on this machine."""
    nowhere = {f"{name}_PROXY": "http://127.0.0.1:9" for name in ("HTTP", "HTTPS", "ALL")}
    surroundings = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env={**surroundings, **nowhere, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )


def made(name: str, content: Sequence[str], make: Callable[[Path], None]) -> Path:
    """The folder `name` with this content: found, or made by `make`; else the test is skipped."""
    key = hashlib.sha256("\n".join([sys.version, *content]).encode()).hexdigest()[:12]
    _CACHE.mkdir(mode=0o700, exist_ok=True)
    if _CACHE.stat().st_uid != os.geteuid():
        pytest.skip(f"{_CACHE} belongs to somebody else")
    folder = _CACHE / f"{name}-{key}"
    whole = folder / "whole"
    # Test processes run side by side, and each would make it.
    with (_CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if whole.exists():
            return folder
        # In its place from the beginning: programs of a virtual environment know where they are.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            make(folder)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"{name} cannot be had here: {error.stdout[-300:]!r}")
        whole.touch()
    return folder


def fetch(*argv: str | Path, cwd: Path | None = None) -> None:
    """As the machine itself is set up to fetch packages."""
    subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=True,
    )


def debian(package: str) -> Path:
    """Debian's package, unpacked."""

    def unpack(folder: Path) -> None:
        try:
            fetch("apt-get", "download", "-q", package, cwd=folder)
        except subprocess.CalledProcessError:
            # The lists may be absent or too old for the mirror.
            fetch("apt-get", "update", "-q")
            fetch("apt-get", "download", "-q", package, cwd=folder)
        (archive,) = folder.glob("*.deb")
        fetch("dpkg-deb", "--extract", archive, folder)

    return made(package, [package], unpack)


def python(name: str, *requirements: str) -> Path:
    """The folder of the programs of a virtual environment with these packages."""

    def install(folder: Path) -> None:
        venv.create(folder, with_pip=True)
        fetch(folder / "bin/python", "-m", "pip", "install", "--quiet", *requirements)

    return made(f"python-{name}", requirements, install) / "bin"
