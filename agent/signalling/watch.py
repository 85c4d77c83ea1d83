"""What the run could not tell, or not yet: `delphi-agent-signal.service`, when systemd has given the boot's unit up.

It tells the failure of a run that was killed, of one that the unit has tried often enough, and, with `ON_FAILURE=hold`,
of any failure once the time to look at it is over; until then the hook gets heartbeats. A person's `init` that succeeds
meanwhile tells that instead, and ends the holding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.errors import AgentError, HostError
from agent.host.clock import Deadline
from agent.host.host import Host
from agent.report import status
from agent.secret import Redactor
from agent.signalling import listeners
from agent.signalling.listeners import Listeners
from agent.signalling.teller import hold_failure
from agent.steps import signal_note, signals
from agent.steps.signal_note import Note

# For finding out who waits and for telling them, each; another try follows after a pause.
TRY_SECONDS = 60.0
TRIES = 5
_PAUSE_SECONDS = 10.0
_POLL_SECONDS = 2.0

Say = Callable[[str], None]


def given_up(host: Host, redactor: Redactor, say: Say) -> int:
    """Tell, now or when the holding is over; returns the exit code: 0, or that of what stood in the way."""
    code = 0
    for number in range(TRIES):
        if number:
            host.clock.sleep(_PAUSE_SECONDS)
        try:
            _once(host, redactor, say)
        except AgentError as error:
            code = error.exit_status
            say(f"{error}; next: {error.next_step}")
        else:
            return 0
    return code


def _once(host: Host, redactor: Redactor, say: Say) -> None:
    deadline = Deadline.after(host.clock, TRY_SECONDS)
    found = listeners.look(host, redactor, deadline, boot=True)
    if found is None or not found.any:
        return
    result, code = of_systemd(host.environ)
    hold = found.settings.hold_seconds > 0
    verdict = signals.of_unit(result, code, verified=_is_verified(host), hold=hold)
    if verdict == "nothing":
        return
    if verdict == "hold" and not _held_to_the_end(host, found, say):
        say("an init has succeeded meanwhile: no failure is told")
        return
    said = found.tell(host, Deadline.after(host.clock, TRY_SECONDS), good=False)
    say(said or "all have been told before")


def _held_to_the_end(host: Host, found: Listeners, say: Say) -> bool:
    """Keep the hook waiting until the time is over; False when somebody has brought the instance up meanwhile."""
    say(hold_failure(host, found, unit=True))
    clock, beat = host.clock, float("-inf")
    while (signal_note.load(host.paths) or Note()).is_held(clock.now()):
        if _is_verified(host):
            return False
        if found.launch is not None and clock.monotonic() - beat >= found.launch.interval:
            beat = clock.monotonic()
            try:
                found.launch.beat()
            except AgentError as error:
                say(f"{error}; next: {error.next_step}")
        clock.sleep(_POLL_SECONDS)
    return not _is_verified(host)


def of_systemd(environ: Mapping[str, str]) -> tuple[str, str]:
    """Result and exit status of the unit that has failed: what `OnFailure=` sets, else what `ExecStopPost=` would."""
    result = environ.get("MONITOR_SERVICE_RESULT") or environ.get("SERVICE_RESULT", "")
    return result, environ.get("MONITOR_EXIT_STATUS") or environ.get("EXIT_STATUS", "")


def _is_verified(host: Host) -> bool:
    try:
        document = status.read(host.paths.status)
    except HostError:
        return False
    return document is not None and document["exit_code"] == 0
