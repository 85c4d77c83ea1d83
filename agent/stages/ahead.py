"""A look ahead: while images are pulled, the project is compared with what runs. Most reruns change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.dataclass import dataclass
from agent.errors import AgentError
from agent.host.engine_answers import Container
from agent.run import Run
from agent.stages.fetching import Fetched
from agent.stages.project import Comparison, hold_against, label
from agent.steps import host_files, images
from agent.steps.compose import Model
from agent.steps.host_files import Ready
from agent.steps.project import Project
from agent.steps.stage import Staged
from agent.steps.state import State


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """A comparison that holds for as long as the images have these ids, by their names in the compose file."""

    references: Mapping[str, str]
    seen: Comparison

    def holds(self, references: Mapping[str, str]) -> bool:
        """Whether the images are still the same after the pull."""
        return self.references == references


def is_worth_it(run: Run, kept: State, staged: Staged | None, ready: Sequence[Ready]) -> bool:
    """Whether nothing but a pulled image can still change what is compared: no file of the bundle, none of values."""
    return (
        kept.current is not None
        and (staged is None or not staged.differs)
        and not host_files.differing(ready, run.host.paths.services)
    )


def unless_they_changed(run: Run, model: Model, made: Ahead | None) -> Ahead | None:
    """What was compared, if the containers are as they were then: a pull may have waited for minutes."""
    if made is None or _states(run.engine.containers(model.name)) != _states(made.seen.before):
        return None
    return made


def _states(containers: Sequence[Container]) -> set[tuple[object, ...]]:
    return {(item.id, item.state, item.health, item.restarts) for item in containers}


def look(run: Run, project: Project, model: Model, kept: State, fetched: Fetched) -> Ahead | None:
    """Compare now; None where an image is not there yet, or for a fault: `compare` meets that again, and tells it."""
    with run.step("ahead", "comparing the project with what runs meanwhile") as step:
        step.detail = "left to `plan`"
        try:
            references, _ = images.identities(run.engine, model)
            if references.keys() != set(model.images):
                return None
            labelled = label(run, project, model, kept, staged=fetched.staged, declared=fetched.manifest.files)
            made = Ahead(references=references, seen=hold_against(run, labelled, model))
        except AgentError:
            return None
        step.detail = "done, if the pull brings nothing new"
    return made
