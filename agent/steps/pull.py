"""Pulling images: all at once, then only those that failed, as long as another try can help."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from agent.errors import DeadlineExceeded
from agent.host.clock import Deadline
from agent.host.command import Command, Commands, Finished
from agent.report import record
from agent.report.spans import Doing
from agent.steps.project import Project
from agent.steps.pull_faults import Fault
from agent.steps.pull_rounds import Rounds

# `api Pulled`, from Compose 2.40 on `Image host/api:1 Pulled`. What follows `Error` is the cause; some versions leave
# it out, and none says anything of a service whose layers could not be fetched.
_LINE = re.compile(r"(?:Image )?(\S+) +(Pulling|Pulled|Error|Skipped)\b[\s-]*(.*)")
_WAITS_FOR_ANOTHER = "already being pulled"


def pull(
    project: Project,
    commands: Commands,
    deadline: Deadline,
    wanted: Mapping[str, Sequence[str]],
    *,
    log_in_again: Callable[[], None],
    tell: Callable[[int], None],
) -> None:
    """Pull the images `wanted` (each with its services) side by side; `tell` hears how many are done.

    One that fails does not keep the others from being pulled. A refusal is tried again once after `log_in_again`, a
    broken network a few times, a quota until the deadline: each time only the images that are still missing.
    """
    compose = _Compose(project, commands, deadline, wanted, tell)
    Rounds(compose.attempt, log_in_again, list(wanted)).until(deadline)


def pull_name(
    project: Project, commands: Commands, deadline: Deadline, name: str, *, log_in_again: Callable[[], None] | None
) -> None:
    """Pull one image by a name that the compose file need not have (`host/name@sha256:...`), as patiently."""

    def attempt(_: Sequence[str]) -> list[Fault]:
        doing = record.doing("image", name)
        try:
            with doing:
                finished = commands.run(Command(argv=("docker", "pull", "--quiet", name), env=project.env), deadline)
                doing.end("" if finished.ok else Fault(name, _last(finished)).kind)
        except DeadlineExceeded as exceeded:
            raise _outstanding(exceeded, f"pulling {name}", [name]) from None
        return [] if finished.ok else [Fault(name, _last(finished))]

    Rounds(attempt, log_in_again, [name]).until(deadline)


class _Compose:
    """`docker compose pull`, heard line by line."""

    def __init__(
        self,
        project: Project,
        commands: Commands,
        deadline: Deadline,
        services: Mapping[str, Sequence[str]],
        tell: Callable[[int], None],
    ) -> None:
        self._project = project
        self._commands = commands
        self._deadline = deadline
        self._services = services
        self._image_of = {name: image for image, names in services.items() for name in (*names, image)}
        self._tell = tell
        self._done: set[str] = set()
        self._skipped: set[str] = set()
        self._causes: dict[str, str] = {}
        self._doing: dict[str, Doing] = {}

    def attempt(self, images: Sequence[str]) -> list[Fault]:
        """Pull `images`; what is not heard to be there is asked for alone, for its cause."""
        self._causes.clear()
        finished = self._run(images, each=True)
        faults = []
        for image in [image for image in images if not self._settled(image)]:
            cause = self._causes.get(image) or ("" if finished.ok else _last(finished))
            if not cause:
                alone = self._run([image], each=False)
                if alone.ok:
                    self._finish(image)
                    continue
                cause = _last(alone)
            faults.append(Fault(image, _plain(cause)))
        for fault in faults:
            self._end(fault.image, fault.kind)
        return faults

    def _end(self, image: str, error: str = "") -> None:
        if image in self._doing:
            self._doing.pop(image).end(error)

    def _run(self, images: Sequence[str], *, each: bool) -> Finished:
        names = [name for image in images for name in self._services[image]]
        try:
            return self._commands.run(self._project.pull(names, each=each), self._deadline, on_line=self._hear)
        except DeadlineExceeded as exceeded:
            left = [image for image in self._services if not self._settled(image)]
            shown = [f"{', '.join(self._services[image])} ({image})" for image in left]
            raise _outstanding(exceeded, "running `docker compose pull`", shown) from None

    def _hear(self, line: str) -> None:
        match = _LINE.match(line)
        image = self._image_of.get(match[1]) if match else None
        if match is None or image is None:
            return
        if match[2] == "Pulling" and image not in self._done:
            self._doing.setdefault(image, record.doing("image", image))
        elif match[2] == "Pulled":
            self._finish(image)
        elif match[2] == "Error":
            self._causes[image] = match[3]
        elif _WAITS_FOR_ANOTHER not in match[3]:
            self._skipped.add(match[1])

    def _finish(self, image: str) -> None:
        self._done.add(image)
        self._end(image)
        self._tell(len(self._done))

    def _settled(self, image: str) -> bool:
        """Pulled, or of services that say that they need no pull (`pull_policy: never`, or they can be built)."""
        if image in self._done:
            return True
        skipped = image in self._skipped or self._skipped.issuperset(self._services[image])
        return skipped and image not in self._causes


def _outstanding(exceeded: DeadlineExceeded, doing: str, left: Sequence[str]) -> DeadlineExceeded:
    """The same without the command line, which names staged folders, and with what is not there yet."""
    cause = exceeded.cause.partition(";")[0]
    return DeadlineExceeded(doing, f"{cause}; still outstanding: {', '.join(left)}", exceeded.next_step)


def _last(finished: Finished) -> str:
    if finished.status < 0:
        return f"`{finished.command.words[0]}` was ended by signal {-finished.status}"
    tail = finished.tail(1)
    return _plain(tail[0]) if tail else f"`{finished.command.words[0]}` exited with {finished.status} and said nothing"


def _plain(cause: str) -> str:
    return cause.strip().removeprefix("Error response from daemon: ").removeprefix("Error: ")
