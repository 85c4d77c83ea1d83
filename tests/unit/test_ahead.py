"""When the project is compared with what runs before the images are pulled, and for how long that holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from agent.host.engine import Engine
from agent.host.engine_answers import Container
from agent.report.record import Recorder
from agent.run import Run
from agent.stages import ahead
from agent.stages.ahead import Ahead
from agent.stages.project import Comparison
from agent.steps import host_files
from agent.steps.compose import Model, Plan
from agent.steps.stage import Staged
from agent.steps.state import State
from tests.unit import fakes
from tests.unit.fakes import HEALTHY, FakeClock, FakeCommands, FakeEngine
from tests.unit.runs import run_on
from tests.unit.test_doctor_runs import KEPT
from tests.unit.test_host_files import ready

QUIET = Staged(folder=Path(), files={}, added=(), changed=(), removed=(), fetched=0, received=0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    clock = FakeClock()
    (tmp_path / "opt/services").mkdir(parents=True)
    return run_on(
        tmp_path,
        clock=clock,
        commands=FakeCommands(),
        engine=FakeEngine(),
        recorder=Recorder(fakes.head(1), clock, []),
    )


def test_a_rerun_in_which_no_file_changes_is_compared_beside_the_pull(run: Run) -> None:
    made = ready()
    host_files.write(made, run.host.paths.services)

    assert ahead.is_worth_it(run, KEPT, QUIET, [made])
    assert ahead.is_worth_it(run, KEPT, None, [])


def test_a_bundle_that_changes_is_compared_when_it_is_in_place(run: Run) -> None:
    paths = ("api/Caddyfile",)
    changed = [replace(QUIET, added=paths), replace(QUIET, changed=paths), replace(QUIET, removed=paths)]

    for staged in (*changed, replace(QUIET, folders=paths)):
        assert not ahead.is_worth_it(run, KEPT, staged, [])


def test_a_file_of_a_variable_that_is_to_be_written_is_waited_for(run: Run) -> None:
    made = ready()

    assert not ahead.is_worth_it(run, KEPT, QUIET, [made])
    host_files.write(made, run.host.paths.services)
    assert not ahead.is_worth_it(run, KEPT, QUIET, [replace(made, content=b"another key")])


def test_a_first_boot_has_nothing_to_look_ahead_of(run: Run) -> None:
    assert not ahead.is_worth_it(run, State(instance_id="local"), QUIET, [])


@pytest.mark.parametrize("now", [replace(HEALTHY, state="exited"), replace(HEALTHY, id="c2"), None])
def test_what_was_compared_is_forgotten_when_a_container_has_changed_meanwhile(run: Run, now: Container | None) -> None:
    model = Model(name="api", services=(), warnings=())
    made = Ahead(references={}, seen=Comparison(plan=Plan({}), fates=(), before=(HEALTHY,), health=()))
    engine = cast("Engine", FakeEngine((HEALTHY,), () if now is None else (now,)))

    assert ahead.unless_they_changed(replace(run, engine=engine), model, made) is made
    assert ahead.unless_they_changed(replace(run, engine=engine), model, made) is None
    assert ahead.unless_they_changed(run, model, None) is None


def test_it_holds_until_an_image_is_another_one() -> None:
    seen = Comparison(plan=Plan({}), fates=(), before=(), health=())
    made = Ahead(references={"host/app:1": "sha256:a"}, seen=seen)

    assert made.holds({"host/app:1": "sha256:a"})
    assert not made.holds({"host/app:1": "sha256:b"})
    assert not made.holds({})
