"""Somebody's own `docker` command: a script that stands before the engine's own client on the PATH."""

from __future__ import annotations

from tests.lab.lab import Lab

_PLACE = "/usr/local/sbin/docker"


def put(lab: Lab, script: str = ":") -> None:
    """Have `docker` run this line of shell first, and then become the client that the machine has."""
    # Debian's is in /usr/bin, another one may be in /usr/local/bin.
    asked = lab.machine.run(["sh", "-c", "PATH=/usr/local/bin:/usr/bin:/bin command -v docker"])
    place = lab.machine.path(_PLACE)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f'#!/bin/sh\n{script}\nexec {asked.stdout.strip()} "$@"\n')
    place.chmod(0o755)


def remove(lab: Lab) -> None:
    """`docker` is the machine's own again."""
    lab.machine.path(_PLACE).unlink(missing_ok=True)
