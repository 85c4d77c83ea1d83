"""The Compose project: its files read, its start gone through, and compared with what runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agent.dataclass import dataclass
from agent.errors import ComposeFileError
from agent.host import files
from agent.host.engine_answers import Container
from agent.report.words import amount
from agent.run import Options, Run
from agent.secret import Secret
from agent.stages import host_files
from agent.steps import (
    compose,
    compose_program,
    fingerprints,
    half_made,
    mounted,
    project,
    reasons,
    verify,
)
from agent.steps.bootstrap import Bootstrap
from agent.steps.compose import Model, Plan
from agent.steps.host_files import HostFile
from agent.steps.mounted import Labels
from agent.steps.project import Project
from agent.steps.reasons import Fate
from agent.steps.stage import Staged
from agent.steps.state import State
from agent.steps.verdict import Health
from agent.variables.resolve import Resolution


def open_project(
    run: Run, loaded: Bootstrap, resolution: Resolution, staged: Staged | None, docker_config: Path | None = None
) -> Project:
    """The Compose project as it will be: in the staged tree when that differs from the live one."""
    return project_in(run, loaded, resolution.environment, staged, docker_config)


def project_in(
    run: Run,
    loaded: Bootstrap,
    environment: Mapping[str, Secret],
    staged: Staged | None,
    docker_config: Path | None = None,
) -> Project:
    """The same with an environment of the caller's."""
    live = run.host.paths.role(loaded.role)
    folder = staged.folder / loaded.role if staged is not None and staged.differs else live
    config = docker_config or run.host.paths.docker_config
    env = {**environment, **run.host.child_environment(), "DOCKER_CONFIG": Secret(str(config))}
    return Project(
        folder=folder,
        shown=live,
        files=project.find(folder, str(live)),
        env=env,
        compose=compose_program.find(config, env["PATH"].reveal()),
    )


def read_model(run: Run, opened: Project, step_name: str = "model") -> compose.Model:
    """Let Compose read the project's files with every variable filled in."""
    with run.step(step_name, "reading the compose files") as step:
        model = compose.read_model(opened, run.host.commands, run.deadline)
        step.detail = f"project {model.name}: {amount(len(model.services), 'service')}"
    run.warn("compose.warning", *model.warnings)
    return model


def expect_one_project(run: Run, loaded: Bootstrap, kept: State, model: Model) -> None:
    """Raise when the project has another name than the deployed one, whose containers would run on beside it.

    Not for another role: that one's containers are nobody's business here (`warn_of_former_role`).
    """
    current = kept.current
    if current is None or current.role != loaded.role or current.project in {"", model.name}:
        return
    if run.engine.containers(current.project):
        raise ComposeFileError(
            f"deploying the project {model.name}",
            f"release {current.number} runs as the project {current.project}: both would run side by side",
            f"keep the name (`name:` in the compose file, COMPOSE_PROJECT_NAME), or end the old one first: `docker"
            f" compose --project-name {current.project} down`",
        )


def rehearse(run: Run, opened: Project, model: Model) -> Plan:
    """Let Compose go through the start of the new project, before anything live changes: networks, files, images."""
    with run.step("rehearse", "going through the start of the new project") as step:
        plan = plan_of(run, opened, model)
        step.detail = f"{amount(len(plan.actions), 'container')} could be started"
    return plan


def plan_of(run: Run, opened: Project, model: Model, *, recreate: bool = False) -> Plan:
    """What `up` would do, by a dry run of Compose."""
    stand_ins = compose.stand_ins(model)
    if stand_ins is not None:
        path = run.host.paths.overrides / "rehearsal.yaml"
        files.make_folder(path.parent, 0o700)
        files.write(path, stand_ins, 0o600, durable=False)
        opened = replace(opened, files=(*opened.files, path))
    return compose.plan(
        opened,
        model,
        run.host.commands,
        run.deadline,
        recreate=recreate,
        may_be_silent=lambda: _are_there_and_do_not_run(run.engine.containers(model.name)),
    )


def _are_there_and_do_not_run(containers: Sequence[Container]) -> bool:
    """Compose names what it would make and what runs; it says nothing of what is paused, restarting or not started."""
    return bool(containers) and all(item.state != "running" for item in containers)


