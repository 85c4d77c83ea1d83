"""Tells of one run: heartbeats from when it has the lock, and its end. The run's verdict is never touched by it.

Who waits is found out in a thread beside the run, once the bootstrap file had its chance to be written, so that a boot
is not a millisecond longer for it. Telling the end takes at most `TELL_SECONDS`, and is over at the latest 5 s after
the run's deadline (or after a restore). What fails is a warning with its cause and next step.
"""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace

from agent.errors import AgentError, BugError
from agent.host.clock import Deadline
from agent.host.host import Host
from agent.host.side_by_side import within
from agent.report.last_word import LastWord
from agent.report.record import Ending, RunHead, Step
from agent.run import Run
from agent.secret import Redactor
from agent.signalling import listeners
from agent.signalling.listeners import Listeners
from agent.stages.unit import is_looked_after
from agent.steps import signal_note, signals
from agent.steps.signal_note import Note

TELL_SECONDS = 10.0
_BEYOND_SECONDS = 5.0
# A run that failed at once does not wait longer than this to learn whether tags ask for anything.
_LOOK_SECONDS = 2.0


class Teller(LastWord):
    """A keeper of `init`: it hears of the run once that holds the lock. `tell` is called with the verdict."""

    def __init__(self, host: Host, redactor: Redactor, deadline: Deadline, *, boot: bool) -> None:
        super().__init__()
        self._host, self._redactor, self._deadline, self._boot = host, redactor, deadline, boot
        self._found: Listeners | None = None
        self._faults: list[AgentError] = []
        self._begun, self._looked = threading.Event(), threading.Event()
        self._may_look, self._over = threading.Event(), threading.Event()

    def began(self, head: RunHead) -> None:
        """The run has the lock: from now on who waits gets heartbeats."""
        super().began(head)
        if self._boot:
            self._start()

    def ended(self, step: Step) -> None:
        """After its first step the bootstrap file is there, if it ever will be."""
        if step.name == "bootstrap":
            self._may_look.set()

    def ended_as(self, head: RunHead, ending: Ending, seconds: float) -> None:
        """Nothing: it was told before (`tell`)."""

    def tell(self, run: Run, ending: Ending) -> Ending:
        """Tell how the run ended; returns the ending, with what is held said in its text."""
        try:
            return self._tell(run, ending)
        except AgentError as error:
            _warn(run, error)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a signal, the run's verdict must be told
            _warn(run, _bug(error))
        return ending

    def _tell(self, run: Run, ending: Ending) -> Ending:
        unit, clock = is_looked_after(self._host), self._host.clock
        verdict = signals.of_run(ending.exit_code, boot=self._boot, unit=unit, hold=False)
        if _is_joined(run) or verdict == "nothing":
            return ending
        budget = Deadline.after(clock, min(TELL_SECONDS, self._deadline.left() + _BEYOND_SECONDS))
        found = self._who(budget, ending)
        for fault in self._faults:
            _warn(run, fault)
        if found is None or not found.any:
            return ending
        hold = found.settings.hold_seconds > 0
        verdict = signals.of_run(ending.exit_code, boot=self._boot, unit=unit, hold=hold)
        with run.step("signal", "telling who waits for this instance") as step:
            try:
                if verdict in ("success", "failure"):
                    step.detail = self._send(found, budget, good=verdict == "success")
                else:
                    step.detail = self._keep_waiting(found, budget)
            except AgentError as error:
                step.detail = f"not told: {error.cause}"
                _warn(run, error)
            if verdict != "hold":
                return ending
            held = hold_failure(self._host, found, unit=unit)
            step.detail = ", ".join(filter(None, [step.detail, held]))
        run.warn("signal.held", held)
        return replace(ending, text=f"{ending.text}; {held}")

    def _send(self, found: Listeners, budget: Deadline, *, good: bool) -> str:
        # The calls know the run's deadline; a call that hangs does not know of this one.
        said = within(budget, "telling who waits for this instance", lambda: found.tell(self._host, budget, good=good))
        return said or "all have been told before"

    def _keep_waiting(self, found: Listeners, budget: Deadline) -> str:
        """One more heartbeat: its hook has its whole time until the next attempt's."""
        if found.launch is None:
            return "nothing yet"
        waits = within(budget, "sending a heartbeat", found.launch.beat)
        return f"heartbeat to the hook {found.launch.hook.name}" if waits else "nothing yet"

    def _who(self, budget: Deadline, ending: Ending) -> Listeners | None:
        """Who waits; of a boot it was found out already, or is at this moment."""
        wanted = signals.settings(listeners.in_file(self._host)).wanted
        if not self._boot:
            note = signal_note.load(self._host.paths)
            if (note is None and not wanted) or (note is not None and (note.asg or note.cfn)):
                return None
        if not self._begun.is_set():
            self._start()
        self._may_look.set()
        self._over.set()
        patience = budget if wanted else budget.share(_LOOK_SECONDS)
        if not self._looked.wait(patience.left()) and wanted:
            raise budget.exceeded("finding out who waits for this instance")
        return self._found

    def _start(self) -> None:
        self._begun.set()
        threading.Thread(target=self._work, name="signals", daemon=True).start()

    def _work(self) -> None:
        """In its own thread: find out who waits, then a heartbeat now and then."""
        self._may_look.wait()
        try:
            self._found = listeners.look(self._host, self._redactor, self._deadline, boot=self._boot)
            if self._found is not None and self._found.any and signal_note.load(self._host.paths) is None:
                signal_note.save(self._host.paths, Note())
        except AgentError as error:
            self._faults.append(error)
        except Exception as error:  # noqa: BLE001 - told as a warning; a thread's traceback would break the log's lines
            self._faults.append(_bug(error))
        finally:
            self._looked.set()
        note = signal_note.load(self._host.paths)
        if self._found is not None and self._found.launch is not None and not (note and note.asg):
            self._beat(self._found.launch)

    def _beat(self, launch: listeners.Launch) -> None:
        while not self._over.is_set():
            try:
                launch.beat()
            except AgentError as error:
                # Once: the next is tried all the same, and would fail in the same words.
                self._faults[:] = [error]
            self._over.wait(launch.interval)


def hold_failure(host: Host, found: Listeners, *, unit: bool) -> str:
    """Note that the failure is told later, and say until when. A second failure does not prolong it."""
    if not unit:
        # Nobody would be there to tell it: the hook's own time is the bound.
        until = f"its hook times out ({found.launch.hook.seconds:.0f} s)" if found.launch else "its stack times out"
        return f"this instance is kept for debugging until {until}"
    note, now = signal_note.load(host.paths) or Note(), host.clock.now()
    if not note.held_until:
        end = now + dt.timedelta(seconds=found.settings.hold_seconds)
        note = replace(note, held_until=end.isoformat(timespec="seconds"))
        signal_note.save(host.paths, note)
    return f"this instance is kept for debugging until {note.held_until}, then the failure is told"


def _is_joined(run: Run) -> bool:
    """Whether another run did the work: it tells."""
    steps = run.recorder.steps
    return bool(steps) and steps[-1].name == "join"


def _warn(run: Run, error: AgentError) -> None:
    for part in error.parts():
        details = f" ({'; '.join(part.details)})" if part.details else ""
        run.warn("signal.failed", f"{part}{details}; next: {part.next_step}")


def _bug(error: Exception) -> BugError:
    return BugError("telling who waits for this instance", type(error).__name__, "report this as a fault of the agent")
