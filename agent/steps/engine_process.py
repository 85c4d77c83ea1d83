"""The engine that runs: its command line, and what of its settings on disk it has not read yet."""

from __future__ import annotations

from pathlib import Path

from agent.host import files, json_input, processes
from agent.host.paths import Paths


def flags(paths: Paths) -> tuple[str, ...]:
    """The command line of the engine that runs; empty when it does not say which process it is."""
    engine = _engine(paths)
    try:
        raw = Path(f"/proc/{engine[0]}/cmdline").read_bytes() if engine else b""
    except OSError:
        return ()
    return tuple(raw.decode("utf-8", "replace").split("\0"))


def note_pending(paths: Paths, what: str) -> None:
    """Before `what` of its settings changes: noted for nothing, it costs a restart where no container runs, no more."""
    engine = _engine(paths)
    if engine is not None:
        files.make_folder(paths.run, 0o755)
        files.write_json(paths.engine_restart, {**_noted(paths), what: list(engine)}, 0o644, durable=False)


def is_pending(paths: Paths, what: str) -> bool:
    """Whether the engine that runs is the one that ran when an earlier run changed `what` of its settings."""
    engine = _engine(paths)
    return engine is not None and _noted(paths).get(what) == list(engine)


def _engine(paths: Paths) -> tuple[int, int] | None:
    """The engine's process, so that it can be told from the next one; None when it does not say which it is."""
    try:
        pid = int(paths.docker_pid.read_text())
    except (OSError, ValueError):
        return None
    started = processes.start_time(pid)
    return (pid, started) if started is not None else None


def _noted(paths: Paths) -> dict[str, object]:
    try:
        noted = json_input.loads(paths.engine_restart.read_bytes())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
