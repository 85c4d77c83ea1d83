"""The services: started, and seen healthy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.errors import AgentError, DeadlineExceeded, UnreachableError
from agent.report import record
from agent.report.words import amount
from agent.run import Run
from agent.stages.project import Comparison
from agent.steps import compose, verify
from agent.steps.compose import Model
from agent.steps.project import Project
from agent.steps.verify import Health


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A project that was seen healthy: what was done to each container, by name."""

    health: Sequence[Health]
    actions: Mapping[str, str]


def start(run: Run, opened: Project, model: Model) -> Deployed:
    """`docker compose up`, then see every service healthy; a failure of either tells the state of all services."""
    restarts = verify.restart_counts(model, run.engine)
    with run.step("up", "starting the services") as step:
        try:
            finished = compose.up(
                opened,
                run.host.commands,
                run.deadline,
                recreate=run.options.recreate,
                pull=run.options.images_wanted,
            )
        except DeadlineExceeded as error:
            raise _failed_up(run, model, restarts, [str(error)]) from error
        if not finished.ok:
            raise _failed_up(run, model, restarts, finished.tail())
        actions = compose.actions_of(finished)
        step.detail = amount(len(actions), "container")
    return Deployed(health=see_healthy(run, model, restarts), actions=actions)


def see_healthy(run: Run, model: Model, restarts: Mapping[str, int]) -> list[Health]:
    """Wait until every service is well."""
    with run.step("verify", "waiting for the services to be healthy") as step:
        try:
            health = verify.wait(
                model,
                run.engine,
                run.deadline,
                lambda text: record.progress(waiting_for=text),
                restarts=restarts,
            )
        except UnreachableError as error:
            # `up` was reached: that the engine went away is a deploy that was not seen healthy, and nothing less.
            raise verify.failure([], run.engine, run.deadline, [str(error)]) from error
        step.detail = f"{amount(len(health), 'service')} well"
    return health


def _failed_up(run: Run, model: Model, restarts: Mapping[str, int], said: Sequence[str]) -> AgentError:
    """Compose says little of why: the containers know more, if the engine still answers."""
    try:
        now = verify.look(model, run.engine, run.host.clock, restarts)
    except AgentError as error:
        return verify.failure([], run.engine, run.deadline, [*said, str(error)])
    return verify.failure([item for item in now if item.verdict != "well"], run.engine, run.deadline, said)


def leave_alone(run: Run, model: Model, seen: Comparison) -> Deployed:
    """Nothing is started; what has come up with the engine gets the time to be healthy."""
    restarts = {item.container.id: item.container.restarts for item in seen.health if item.container}
    return Deployed(health=see_healthy(run, model, restarts), actions=seen.plan.actions)
