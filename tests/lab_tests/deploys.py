"""What tests of whole deploys ask a host: its files, containers and images, and images that are bad on purpose."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.lab import images
from tests.lab.lab import Lab

BOOTSTRAP = "/opt/deployment/.env"
SERVICES = "/opt/services"

# Images of the application that cannot be a release.
CRASHES = images.build(command=("sh", "-c", "echo CRASHED on purpose >&2; exit 3"))
UNHEALTHY = images.build(command=("/bin/httpd", "-f", "-p", "3001", "-h", "/tmp"))
GOOD = images.build(files={"/www/release": "two\n"})


@dataclass(frozen=True)
class Seen:
    """A host at one moment: everything that a deploy that is taken back must leave as it was."""

    files: dict[str, tuple[bytes, int]]
    images: dict[str, str]
    states: dict[str, str]
    bootstrap: bytes


def look(lab: Lab) -> Seen:
    """The live files with their modes, each service's image and state, and the bootstrap file."""
    top = lab.machine.path(SERVICES)
    files = {
        str(path.relative_to(top)): (path.read_bytes(), path.stat().st_mode & 0o7777)
        for path in top.rglob("*")
        if path.is_file()
    }
    containers = inspect(lab)
    return Seen(
        files=files,
        images={name: item["Image"] for name, item in containers.items()},
        states={name: _state(item) for name, item in containers.items()},
        bootstrap=lab.machine.path(BOOTSTRAP).read_bytes(),
    )


def inspect(lab: Lab) -> dict[str, Any]:
    """Every container by name, as `docker inspect` shows it."""
    names = lab.engine.docker("ps", "-aq").stdout.split()
    found = json.loads(lab.engine.docker("inspect", *names).stdout) if names else []
    return {item["Name"].lstrip("/"): item for item in found}


def _state(item: dict[str, Any]) -> str:
    state = item["State"]
    health = state.get("Health", {}).get("Status")
    return health or (f"exited {state['ExitCode']}" if state["Status"] == "exited" else state["Status"])


def state(lab: Lab) -> dict[str, Any]:
    """What the agent remembers."""
    document: dict[str, Any] = json.loads(lab.machine.path("/var/lib/delphi-agent/state.json").read_text())
    return document


def numbers(lab: Lab) -> list[int]:
    """The numbers of the kept releases."""
    return [item["number"] for item in state(lab)["releases"]]


def leftovers(lab: Lab) -> list[str]:
    """What no run may leave behind: staging, temporary files, the token, an open journal."""
    top = lab.machine.path("/")
    found = [str(path) for path in (top / "opt").rglob(".*") if path.name not in {".env", ".ecr-tag"}]
    found += [str(path) for path in (top / "var/lib/delphi-agent").rglob(".*")]
    found += [name for name in ("/run/delphi-agent/docker",) if lab.machine.path(name).exists()]
    if state(lab)["journal"] is not None:
        found.append("an open journal")
    return found


def compose_with(lab: Lab, old: str, new: str) -> str:
    """The live compose file with one passage replaced."""
    text = lab.machine.path(f"{SERVICES}/api/docker-compose.yaml").read_text()
    assert old in text
    return text.replace(old, new)


def say_no(lab: Lab, argv: Sequence[str]) -> tuple[int, str]:
    """Run the agent on a terminal and answer its question with `n`; its exit code and what was shown."""
    command = " ".join([*lab.agent_command(), *argv])
    done = lab.machine.run(
        ["script", "-qec", command, "/dev/null"], input="n\n", env={**lab.agent_env(), "TERM": "dumb"}
    )
    return done.returncode, done.stdout
