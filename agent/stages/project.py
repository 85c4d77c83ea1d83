"""The Compose project: its files read, its start gone through, and compared with what runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.host import files
from agent.report.words import amount
from agent.run import Run
from agent.secret import Secret
from agent.steps import (
    compose,
    mounted,
    project,
    verify,
)
from agent.steps.bootstrap import Bootstrap
from agent.steps.compose import Model, Plan
from agent.steps.project import Project
from agent.steps.stage import Staged
from agent.steps.state import State
from agent.steps.verify import Health
from agent.variables.resolve import Resolution


def open_project(
    run: Run, loaded: Bootstrap, resolution: Resolution, staged: Staged | None, docker_config: Path | None = None
) -> Project:
    """The Compose project as it will be: in the staged tree when that differs from the live one."""
    live = run.host.paths.role(loaded.role)
    folder = staged.folder / loaded.role if staged is not None and staged.differs else live
    env = {
        **resolution.environment,
        **run.host.child_environment(),
        "DOCKER_CONFIG": Secret(str(docker_config or run.host.paths.docker_config)),
    }
    return Project(folder=folder, shown=live, files=project.find(folder, str(live)), env=env)


def read_model(run: Run, opened: Project, step_name: str = "model") -> compose.Model:
    """Let Compose read the project's files with every variable filled in."""
    with run.step(step_name, "reading the compose files") as step:
        model = compose.read_model(opened, run.host.commands, run.deadline)
        step.detail = f"project {model.name}: {amount(len(model.services), 'service')}"
    run.warn("compose.warning", *model.warnings)
    return model


def rehearse(run: Run, opened: Project) -> None:
    """Let Compose go through the start of the new project, before anything live changes: networks, files, images."""
    with run.step("rehearse", "going through the start of the new project") as step:
        actions = compose.plan(opened, run.host.commands, run.deadline, recreate=False).actions
        step.detail = f"{amount(len(actions), 'container')} could be started"


def label(run: Run, opened: Project, model: Model, kept: State, folder: Path | None = None) -> Project:
    """Add the agent's own compose file, with the digests of mounted files."""
    folder = folder or run.host.paths.overrides
    files.make_folder(folder, 0o700)
    path = folder / "override.json"
    files.write(path, mounted.override(model, run.host.paths.services, set(kept.applied)), 0o600, durable=False)
    return opened.with_override(path)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `up` would do, and how the services are now."""

    plan: Plan
    health: Sequence[Health]

    @property
    def settled(self) -> bool:
        """Nothing would change and every service runs or is done: `up` would only run the one-shots again."""
        at_work = {"running", "starting"}
        return not self.plan.changes and all(item.verdict == "well" or item.state in at_work for item in self.health)


def compare(run: Run, opened: Project, model: Model) -> Comparison:
    """Hold the project against what runs."""
    with run.step("plan", "comparing the project with what runs") as step:
        plan = compose.plan(opened, run.host.commands, run.deadline, recreate=run.options.recreate)
        seen = Comparison(plan=plan, health=verify.look(model, run.engine, run.host.clock))
        counts = [f"{amount(_times(plan, word), 'container')} {past}" for word, past in _WOULD if _times(plan, word)]
        unwell = [item.service for item in seen.health if item.verdict != "well"]
        not_well = f"not healthy: {', '.join(unwell)}" if unwell else ""
        step.detail = "nothing to do" if seen.settled else ", ".join(counts) or not_well
    return seen


_WOULD = (("created", "to create"), ("recreated", "to recreate"), ("removed", "to remove"))


def _times(plan: Plan, word: str) -> int:
    return sum(what == word for what in plan.actions.values())
