"""The beginning of delphi-agent.pyz: unpacks the file beside where it can be read fast, once, and runs it from there.

botocore reads its data as files, so it cannot run from inside the archive. The folder is named after the content, lies
where only its owner writes, and is made whole under another name first: runs side by side do not disturb each other.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

DIGEST = "@DIGEST@"


def caches() -> Iterator[Path]:
    """Where the folder may be, the best place first."""
    if os.geteuid() == 0:
        yield Path("/var/cache/delphi-agent-pyz")
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~").expanduser() / ".cache")
        if home.is_absolute():
            yield home / "delphi-agent-pyz"


def own(folder: Path) -> bool:
    """Whether this very folder, not what a link points to, is ours and nobody else may write to it."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def unpack(folder: Path) -> None:
    """All of the archive but this file into `folder`."""
    with zipfile.ZipFile(Path(__file__).parent) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name != "__main__.py"])


def unpacked(cache: Path) -> Path | None:
    """The folder in `cache`, made when it is not there; None when it cannot be had there."""
    target = cache / DIGEST
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not own(cache):
            return None
        if not own(target):
            made = Path(tempfile.mkdtemp(prefix=".", dir=cache))
            try:
                unpack(made)
                made.rename(target)
            except OSError:
                shutil.rmtree(made, ignore_errors=True)  # another run was quicker, or there is no room
    except OSError:
        return None
    return target if own(target) else None


def main() -> int:
    """Run the agent from the folder; from a passing one where no lasting one can be had."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whatever `python3` is where it is run
        sys.exit(f"delphi-agent needs Python 3.11 or later; this is {sys.version.split()[0]}")
    folder = next((found for found in map(unpacked, caches()) if found), None)
    passing = None
    if folder is None:
        passing = folder = Path(tempfile.mkdtemp(prefix="delphi-agent-"))
        unpack(folder)
    sys.path[0] = str(folder)
    try:
        from agent.cli.main import main as run  # noqa: PLC0415 - not there before

        return run()
    finally:
        if passing:
            shutil.rmtree(passing, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
