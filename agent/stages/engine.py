"""The Docker engine: waited for, and given a limit for the logs of containers, and the proxy of the bootstrap file."""

from __future__ import annotations

from agent.errors import EngineError
from agent.host import engine_link
from agent.host.command import Command
from agent.host.engine import Engine
from agent.host.proxy import Proxies
from agent.report import record
from agent.report.words import amount
from agent.run import Run
from agent.steps import daemon_proxy, log_rotation
from agent.steps.bootstrap import Bootstrap

# systemd may start an engine again that failed to start.
_AFTER_FAILURE_SECONDS = 10.0
RESTARTED = "the engine was restarted"


def reach_engine(run: Run) -> Engine:
    """Wait for the Docker engine."""
    with run.step("engine", "waiting for the Docker engine") as step:
        version = run.engine.wait_ready(
            run.deadline, lambda error: record.progress(waiting_for=f"the Docker engine ({error})")
        )
        step.detail = f"Docker {version}"
    return run.engine


def reach_engine_if_down(run: Run) -> Engine | None:
    """Wait for an engine that does not answer yet; None for one that does: it can be reached while Compose is at work.

    What is wrong with the engine is so told together with what is wrong with AWS, and no run that is well waits for
    the loading of the SDK.
    """
    return None if engine_link.answers(run.engine.address) else reach_engine(run)


def settle_engine(run: Run, engine: Engine, loaded: Bootstrap) -> None:
    """Give the engine what it needs before it pulls and starts anything; restart it for that once at most."""
    proxies = Proxies.of(loaded.variables)
    if daemon_proxy.concerns(run.host.paths, proxies):
        waits = rotate_logs(run, engine, restart=False)
        hand_over_proxy(run, engine, proxies, restart=waits)
    else:
        rotate_logs(run, engine)


def rotate_logs(run: Run, engine: Engine, *, restart: bool = True) -> bool:
    """Give the engine's logs a limit; restart it for that only where nothing runs. True when a restart is left over."""
    paths = run.host.paths
    with run.step("log-rotation", "setting the limits of container logs") as step:
        rotation = log_rotation.ensure(paths, engine.address)
        step.detail = rotation.text
        if rotation.pending and restart:
            came = _restart_when_idle(run, engine, str(paths.daemon_json), "the limits of container logs wait")
            step.detail += f", {came}"
    return rotation.pending and not restart


def hand_over_proxy(run: Run, engine: Engine, proxies: Proxies, *, restart: bool) -> None:
    """Let the engine pull through the proxies; with `restart`, it has to be restarted for something else too."""
    with run.step("engine-proxy", "handing the proxy over to the Docker engine") as step:
        handing = daemon_proxy.ensure(run.host.paths, engine.address, proxies, engine.proxies)
        step.detail = handing.text
        came = ""
        if handing.pending:
            _systemctl(run, "daemon-reload")
        if handing.pending or restart:
            reads = [daemon_proxy.ENVIRONMENT] * handing.pending + [str(run.host.paths.daemon_json)] * restart
            came = _restart_when_idle(run, engine, " and ".join(reads), "the proxy waits")
            step.detail += f", {came}"
        if handing.ours and not daemon_proxy.holds(proxies, engine.proxies()):
            _tell_of_difference(run, came)
        if handing.missing:
            run.warn("engine.proxy-missing", f"{handing.missing}: without it the engine may not reach the registry")


def _tell_of_difference(run: Run, came: str) -> None:
    elsewhere = "something else than docker.service starts it, or sets its proxy: see `systemctl cat docker.service`"
    why = came if came.startswith("pending") else elsewhere
    run.warn("engine.proxy-differs", f"the engine pulls with other proxy settings than the bootstrap file's: {why}")


def _restart_when_idle(run: Run, engine: Engine, reads: str, waiting: str) -> str:
    """Restart the engine where no container runs, or say what the restart waits for."""
    busy = engine.running()
    if busy:
        return f"pending a restart of the Docker engine ({amount(busy, 'container')} running)"
    if not daemon_proxy.has_systemd(run.host.paths):
        return "pending a restart of the Docker engine (there is no systemd to ask for it)"
    return restart(run, engine, f"so that it reads {reads}", waiting)


def restart(run: Run, engine: Engine, why: str, waiting: str) -> str:
    """What came of asking systemd; `EngineError` when the engine does not answer afterwards."""
    record.progress(waiting_for="the Docker engine to be restarted")
    command = _command(run, "restart", "docker.service")
    finished = run.host.commands.run(command, run.deadline)
    # One that could not be restarted may still run as it did: its unit has another name, say.
    patience = run.deadline if finished.ok else run.deadline.share(_AFTER_FAILURE_SECONDS)
    try:
        engine.wait_ready(patience, lambda error: record.progress(waiting_for=f"the Docker engine ({error})"))
    except EngineError as error:
        raise EngineError(
            f"restarting the Docker engine, {why}",
            f"{error.cause}, `{command}` exited with {finished.status}",
            "see why it is down (`journalctl -u docker`), repair the file when it is that, then run it again",
            details=finished.tail(),
        ) from error
    if finished.ok:
        return RESTARTED
    said = (finished.tail(1) or [f"it exited with {finished.status}"])[0]
    run.warn("engine.restart-failed", f"`{command}`: {said}; {waiting} for a restart")
    return "pending a restart of the Docker engine (systemd could not do it)"


def _systemctl(run: Run, *words: str) -> None:
    """Ask systemd for something that a restart would do too; that it could not is a warning."""
    if not daemon_proxy.has_systemd(run.host.paths):
        return
    command = _command(run, *words)
    finished = run.host.commands.run(command, run.deadline)
    if not finished.ok:
        run.warn("systemctl.failed", f"`{command}` exited with {finished.status}: {' '.join(finished.tail(1))}")


def _command(run: Run, *words: str) -> Command:
    return Command(argv=("systemctl", *words), env=run.host.child_environment())
