"""Container images made without Docker: a static busybox that serves HTTP, and variants of it."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"

# Names only: a test sees which variables arrived without any value being shown.
ENV_SCRIPT = """#!/bin/sh
echo 'Content-Type: text/plain'
echo
awk 'BEGIN { for (name in ENVIRON) print name }' | sort
"""

SERVE = ("/bin/httpd", "-f", "-p", "3001", "-h", "/www")


@dataclasses.dataclass(frozen=True)
class Image:
    """Everything that a registry needs to know of an image."""

    layer: bytes
    config: bytes

    @property
    def manifest(self) -> bytes:
        layer = {"mediaType": LAYER_TYPE, "size": len(self.layer), "digest": digest(self.layer)}
        config = {"mediaType": CONFIG_TYPE, "size": len(self.config), "digest": digest(self.config)}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": [layer]}
        return json.dumps(manifest).encode()


def build(
    files: Mapping[str, str] | None = None,
    command: Sequence[str] = SERVE,
    env: Mapping[str, str] | None = None,
) -> Image:
    """The application image; `files` (path -> text, executable when it starts with #!) add to it or replace parts."""
    content = {"/www/health": "ok\n", "/www/cgi-bin/env": ENV_SCRIPT, "/etc/passwd": "root:x:0:0::/:/bin/sh\n"}
    tar = _layer(tuple(sorted({**content, **(files or {})}.items())))
    environment = {"PATH": "/bin", **(env or {})}
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Cmd": list(command), "Env": [f"{name}={value}" for name, value in environment.items()]},
        "rootfs": {"type": "layers", "diff_ids": [digest(tar)]},
        "history": [{"created_by": "delphi lab"}],
    }
    # Neither file name nor time in the gzip header: the same content is the same digest.
    return Image(gzip.compress(tar, compresslevel=1, mtime=0), json.dumps(config).encode())


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@functools.lru_cache(maxsize=4)
def _layer(files: tuple[tuple[str, str], ...]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        busybox, applets = _busybox()
        _add(tar, "bin/busybox", busybox, 0o755)
        for applet in applets:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        _add_folder(tar, "tmp", 0o1777)
        for path, text in files:
            _add(tar, path.lstrip("/"), text.encode(), 0o755 if text.startswith("#!") else 0o644)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def _add_folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    tar.addfile(entry)


@functools.cache
def _busybox() -> tuple[bytes, list[str]]:
    path = shutil.which("busybox", path="/usr/bin:/bin")
    assert path is not None, "busybox-static is not installed"
    applets = subprocess.run([path, "--list"], capture_output=True, text=True, check=True).stdout.split()
    return Path(path).read_bytes(), [applet for applet in applets if applet != "busybox"]


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
