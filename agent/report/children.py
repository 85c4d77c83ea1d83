"""Children that are told: every command with its arguments, duration and exit status goes into the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath

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
        doing = record.doing("command", _name(command.words))
        with doing:
            finished = self._inner.run(command, deadline, on_line=on_line, watch=watch)
            doing.end("" if finished.ok else _ended(finished.status))
        seconds = round(self._clock.monotonic() - began, 3)
        record.say(
            "debug",
            "command.finished",
            f"`{command.words[0]}` exited with {finished.status} after {seconds} s",
            argv=list(command.argv),
            status=finished.status,
            seconds=seconds,
        )
        return finished


# What Compose and the docker command are asked for; any other word of theirs may be a name or a path.
_VERBS = frozenset({"config", "up", "pull", "version", "ps", "down", "inspect", "info"})


def _name(argv: Sequence[str]) -> str:
    """What a command is called in the timeline: its program, and of Docker what it is asked for; no argument."""
    program = PurePath(argv[0]).name
    if "docker" not in argv:
        return program
    words = argv[argv.index("docker") :]
    verb = next((word for word in words if word in _VERBS), "")
    dry = "--dry-run" if "--dry-run" in words else ""
    return " ".join(filter(None, ["docker", "compose" if "compose" in words[:2] else "", verb, dry]))


def _ended(status: int) -> str:
    return f"exit {status}" if status >= 0 else f"signal {-status}"
