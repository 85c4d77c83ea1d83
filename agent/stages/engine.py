"""The Docker engine: waited for, and given a limit for the logs of containers."""

from __future__ import annotations

from agent.errors import EngineError
from agent.host.command import Command
from agent.host.engine import Engine
from agent.report import record
from agent.report.words import amount
from agent.run import Run
from agent.steps import log_rotation

# systemd may start an engine again that failed to start.
_AFTER_FAILURE_SECONDS = 10.0


def reach_engine(run: Run) -> Engine:
    """Wait for the Docker engine."""
    with run.step("engine", "waiting for the Docker engine") as step:
        version = run.engine.wait_ready(
            run.deadline, lambda error: record.progress(waiting_for=f"the Docker engine ({error})")
        )
        step.detail = f"Docker {version}"
    return run.engine


def rotate_logs(run: Run, engine: Engine) -> None:
    """Give the engine's logs a limit; restart it for that only where nothing runs."""
    with run.step("log-rotation", "setting the limits of container logs") as step:
        rotation = log_rotation.ensure(run.host.paths, engine.address)
        step.detail = rotation.text
        if rotation.pending:
            busy = engine.running()
            if busy:
                step.detail += f", pending a restart of the Docker engine ({amount(busy, 'container')} running)"
            elif not run.host.paths.at("/run/systemd/system").is_dir():
                step.detail += ", pending a restart of the Docker engine (there is no systemd to ask for it)"
            else:
                step.detail += f", {_restart(run, engine)}"


def _restart(run: Run, engine: Engine) -> str:
    """What came of asking systemd; `EngineError` when the engine does not answer afterwards."""
    command = Command(argv=("systemctl", "restart", "docker.service"), env=run.host.child_environment())
    record.progress(waiting_for="the Docker engine to be restarted")
    finished = run.host.commands.run(command, run.deadline)
    # One that could not be restarted may still run as it did: its unit has another name, say.
    patience = run.deadline if finished.ok else run.deadline.share(_AFTER_FAILURE_SECONDS)
    try:
        engine.wait_ready(patience, lambda error: record.progress(waiting_for=f"the Docker engine ({error})"))
    except EngineError as error:
        raise EngineError(
            f"restarting the Docker engine, so that it reads {run.host.paths.daemon_json}",
            f"{error.cause}, `{command}` exited with {finished.status}",
            "see why it is down (`journalctl -u docker`), repair the file when it is that, then run it again",
            details=finished.tail(),
        ) from error
    if finished.ok:
        return "the engine was restarted"
    said = (finished.tail(1) or [f"it exited with {finished.status}"])[0]
    run.warn("engine.restart-failed", f"`{command}`: {said}; the limits of container logs wait for a restart")
    return "pending a restart of the Docker engine (systemd could not do it)"
