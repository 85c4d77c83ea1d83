"""What a support bundle is made of. Each part is there or says why not: this has to work when nothing else does."""

from __future__ import annotations

import functools
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from agent import __version__
from agent.errors import AgentError
from agent.host import json_input
from agent.host.command import Command
from agent.host.engine_answers import PROJECT_LABEL, Container
from agent.host.side_by_side import within
from agent.report.support import Member
from agent.run import Run
from agent.secret import REDACTED
from agent.shell import file as shell_file
from agent.steps.bootstrap import KEYS, OPTIONAL, PROXIES, REQUIRED
from agent.steps.project import FILE_NAMES, OVERRIDE_NAMES

SECONDS = 10.0
LOG_LINES = 200
JOURNAL_LINES = 500
HISTORY_LINES = 50

# Values of the bootstrap file that say which deployment it is; every other one is left out. Proxies lose a password.
PLAIN = frozenset((*REQUIRED, *OPTIONAL, *PROXIES)) - frozenset(KEYS)

# Of cloud-init only what systemd says of it: it prints what user data prints, and that may hold anybody's secrets.
_JOURNAL = (
    *("_SYSTEMD_UNIT=delphi-agent.service", "+"),
    *("_PID=1", "UNIT=delphi-agent.service", "+"),
    *("_PID=1", "UNIT=cloud-final.service"),
)
_PS_COLUMNS = "table {{.ID}}\t{{.Image}}\t{{.CreatedAt}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "journal.txt": ("journalctl", "--no-pager", "-n", str(JOURNAL_LINES), *_JOURNAL),
    "docker-version.txt": ("docker", "version"),
    "docker-info.txt": ("docker", "info"),
    "docker-compose-version.txt": ("docker", "compose", "version"),
    # Not the command that they run: its words may be secrets, and nobody knows those of a container without a project.
    "docker-ps.txt": ("docker", "ps", "--all", "--no-trunc", "--format", _PS_COLUMNS),
    "docker-images.txt": ("docker", "images", "--digests"),
    "df.txt": ("df", "-h"),
    "df-inodes.txt": ("df", "-i"),
    "mounts.txt": ("cat", "/proc/self/mounts"),
    "memory.txt": ("free", "-m"),
    "addresses.txt": ("ip", "-brief", "address"),
    "routes.txt": ("ip", "route"),
}


def brief(run: Run) -> Run:
    """The same run with little time: for one part of the bundle, or for what may not answer."""
    deadline = run.deadline.share(SECONDS)
    return replace(run, deadline=deadline, engine=run.engine.until(deadline))


def read_bootstrap(run: Run) -> dict[str, str]:
    """What the bootstrap file sets, however faulty it is; nothing when it cannot be read."""
    path = run.host.paths.bootstrap
    try:
        return dict(shell_file.parse(path.read_bytes(), str(path)).values())
    except OSError:
        return {}


def containers(run: Run, role: str) -> tuple[list[Container], str]:
    """The containers of every Compose project of this host; and why they are not known, if they are not."""
    run = brief(run)

    def ask() -> list[Container]:
        label = "{{.Label " + json.dumps(PROJECT_LABEL) + "}}"
        argv = ("docker", "ps", "--all", "--filter", f"label={PROJECT_LABEL}", "--format", label)
        asked = run.host.commands.run(Command(argv=argv, env=run.host.child_environment()), run.deadline)
        names = set(asked.out.decode("utf-8", "replace").split()) or ({role.lower()} if role else set())
        return [item for name in sorted(names) for item in run.engine.containers(name)]

    try:
        return within(run.deadline, "looking at the containers", ask), ""
    except AgentError as error:
        return [], str(error)


