"""What `init` would do to the services, found out without changing anything."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agent.dataclass import dataclass
from agent.errors import AgentError, HostError, UnreachableError
from agent.host import files
from agent.host.command import Command
from agent.report.words import amount
from agent.run import Run
from agent.stages.fetching import Fetched
from agent.stages.host_files import declared_paths
from agent.stages.probes import expect_possible
from agent.stages.project import Comparison, hold_against, open_project, with_labels
from agent.steps import compose, file_digests, fingerprints, host_files, mounted, view
from agent.steps.bootstrap import Bootstrap
from agent.steps.compose import Model
from agent.steps.mounted import Labels
from agent.steps.project import Project
from agent.steps.reasons import Fate
from agent.steps.state import State
from agent.variables.manifest import Manifest
from agent.variables.resolution import Resolution

# A plan is looked at by a person: an engine that does not answer must not keep them for long.
SECONDS = 60.0


@dataclass(frozen=True)
class ImageChange:
    """The image of one service: by its name now (None: no container) and then; `at_hand` when the host has it."""

    service: str
    now: str | None
    then: str
    at_hand: bool


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What would happen to each service; with `unknown`, why that cannot be said.

    That a tag names another image in the registry by now is not known: nothing is asked there.
    """

    fates: tuple[Fate, ...] = ()
    images: tuple[ImageChange, ...] = ()
    unknown: str = ""

    @property
    def changes(self) -> bool:
        """Whether something is known to happen to a service."""
        return any(fate.action not in {"unchanged", "unknown"} for fate in self.fates)


def foresee(run: Run, bootstrap: Bootstrap, fetched: Fetched, resolution: Resolution, kept: State) -> Foreseen:
    """What `up` would do. Raises for a project that `init` would refuse; what the host lacks for an answer is told."""
    run = replace(run, deadline=run.deadline.share(SECONDS))
    private, live = run.host.paths.run / "plan", run.host.paths.run / "plan-live"
    with run.step("services", "asking Compose what it would do") as step:
        try:
            docker = run.host.paths.at(f"{run.host.home}/.docker")
            staging = open_project(run, bootstrap, resolution, fetched.staged, docker)
            seen = _look(run, staging, live, fetched.manifest)
            if isinstance(seen, str):
                step.detail = "not known"
                return Foreseen(unknown=seen)
            opened, model = seen
            try:
                labels = _labels(run, opened, model, fetched, kept)
                found = _told(run, model, hold_against(run, with_labels(opened, labels, private), model))
            except AgentError as error:
                step.detail = "not known"
                fates = (Fate(item.name, "unknown", (error.cause,)) for item in model.services)
                return Foreseen(fates=tuple(fates), unknown=str(error))
            step.detail = amount(len(found.fates), "service")
            return found
        finally:
            files.erase_folder(private)
            # Only ever an empty folder: what was to be seen in it was never seen by this process.
            with contextlib.suppress(OSError):
                live.rmdir()


def _look(run: Run, staging: Project, live: Path, manifest: Manifest) -> tuple[Project, Model] | str:
    """The project under its live paths, and its model; or why this host cannot tell."""
    try:
        opened = _as_live(run, staging, live)
        model = compose.read_model(opened, run.host.commands, run.deadline)
    except (HostError, UnreachableError) as error:
        return str(error)
    expect_possible(staging, model, manifest)
    return opened, model


def _as_live(run: Run, staging: Project, live: Path) -> Project:
    if staging.folder == staging.shown:
        return staging
    words = view.prepare(run.host.paths.services, live, run.host.paths.staging)
    asked = run.host.commands.run(Command(argv=(*words, "true"), env=staging.env), run.deadline)
    if not asked.ok:
        raise HostError(
            "letting Compose see the staged bundle in the place of the live one",
            "; ".join(asked.tail(2)) or f"unshare ended with {asked.status}",
            "run it as root, where mount namespaces are allowed",
        )
    paths = tuple(staging.shown / path.name for path in staging.files)
    return replace(staging, folder=staging.shown, files=paths, view=words)


def _labels(run: Run, opened: Project, model: Model, fetched: Fetched, kept: State) -> Labels:
    """The labels that `init` would set, with the contents of the staged files."""
    services, staged, role = run.host.paths.services, fetched.staged, opened.shown.name
    new = dict(staged.files) if staged is not None else {}
    gone = set(staged.removed) if staged is not None else set()
    key = fingerprints.read_key(run.host.paths.state) if any(item.granted for item in model.services) else None

    def find(path: str) -> Path:
        return (staged.folder if staged is not None and path in new else services) / path

    declared = fetched.manifest.files
    bundle = (set(kept.applied) | set(new)) - gone - declared_paths(role, declared)
    ready = host_files.prepare(declared, opened.env, role, fetched.manifest.name)
    own = fingerprints.read_key(run.host.paths.state) if ready else None
    written = file_digests.digests(ready, own) if own else {}
    return mounted.labels(model, services, bundle, key, find=find, written=written)


def _told(run: Run, model: Model, seen: Comparison) -> Foreseen:
    fates = seen.fates if seen.settled else [_started(fate, seen) for fate in seen.fates]
    return Foreseen(fates=tuple(fates), images=tuple(_images(run, model, seen)))


def _started(fate: Fate, seen: Comparison) -> Fate:
    """When anything has to be done `up` runs, and with it every container that does not run now: one-shots, too."""
    own = [item.state for item in seen.before if item.service == fate.service]
    idle = [state for state in own if state not in {"running", "restarting"}]
    if fate.action != "unchanged" or not idle:
        return fate
    return Fate(fate.service, "start", (f"it is {idle[0]}",))


def _images(run: Run, model: Model, seen: Comparison) -> Iterator[ImageChange]:
    now = {item.service: item.reference for item in seen.before}
    for item in model.services:
        if item.image is not None:
            at_hand = run.engine.image_id(item.image) is not None
            yield ImageChange(item.name, now.get(item.name), item.image, at_hand)
