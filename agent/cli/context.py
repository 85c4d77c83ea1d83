"""Building a run from the command line, and making every way that it can end a verdict."""

from __future__ import annotations

import argparse
import logging
import os
import traceback
from collections.abc import Callable, Iterator

from agent.cli.stops import Stops
from agent.cli.terminal import Surroundings
from agent.errors import AgentError, BugError, Interrupted
from agent.host.clock import Clock, Deadline, SystemClock
from agent.host.command import SystemCommands
from agent.host.engine import Engine
from agent.host.host import Host
from agent.host.leftovers import Roster
from agent.host.paths import Paths
from agent.report.children import ToldCommands
from agent.report.farewell import Farewell
from agent.report.history import History
from agent.report.journal import JournalVerdict
from agent.report.notify import Notify
from agent.report.record import Ending, Recorder, Sink
from agent.report.status_file import StatusFile
from agent.run import Options, Run
from agent.secret import Redactor
from agent.signalling.teller import Teller


def conclude(
    arguments: argparse.Namespace,
    surroundings: Surroundings,
    work: Callable[[Run], Ending],
    options: Options,
    *,
    signals: bool = False,
) -> int:
    """Make a run, let `work` do it, tell how it ended; returns the exit code.

    With `signals` Auto Scaling and CloudFormation are told as well, where somebody asked for it.
    """
    stops = Stops()
    clock, redactor, paths = SystemClock(), Redactor(), Paths.below(arguments.root)
    children = SystemCommands(Roster(paths.children))
    host = Host(
        paths=paths,
        clock=clock,
        commands=ToldCommands(children, clock),
        environ=surroundings.environ,
        uid=os.geteuid(),
    )
    sinks = surroundings.sinks(arguments.log_format, _level(arguments), clock, redactor)
    is_boot = arguments.command == "init" and surroundings.unattended
    if is_boot:
        sinks.extend(_boot_sinks(surroundings, paths, clock, redactor))
    recorder = Recorder(surroundings.head(clock, arguments.deadline, boot=is_boot), clock, sinks)
    deadline = Deadline.after(clock, arguments.deadline)
    teller = Teller(host, redactor, deadline, boot=is_boot) if signals else None
    run = Run(
        host=host,
        engine=Engine(host.docker_host, deadline),
        recorder=recorder,
        keepers=(
            StatusFile(host.paths.status, clock, redactor, recorder.spans),
            History(host.paths.history, clock, redactor),
            *([teller] if teller else []),
        ),
        redactor=redactor,
        deadline=deadline,
        options=options,
        see_through=stops.hold,
    )
    # Libraries warn about themselves on standard error: between JSON lines, or on a drawn terminal, that breaks both.
    logging.captureWarnings(capture=True)
    try:
        ending = _verdict(run, work, stops)
    finally:
        # From here on the end may not be cut short: a token would stay, or the status would say "running".
        stops.ignore()
        logging.captureWarnings(capture=False)
        children.end_all()
    if teller is not None:
        ending = teller.tell(run, ending)
    recorder.finish(ending)
    return ending.exit_code


def _boot_sinks(surroundings: Surroundings, paths: Paths, clock: Clock, redactor: Redactor) -> Iterator[Sink]:
    """Who else is told of a boot: the console, and systemd and its journal where they started it."""
    yield Farewell(paths.console, redactor)
    if address := surroundings.environ.get("NOTIFY_SOCKET"):
        yield Notify(address, clock, redactor)
    if surroundings.in_the_journal:
        yield JournalVerdict(paths.journal_socket, redactor)


_TELLING = frozenset({"init", "fetch", "update", "rollback"})


def _level(arguments: argparse.Namespace) -> str:
    """Commands that print data tell only what is wrong, unless they are asked for more."""
    level: str | None = arguments.log_level
    return level or ("info" if arguments.command in _TELLING else "warning")


def _verdict(run: Run, work: Callable[[Run], Ending], stops: Stops) -> Ending:
    try:
        stops.watch()
        try:
            return work(run)
        finally:
            # What became of it is told whole.
            stops.hold()
    except AgentError as error:
        parts = tuple(error.parts())
        return Ending(outcome="failed", exit_code=error.exit_status, text=_what_changed(run), errors=parts)
    except Interrupted as error:
        text = f"stopped by {error.signal.name}; {_what_changed(run)}"
        return Ending(outcome="interrupted", exit_code=error.exit_status, text=text)
    except Exception as error:  # noqa: BLE001 - the top: what nobody expected becomes a verdict too
        bug = BugError(
            f"running {run.recorder.head.command}",
            type(error).__name__,
            "this is a fault of the agent: report it with these lines, then run it again",
            details=_frames(error),
        )
        return Ending(outcome="failed", exit_code=bug.exit_code, text=_what_changed(run), errors=(bug,))


def _frames(error: BaseException) -> Iterator[str]:
    """Where it happened, and in what order; not what the exceptions say: that may hold the value of a variable."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    yield "Traceback (the last call last; without the words of the exceptions, which may hold a value):"
    for one in reversed(chain):
        for frame in traceback.extract_tb(one.__traceback__):
            yield f"{frame.filename}:{frame.lineno} in {frame.name}"
        yield type(one).__name__


def _what_changed(run: Run) -> str:
    """What the steps that were taken come to, for an operator who has to know in what state the host is."""
    steps = {step.name: step for step in run.recorder.steps}

    def done(name: str) -> bool:
        return name in steps and steps[name].state == "done"

    if done("record"):
        return "the release is deployed and every service was seen healthy"
    if "up" in steps:
        return "the bundle's files are back, the containers may not be" if done("undo") else "the host was changed"
    hooks = "but for what the bundle's hooks did" if "pre-up" in steps else ""
    if done("undo"):
        return ", ".join(filter(None, ["the bundle's files were put back, nothing else was changed", hooks]))
    # Without an undo a failed apply had not begun to replace anything.
    if "undo" in steps or done("apply") or steps.keys() & {"files", "containers", "traces"}:
        return "the host was changed"
    return ", ".join(filter(None, ["nothing was changed", hooks]))
