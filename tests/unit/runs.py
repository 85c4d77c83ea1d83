"""A run as a stage gets it, on a host below a folder of the test's, with fakes for what is around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from agent.host.engine import Engine
from agent.host.host import Host
from agent.host.paths import Paths
from agent.report.record import Recorder
from agent.run import Options, Run
from agent.secret import Redactor
from tests.unit.fakes import FakeClock, FakeCommands


def run_on(
    root: Path,
    *,
    clock: FakeClock,
    commands: FakeCommands,
    engine: object,
    recorder: Recorder,
    environ: Mapping[str, str] | None = None,
) -> Run:
    """A run of root's that was asked for nothing special; `engine` has the part of `Engine` that the stage uses."""
    return Run(
        host=Host(paths=Paths(root), clock=clock, commands=commands, environ=environ or {}, uid=0),
        engine=cast("Engine", engine),
        recorder=recorder,
        keepers=(),
        redactor=Redactor(),
        deadline=clock.deadline(),
        options=Options(),
        see_through=lambda: None,
    )
