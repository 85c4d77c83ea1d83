"""`Run`: what every step of one run is given, and the options that the command line sets."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from agent.host.clock import Deadline
from agent.host.engine import Engine
from agent.host.host import Host
from agent.report.record import Recorder, Step
from agent.report.status import StatusFile
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
    """One run on one host, up to its deadline."""

    host: Host
    engine: Engine
    recorder: Recorder
    status: StatusFile
    redactor: Redactor
    deadline: Deadline
    options: Options

    def step(self, name: str, doing: str) -> AbstractContextManager[Step]:
        """Run a block as the step `name`; see `Recorder.step`."""
        return self.recorder.step(name, doing)

    def warn(self, event: str, *texts: str) -> None:
        """Tell warnings that belong to no step."""
        for text in texts:
            self.recorder.say("warning", event, text)
