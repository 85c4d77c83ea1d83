"""Children that are told: every command with its arguments, duration and exit status goes into the record."""

from __future__ import annotations

from collections.abc import Callable

from agent.host.clock import Clock, Deadline
from agent.host.command import Command, Commands, Finished
from agent.report import record


class ToldCommands:
    """Runs commands through another `Commands` and records each one. Arguments never hold a secret; output may."""

    def __init__(self, inner: Commands, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    def run(
        self,
        command: Command,
        deadline: Deadline,
        *,
        on_line: Callable[[str], None] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> Finished:
        """See `Commands.run`."""
        began = self._clock.monotonic()
        record.count(record.Costs(children=1))
        record.say("debug", "command.started", f"$ {command}", argv=list(command.argv))
        finished = self._inner.run(command, deadline, on_line=on_line, watch=watch)
        seconds = round(self._clock.monotonic() - began, 3)
        record.say(
            "debug",
            "command.finished",
            f"`{command.argv[0]}` exited with {finished.status} after {seconds} s",
            argv=list(command.argv),
            status=finished.status,
            seconds=seconds,
        )
        return finished
