"""The one file: `python pyz.py TREE TARGET`, the same bytes for the same tree."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

MAIN = Path(__file__).with_name("pyz_main.py")


def make(tree: Path, target: Path) -> None:
    """Without byte code: which Python will run it is not known."""
    when = dt.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), dt.UTC).timetuple()[:6]
    files = {path.relative_to(tree).as_posix(): path.read_bytes() for path in _files(tree)}
    digest = hashlib.sha256()
    for name, data in files.items():
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    files["__main__.py"] = MAIN.read_text().replace("@DIGEST@", digest.hexdigest()[:32]).encode()
    with target.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, data in files.items():
                entry = zipfile.ZipInfo(name, when)
                entry.external_attr = 0o100644 << 16
                entry.create_system = 3  # Unix, wherever it is built
                archive.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)
    target.chmod(0o755)


def _files(tree: Path) -> Iterator[Path]:
    return (path for path in sorted(tree.rglob("*")) if path.is_file() and path.suffix != ".pyc")


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
