"""The staged tree in the place of the live one, for one child and for nobody else.

What Compose makes of a project depends on where its files lie: a bind mount or an `env_file` of the staged folder is
another one than that of the live folder, and every service would seem to change. So a plan lets Compose see the staged
tree under the live paths, in a mount namespace of its own; what the host itself keeps there is seen through it.
"""

from __future__ import annotations

import os
from pathlib import Path

from agent.host import files

# $1 the services folder, $2 where its live content is to be seen, $3 the staged tree; then the command.
_SCRIPT = 'mount --rbind "$1" "$2" && mount --bind "$3" "$1" && shift 3 && exec "$@"'


def prepare(services: Path, live: Path, staged: Path) -> tuple[str, ...]:
    """Let the links of the staged tree lead to `live`; returns the words to put in front of a command.

    In the view a link to the live folder would lead to the staged tree again. From here on the tree is good for nothing
    else: it is thrown away after a plan.
    """
    files.make_folder(live, 0o700)
    with files.naming(f"preparing {staged}"):
        for folder, folders, names in os.walk(staged):
            for name in (*folders, *names):
                _redirect(Path(folder, name), services, live)
        for entry in services.iterdir():
            if entry != staged and not os.path.lexists(staged / entry.name):
                (staged / entry.name).symlink_to(live / entry.name)
    words = ("unshare", "--mount", "--propagation", "private", "--", "sh", "-c", _SCRIPT, "view")
    return (*words, str(services), str(live), str(staged))


def _redirect(link: Path, services: Path, live: Path) -> None:
    if not link.is_symlink():
        return
    target = link.readlink()
    if target.is_relative_to(services):
        link.unlink()
        link.symlink_to(live / target.relative_to(services))