def collect(run: Run, role: str, found: Sequence[Container], why_none: str) -> Iterator[Member]:
    """Every part, in the order in which it is read."""
    paths = run.host.paths
    about = {
        "agent": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "host": platform.node(),
        "uid": run.host.uid,
        "root": run.host.uid == 0,
        "time": run.host.clock.now().isoformat(timespec="seconds"),
    }
    yield Member("agent.json", json.dumps(about, indent=1) + "\n")
    yield _file("status.json", paths.status)
    yield _file("history.jsonl", paths.history, HISTORY_LINES)
    yield _file("state.json", paths.state / "state.json")
    yield Member("bootstrap.txt", _bootstrap(run))
    yield _file("daemon.json", paths.daemon_json)
    for name in ("result", "status"):
        member = f"cloud-init-{name}.json"
        yield _told(member, functools.partial(_cloud_init, paths.at(f"/run/cloud-init/{name}.json")))
    for name in (*FILE_NAMES, *OVERRIDE_NAMES, "vars.yaml", ".ecr-tag") if role else ():
        if os.path.lexists(paths.role(role) / name):
            yield _file(f"role/{name.lstrip('.')}", paths.role(role) / name)
    yield Member("containers.json", _containers(found) if found or not why_none else f"not known: {why_none}\n")
    for item in found:
        yield _told(f"logs/{item.name}.txt", functools.partial(_log, run, item))
    for name, argv in _COMMANDS.items():
        yield _told(name, functools.partial(_said, run, argv))


def _told(name: str, work: Callable[[], str]) -> Member:
    try:
        return Member(name, work())
    except AgentError as error:
        return Member(name, f"not known: {error}\n")


def _file(name: str, path: Path, lines: int | None = None) -> Member:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError as error:
        return Member(name, f"{path}: {error.strerror or type(error).__name__}\n")
    return Member(name, text if lines is None else "".join(text.splitlines(keepends=True)[-lines:]))


def _cloud_init(path: Path) -> str:
    """Datasource, stages and times. Its errors quote user data, which may hold secrets that nobody here knows."""
    try:
        document = json_input.loads(path.read_bytes())
    except OSError as error:
        return f"{path}: {error.strerror or type(error).__name__}\n"
    except ValueError:
        return f"{path}: no JSON\n"
    return json.dumps(_shape(document), indent=1) + "\n"


def _shape(value: object, key: str = "") -> object:
    if isinstance(value, dict):
        return {name: _shape(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return f"{len(value)}, left out" if value else value
    return value if not isinstance(value, str) or key in {"datasource", "stage"} else REDACTED


def _bootstrap(run: Run) -> str:
    """Every name; the value only of those that say which deployment it is."""
    path = run.host.paths.bootstrap
    try:
        read = shell_file.parse(path.read_bytes(), str(path))
        mode = path.stat().st_mode & 0o7777
    except OSError as error:
        return f"{path}: {error.strerror or type(error).__name__}\n"
    values = read.values()
    lines = [f"{name}={value if name in PLAIN or not value else REDACTED}" for name, value in values.items()]
    unread = sorted(name for name in read.seen if name not in values)
    # The words of a fault may quote its line.
    lines += [f"# {len(read.faults)} faulty lines" if read.faults else "# no faulty line", f"# mode {mode:04o}"]
    return "".join(f"{line}\n" for line in [*lines, *(f"# not read: {name}" for name in unread)])


def _containers(found: Sequence[Container]) -> str:
    """States and health logs; of the environment only the names."""
    shown = []
    for item in found:
        fields = {**asdict(replace(item, environment={})), "environment": sorted(item.environment)}
        shown.append({name: str(value) if name in {"started", "finished"} else value for name, value in fields.items()})
    return json.dumps(shown, indent=1) + "\n"


def _log(run: Run, item: Container) -> str:
    run = brief(run)
    lines = within(run.deadline, f"reading the log of {item.name}", lambda: run.engine.log_tail(item, LOG_LINES))
    return "".join(f"{line}\n" for line in lines)


def _said(run: Run, argv: tuple[str, ...]) -> str:
    finished = run.host.commands.run(Command(argv=argv, env=run.host.child_environment()), brief(run).deadline)
    text = (finished.out + finished.err).decode("utf-8", "replace")
    return text if finished.ok else f"{text}`{' '.join(argv)}` ended with {finished.status}\n"
