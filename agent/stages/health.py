"""The services: started, and seen healthy."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field

from agent.dataclass import dataclass
from agent.errors import AgentError, DeadlineExceeded, UnreachableError
from agent.host.command import Finished
from agent.report import record
from agent.report.words import amount
from agent.run import Run
from agent.stages import held_ports, probes
from agent.stages.project import Comparison
from agent.steps import compose, verify
from agent.steps.arrivals import Arrivals
from agent.steps.check import Check
from agent.steps.compose import Model
from agent.steps.project import Project
from agent.steps.verdict import Health
from agent.steps.verify import Limits


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A project that was seen healthy: what was done to each container, by name, and why, by service."""

    health: Sequence[Health]
    actions: Mapping[str, str]
    reasons: Mapping[str, str] = field(default_factory=dict)


def start(run: Run, opened: Project, model: Model, seen: Comparison, checks: Sequence[Check]) -> Deployed:
    """`docker compose up`, then see every service healthy and every check of the manifest pass.

    A failure of any of them tells the state of all services.
    """
    restarts, arrivals = verify.restart_counts(seen.before), Arrivals()

    def up() -> Finished:
        return compose.up(
            opened,
            run.host.commands,
            run.deadline,
            recreate=run.options.recreate,
            pull=run.options.images_wanted,
            watch=lambda: _expect_no_loop(run, model, restarts, seen.leaving, arrivals),
        )

    with run.step("up", "starting the services") as step:
        try:
            for container in seen.doubtful:
                run.engine.stop_container(container)
            finished = up()
            if not finished.ok and held_ports.let_go(run, model.name, finished.tail()):
                finished = up()
        except DeadlineExceeded as error:
            raise _failed_up(run, model, restarts, [str(error)]) from error
        if not finished.ok:
            raise _failed_up(run, model, restarts, finished.tail())
        if compose.left_undone(seen.plan, finished):
            # What is healthy then is the release before.
            said = "`docker compose up` exited with 0 and names no container, though some were to be changed"
            raise _failed_up(run, model, restarts, [said])
        actions = compose.actions_of(finished)
        step.detail = amount(len(actions), "container")
    try:
        health = see_healthy(run, model, restarts, probes.limits(checks), arrivals)
    except UnreachableError as error:
        # `up` was reached: that the engine went away is a deploy that was not seen healthy, and nothing less.
        raise verify.failure([], run.engine, run.deadline, [str(error)]) from error
    probes.run_checks(run, opened, checks)
    return Deployed(health=health, actions=actions, reasons=seen.reasons)


def _expect_no_loop(
    run: Run, model: Model, restarts: Mapping[str, int], leaving: Collection[str], arrivals: Arrivals
) -> None:
    """Compose waits without end for the completion of a service that fails and is restarted again and again."""
    with contextlib.suppress(UnreachableError):  # Compose will say so itself
        verify.expect_no_loop(model, run.engine, run.deadline, restarts, leaving, arrivals=arrivals)


def leave_alone(run: Run, opened: Project, model: Model, seen: Comparison, checks: Sequence[Check]) -> Deployed:
    """Nothing is started; what has come up with the engine gets the time to be healthy, and to pass the checks.

    `UnreachableError` when the engine stays away meanwhile: that is no failed deploy.
    """
    restarts = verify.restart_counts(seen.before)
    health = see_healthy(run, model, restarts, probes.limits(checks))
    probes.run_checks(run, opened, checks)
    return Deployed(health=health, actions=seen.plan.actions, reasons=seen.reasons)


def see_healthy(
    run: Run, model: Model, restarts: Mapping[str, int], limits: Limits, arrivals: Arrivals | None = None
) -> list[Health]:
    """Wait until every service is well; `UnreachableError` when the engine stays away."""
    with run.step("verify", "waiting for the services to be healthy") as step:
        health = verify.wait(
            model,
            run.engine,
            run.deadline,
            lambda text: record.progress(waiting_for=text),
            restarts=restarts,
            limits=limits,
            arrivals=arrivals,
        )
        step.detail = f"{amount(len(health), 'service')} well"
    return health


def _failed_up(run: Run, model: Model, restarts: Mapping[str, int], said: Sequence[str]) -> AgentError:
    """Compose says little of why: the containers know more, if the engine still answers."""
    try:
        now = verify.look(model, run.engine, verify.Watch(run.host.clock), restarts)
    except AgentError as error:
        failed = verify.failure([], run.engine, run.deadline, [*said, str(error)])
        failed.__cause__ = error
        return failed
    return verify.failure([item for item in now if item.verdict != "well"], run.engine, run.deadline, said)