def label(
    run: Run,
    opened: Project,
    model: Model,
    kept: State,
    folder: Path | None = None,
    *,
    staged: Staged | None = None,
    declared: Sequence[HostFile] = (),
) -> Project:
    """Add the agent's own compose file, with the digests of mounted files; `declared` are the manifest's `files`.

    What `staged` removes is not counted, though it is there until the release is verified: else the next run, which
    finds it gone, would take that for a change.
    """
    bundle = set(kept.applied) - set(staged.removed if staged is not None else ())
    key = fingerprints.make_key(run.host.paths.state) if any(item.granted for item in model.services) else None
    role = opened.shown.name
    bundle -= host_files.declared_paths(role, declared)
    written = host_files.live_digests(run, role, declared, opened.env)
    made = mounted.labels(model, run.host.paths.services, bundle, key, written=written)
    return with_labels(opened, made, folder or run.host.paths.overrides)


def with_labels(opened: Project, made: Labels, folder: Path) -> Project:
    """The project with the agent's own compose file, which is written to `folder`."""
    files.make_folder(folder, 0o700)
    path = folder / "override.json"
    files.write(path, mounted.override(made), 0o600, durable=False)
    return opened.with_override(path, made)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `up` would do and why, the containers as they are, and how the services are now.

    `doubtful` seem to run, and may be about to stop: they are stopped before the start, so that it starts them.
    """

    plan: Plan
    fates: Sequence[Fate]
    before: Sequence[Container]
    health: Sequence[Health]
    doubtful: tuple[Container, ...] = ()

    @property
    def settled(self) -> bool:
        """Nothing would change and every service runs or is done: `up` would only run the one-shots again."""
        at_work = {"running", "starting"}
        return (
            not self.plan.changes
            and not self.doubtful
            and all(item.verdict == "well" or item.state in at_work for item in self.health)
        )

    @property
    def leaving(self) -> frozenset[str]:
        """The ids of the containers that `up` would replace or remove."""
        return frozenset(
            item.id for item in self.before if self.plan.actions.get(item.name) in {"recreated", "removed"}
        )

    @property
    def reasons(self) -> dict[str, str]:
        """Why each service that is created or recreated is, in a line."""
        return {fate.service: fate.text for fate in self.fates if fate.action in {"create", "recreate"}}


def compare(
    run: Run, opened: Project, model: Model, seen: Comparison | None = None, rehearsed: Plan | None = None
) -> Comparison:
    """Hold the project against what runs; it may have been `seen` before, or its start `rehearsed`.

    What an ended Compose has left half made is put in order.
    """
    with run.step("plan", "comparing the project with what runs") as step:
        seen = seen or hold_against(run, opened, model, rehearsed)
        finished = half_made.finish(run.engine, seen.before)
        if finished.told:
            run.warn("container.half-made", *finished.told)
            seen = replace(hold_against(run, opened, model, rehearsed), doubtful=finished.doubtful)
        counts = [
            f"{amount(number, 'container')} {past}" for word, past in _WOULD if (number := _times(seen.plan, word))
        ]
        unwell = [item.service for item in seen.health if item.verdict != "well"]
        not_well = f"not healthy: {', '.join(unwell)}" if unwell else ""
        step.detail = "nothing to do" if seen.settled else ", ".join(counts) or not_well
    return seen


def hold_against(run: Run, opened: Project, model: Model, rehearsed: Plan | None = None) -> Comparison:
    """As `compare`, without a step of its own."""
    if rehearsed is not None and not run.engine.containers(model.name):
        # Wherever its files are, all of it is made anew: Compose has said how.
        plan = rehearsed
    else:
        plan = plan_of(run, opened, model, recreate=run.options.recreate)
    before = run.engine.containers(model.name)
    fates = reasons.fates(model, before, plan.actions, opened.labels, run.engine, forced=_forced(run.options))
    health = verify.judged(model, before, verify.Watch(run.host.clock))
    return Comparison(plan=plan, fates=fates, before=before, health=health)


def _forced(options: Options) -> str | None:
    if not options.recreate:
        return None
    return "--force-recreate" if options.force_recreate else "--restart-only"


_WOULD = (("created", "to create"), ("recreated", "to recreate"), ("removed", "to remove"))


def _times(plan: Plan, word: str) -> int:
    return sum(what == word for what in plan.actions.values())
