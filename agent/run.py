"""`Run`: what every step of one run is given, and the options that the command line sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from agent.dataclass import dataclass
from agent.host.clock import Deadline
from agent.host.engine import Engine
from agent.host.host import Host
from agent.report.record import Recorder, Sink, Step
from agent.secret import Redactor


@dataclass(frozen=True, kw_only=True)
class Options:
    """The flags of `init` (contract section 5). `lock_wait` in seconds."""

    skip_fetch: bool = False
    skip_images: bool = False
    restart_only: bool = False
    force_recreate: bool = False
    slug: str | None = None
    lock_wait: float = 0.0
    no_rollback: bool = False
    retry: bool = False

    @property
    def images_wanted(self) -> bool:
        """Whether images are pulled: `--restart-only` implies `--skip-images`."""
        return not (self.skip_images or self.restart_only)

    @property
    def recreate(self) -> bool:
        """Whether every container is replaced, changed or not."""
        return self.force_recreate or self.restart_only


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run on one host, up to its deadline. `keepers` are told once the run holds the lock: status and history.

    `see_through()` says that no signal may cut the run short any more: it records a verdict, or goes back.
    """

    host: Host
    engine: Engine
    recorder: Recorder
    keepers: Sequence[Sink]
    redactor: Redactor
    deadline: Deadline
    options: Options
    see_through: Callable[[], None]

    def step(self, name: str, doing: str) -> AbstractContextManager[Step]:
        """Run a block as the step `name`; see `Recorder.step`."""
        return self.recorder.step(name, doing)

    def warn(self, event: str, *texts: str) -> None:
        """Tell warnings that belong to no step."""
        for text in texts:
            self.recorder.say("warning", event, text)


def without_images(run: Run) -> Run:
    """The same run for a part of it that uses the images that are on the host."""
    return replace(run, options=replace(run.options, skip_images=True))
